"""BDD100K as it is published, in both formats, real and generated."""

import warnings
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from bdd100k_files import SIZE, boxed, frame, write
from jsonargparse import ArgumentParser

from lightning_edge.batch_checks import check_batch
from lightning_edge.data import BDD100KDataModule, ByAttributes, EachImage, MeanFeatureEmbedding, ShuffledEmbedding
from lightning_edge.data.domains.features import write_features
from lightning_edge.data.formats.bdd100k import read_labels
from lightning_edge.data.loading import SampleRequest
from lightning_edge.samples.bdd100k import sample_bdd100k

REAL = Path(__file__).parents[3] / "shared/data/bdd100k_samples/labelled"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="needs real BDD100K")


def make(root=None, **arguments):
    return BDD100KDataModule(root, **{"batch_size": 2, "num_workers": 0, "input_size": SIZE} | arguments)


@pytest.fixture(scope="module")
def sample(sample_cache):
    return sample_bdd100k(10, 5, 72, 128)


def test_both_formats_give_the_same(sample):
    for split in ("train", "val"):
        new = read_labels(sample / f"labels/det_20/det_{split}.json")
        old = read_labels(sample / f"labels/bdd100k_labels_images_{split}.json")
        assert [item.name for item in new] == [item.name for item in old]
        for one, other in zip(new, old, strict=True):
            assert one.attributes == other.attributes
            for values, others in zip(one[2:], other[2:], strict=True):
                assert np.array_equal(values, others)
        assert sum(len(item.label) for item in new) > 5 * len(new)
        assert sum(len(item.ignored_label) for item in new) > 0


def test_the_format_of_2020_is_preferred_and_the_other_suffices(tmp_path):
    write(tmp_path, [frame("a", [boxed(1, 2, 9, 8, "person")])], place="labels/bdd100k_labels_images_{}.json")
    assert make(tmp_path).labeled_images("train")[0].label.tolist() == [0]
    write(tmp_path, [frame("a", [boxed(1, 2, 9, 8, "truck")])])
    assert make(tmp_path).labeled_images("train")[0].label.tolist() == [3]


def test_sample_batches(sample):
    data = make(sample, input_size=(72, 128), batch_size=4)
    data.setup()
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        batch = data.on_after_batch_transfer(next(iter(loader)), 0)
        check_batch(batch, data.batch_type)
        assert batch["image"].shape == (4, 3, 72, 128)
        assert batch["scale"].tolist() == [1] * 4
        assert batch["domain_embedding"].shape == (4, data.embedding_features)
        assert (batch["domain_embedding"].argmax(1) == batch["domain"]).all()
    assert len(data.dataset("val")) == len(data.dataset("test")) == 5
    assert data.num_classes == len(data.class_names) == len(data.palette) == 10


def test_domains_are_time_of_day_and_weather(sample):
    data = make(sample)
    assert isinstance(data.partition, ByAttributes)
    assert len(data.domain_names) == data.embedding_features == 4 * 7
    dataset = data.dataset("val")
    for index, image in enumerate(data.labeled_images("val")):
        attributes = image.record.attributes
        name = data.domain_names[dataset[index]["domain"]]
        assert name == f"{attributes['timeofday']} {attributes['weather']}"
        assert dataset[index]["image_id"] == index


@pytest.mark.parametrize("labels", [None, [], "absent"])
def test_images_without_boxes(labels, tmp_path):
    empty = frame("a") | {"labels": labels}
    if labels == "absent":
        del empty["labels"]
    data = make(write(tmp_path, [empty, frame("b", [boxed(1, 2, 9, 8)])]))
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    check_batch(batch, data.batch_type)
    counts = dict(zip(batch["image_id"].tolist(), map(len, batch["boxes_xyxy"]), strict=True))
    assert counts == {0: 0, 1: 1}


def test_boxes_beyond_an_image_are_clipped_and_told_of_once(tmp_path):
    partly, wholly = boxed(-5, -6, 9, 8), boxed(70, 2, 80, 8)
    ignored = boxed(60, 30, 99, 99, "trailer")
    data = make(write(tmp_path, [frame("a"), frame("b", [wholly, boxed(1, 2, 64, 36), partly, ignored])]))
    with pytest.warns(UserWarning, match="3 boxes .* first image, 64 x 36, and 1 of .*b.jpg") as caught:
        sample = data.dataset("train")[1]
    assert len(caught) == 1
    assert sample["boxes_xyxy"].tolist() == [[1, 2, 64, 36], [0, 0, 9, 8]]
    assert sample["ignored_xyxy"].tolist() == [[60, 30, 64, 36]]


def test_a_box_that_float32_can_hardly_tell_from_none_is_no_error(tmp_path):
    thin = boxed(3, 6.147946834564209, 9, 6.147947311401367)  # equal after a division by the height
    dataset = make(write(tmp_path, [frame("a", [thin, boxed(1, 2, 9, 8)])]), train_transform=A.NoOp()).dataset("train")
    assert len(dataset[0]["boxes_xyxy"]) == 2
    torch.testing.assert_close(dataset[SampleRequest(0, 0, 0)]["boxes_xyxy"], torch.tensor([[1.0, 2, 9, 8]]))


def test_missing_labels_are_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"det_20/det_train.json or .*bdd100k_labels_images_train.json, got neither"
    ):
        make(tmp_path).setup("fit")
    with pytest.raises(FileNotFoundError, match=r"https://dl\.cv\.ethz\.ch/bdd100k/data or https://dl\.yf\.io/bdd100k"):
        make(tmp_path).setup("fit")


def test_missing_images_are_counted(tmp_path):
    write(tmp_path, [frame("a"), frame("b"), frame("c")], images=False)
    cv2.imwrite(str(tmp_path / "images/100k/train/b.jpg"), np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(
        FileNotFoundError, match=r"2 of 3 images of .*det_train.json are missing in .*the first is a.jpg"
    ):
        make(tmp_path).setup("fit")
    (tmp_path / "images/100k/train/b.jpg").unlink()
    (tmp_path / "images/100k/train").rmdir()
    with pytest.raises(FileNotFoundError, match="3 of 3 images"):
        make(tmp_path).setup("fit")


def test_images_without_a_frame_are_counted_once(tmp_path):
    write(tmp_path, [frame("a"), frame("b"), frame("c")])
    write(tmp_path, [frame("b")], images=False)
    write(tmp_path, [frame("d")], split="val")
    data = make(tmp_path, batch_size=1)
    with pytest.warns(UserWarning, match=r"2 images in .*train have no labels in .* The first is a.jpg") as caught:
        data.setup("fit")
    assert len(caught) == 1
    assert len(data.dataset("train")) == 1


def test_a_broken_image_is_named_at_setup(tmp_path):
    write(tmp_path, [frame("a"), frame("b")])
    (tmp_path / "images/100k/train/b.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"b\.jpg: the file is empty"):
        make(tmp_path).dataset("train")


def test_only_some_images(sample):
    night = make(sample, keep_attributes={"timeofday": ("night",), "scene": ("residential", "highway")})
    images = night.labeled_images("train")
    assert {image.record.attributes["timeofday"] for image in images} == {"night"}
    assert len(images) == len(night.records("train")) == len(night.dataset("train")) == 1
    assert len(make(sample).records("train")) == 10
    assert {night.domain_names[item] for item in night.dataset("train").domains.domain} == {"night clear"}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"weather": ("snowy",)}, r"got none of 10 with keep_attributes=\{'weather': \('snowy',\)\}"),
        ({"weather": ()}, "got none of 10 with keep_attributes="),
        ({"weather": ("hail",)}, r"expected keep_attributes\['weather'\] as a tuple of \('clear', .*, got \('hail',\)"),
        ({"weather": "rainy"}, r"expected keep_attributes\['weather'\] as a tuple .*, got 'rainy'"),
        (
            {"season": ("spring",)},
            r"expected the attributes of keep_attributes among \['timeofday', .*\], got 'season'",
        ),
    ],
)
def test_an_empty_or_unknown_domain_is_named(sample, wanted, message):
    with pytest.raises(ValueError, match=message):
        make(sample, keep_attributes=wanted).setup("fit")


def test_a_file_without_frames_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"det_train\.json: expected images, got none of 0"):
        make(write(tmp_path, [])).dataset("train")


@pytest.mark.parametrize("input_size", [(0, 64), (36, -1)])
def test_an_impossible_size_is_named(input_size):
    with pytest.raises(ValueError, match="expected input_size of at least 1 x 1"):
        make(input_size=input_size)


def test_the_command_line_can_say_all_of_it(sample):
    parser = ArgumentParser()
    parser.add_subclass_arguments(BDD100KDataModule, "data")
    arguments = ["--data=lightning_edge.data.BDD100KDataModule", f"--data.root={sample}", "--data.input_size=[72, 96]"]
    arguments += ["--data.keep_attributes={timeofday: [night]}", "--data.partition=lightning_edge.data.ByAttributes"]
    arguments += ["--data.partition.attributes=[scene]", "--data.embedding=lightning_edge.data.ShuffledEmbedding"]
    data = parser.instantiate(parser.parse_args(arguments)).data
    assert data.input_size == (72, 96)
    assert data.embedding_features == 7
    assert isinstance(data.embedding, ShuffledEmbedding)
    assert len(data.labeled_images("train")) == 2


def test_each_image_is_a_domain_with_features(sample, tmp_path):
    names = {split: [image.name for image in make(sample).records(split)] for split in ("train", "val")}
    values = {split: np.random.default_rng(0).random((len(names[split]), 5), np.float32) for split in names}
    path = tmp_path / "features.npz"
    write_features(path, {split: (names[split], values[split]) for split in names})
    data = make(sample, partition=EachImage(), embedding=MeanFeatureEmbedding(path))
    assert (data.domain_names, data.embedding_features) == (None, 5)
    item = data.dataset("val")[3]
    assert item["domain"] == 3
    assert torch.equal(item["domain_embedding"], torch.from_numpy(values["val"][3]))
    with pytest.raises(
        ValueError, match="OneHotEmbedding expected a partition with a fixed number of domains, got EachImage"
    ):
        make(sample, partition=EachImage()).dataset("train")


@needs_real
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_real_files(split):
    data = make(REAL, input_size=(160, 256), train_transform=A.NoOp())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = data.labeled_images(split)
        sample = data.dataset(split)[0]
    assert first.label.tolist() == [8, 8, 9, 9, 2, 2, 9]
    assert second.label.tolist() == [9, 9, 9, 0, 0, 0]
    assert first.boxes_xyxy[4] == pytest.approx([49.44477, 254.53037, 357.80584, 487.90622])
    assert second.record.attributes == {"timeofday": "dawn/dusk", "weather": "clear", "scene": "highway"}
    assert sample["original_size"].tolist() == [720, 1280]
    assert sample["scale"] == np.float32(0.2)
    assert torch.equal(sample["boxes_xyxy"], torch.from_numpy(first.boxes_xyxy) * np.float32(0.2))
    assert data.domain_names[sample["domain"]] == "daytime clear"
    # the dark car at the left is darker than what stands above it
    x1, y1, x2, y2 = sample["boxes_xyxy"][4].round().int().tolist()
    car, above = sample["image"][:, y1:y2, x1:x2].float(), sample["image"][:, y1 - 10 : y1, x1:x2].float()
    assert car.mean() < above.mean()


@pytest.mark.usefixtures("sample_cache")
def test_generated_scenes_for_testing_are_those_of_no_other_split():
    data = make(sample_size=(72, 128), num_samples=(10, 5))
    images = {split: [image.path.name for image in data.labeled_images(split)] for split in ("train", "val", "test")}
    assert [len(names) for names in images.values()] == [10, 5, 5]
    assert len({name for names in images.values() for name in names}) == 20
    lights = [image.record.attributes["timeofday"] for image in data.labeled_images("test")]
    assert sorted(lights) == ["dawn/dusk", "daytime", "daytime", "daytime", "night"]
