"""Label spaces: labels by the names of their classes, everything else as in the inner data module."""

import copy
import json
import pickle

import albumentations as A
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule, Trainer

from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import ClassificationBatch, ClipBatch, GivesFixedSamples, SegmentationBatch
from lightning_edge.data import (
    BDD100KDataModule,
    BDD100KSegmentationDataModule,
    CamVidDataModule,
    CamVidVideoDataModule,
    CityscapesDataModule,
    DigitsDataModule,
    FramesDataModule,
    RemappedDataModule,
)
from lightning_edge.data.remapped import CITYSCAPES_TO_CAMVID
from lightning_edge.samples.camvid import CLASS_OF_LABEL
from lightning_edge.samples.world.labels import Label

CAMVID = CamVidDataModule.class_names
PARITY = {digit: "odd" if int(digit) % 2 else "even" for digit in "0123456789"}
pytestmark = pytest.mark.usefixtures("sample_cache")


def make_scenes(**arguments):
    """Scenes with the classes of Cityscapes."""
    settings = {"num_samples": (6, 2), "sample_size": (64, 96), "batch_size": 2, "num_workers": 0}
    return BDD100KSegmentationDataModule(**settings | arguments)


def make(table=CITYSCAPES_TO_CAMVID, class_names=CAMVID, **arguments):
    return RemappedDataModule(make_scenes(**arguments), table, class_names)


def make_digits():
    return DigitsDataModule(num_samples=(30, 20), batch_size=4, num_workers=0)


def renamed(labels, old_names, table, new_names):
    """A slow loop over all labels."""
    expected = []
    for label in labels.flatten().tolist():
        name = None if label == 255 else table[old_names[label]]
        expected.append(255 if name is None else list(new_names).index(name))
    return torch.tensor(expected).reshape(labels.shape)


TABLES = {
    "merged": (CITYSCAPES_TO_CAMVID, CAMVID),
    "reordered": ({name: name for name in CityscapesDataModule.class_names}, CityscapesDataModule.class_names[::-1]),
    "ignored": ({name: "road" if name == "road" else None for name in CityscapesDataModule.class_names}, ("road",)),
}


@pytest.mark.parametrize("name", TABLES)
def test_pixels_get_the_class_of_the_table(name):
    table, class_names = TABLES[name]
    data, inner = make(table, class_names), make_scenes()
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    seen = set()
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        for batch, plain in zip(getattr(data, loader)(), getattr(inner, loader)(), strict=True):
            batch, plain = data.on_after_batch_transfer(batch, 0), inner.on_after_batch_transfer(plain, 0)
            check_batch(batch, SegmentationBatch)
            assert torch.equal(batch["image"], plain["image"])
            assert torch.equal(batch["mask"], renamed(plain["mask"], inner.class_names, table, class_names))
            seen |= set(batch["mask"].unique().tolist())
    assert 255 in seen
    assert len(seen) > min(len(class_names), 6)


def test_clips_are_mapped_too():
    inner = CamVidVideoDataModule(
        num_samples=(4, 4), sample_size=(64, 96), max_distance=1, train_distances=(1,), batch_size=1, num_workers=0
    )
    table = {name: name if name in ("road", "sky") else None for name in CAMVID}
    data = RemappedDataModule(inner, table, ("road", "sky"))
    assert data.batch_type is ClipBatch
    plain = next(iter(data.val_dataloader()))
    batch = data.on_after_batch_transfer(dict(plain), 0)
    check_batch(batch, ClipBatch)
    assert torch.equal(batch["mask"], renamed(plain["mask"], CAMVID, table, ("road", "sky")))
    assert set(batch["mask"].unique().tolist()) == {0, 1, 255}


def test_images_of_a_classification_get_the_class_of_the_table():
    data = RemappedDataModule(make_digits(), PARITY, ("odd", "even"))
    assert (data.num_classes, data.class_names) == (2, ("odd", "even"))
    for plain in data.test_dataloader():
        batch = data.on_after_batch_transfer(dict(plain), 0)
        check_batch(batch, ClassificationBatch)
        assert torch.equal(batch["label"], 1 - plain["label"] % 2)
        assert torch.equal(batch["domain"], plain["domain"])
    assert not hasattr(data, "palette")


def test_names_and_colors_are_those_of_the_new_classes():
    data = make()
    assert data.num_classes == 11
    assert data.class_names == CAMVID
    colors = dict(zip(CityscapesDataModule.class_names, CityscapesDataModule.palette, strict=True))
    first = (
        "sky",
        "building",
        "pole",
        "road",
        "sidewalk",
        "vegetation",
        "traffic light",
        "fence",
        "car",
        "person",
        "rider",
    )
    assert data.palette == tuple(colors[name] for name in first)


def test_all_else_is_that_of_the_inner_data_module():
    inner = make_digits()
    data = RemappedDataModule(inner, PARITY, ("odd", "even"))
    assert data.domain_names == inner.domain_names
    assert data.embedding_features == 4
    assert data.dataset("val") is inner.dataset("val")
    assert data.collate is inner.collate
    assert isinstance(data, GivesFixedSamples)
    samples = zip(data.fixed_samples("train", 3), inner.fixed_samples("train", 3), strict=True)
    assert all(torch.equal(ours["image"], theirs["image"]) for ours, theirs in samples)
    data.batch_size = 2
    assert inner.batch_size == data.batch_size == 2
    assert len(next(iter(data.train_dataloader()))["label"]) == 2
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    data.trainer = trainer
    assert inner.trainer is data.trainer is trainer
    with pytest.raises(AttributeError, match="'DigitsDataModule' object has no attribute 'nonsense'"):
        data.nonsense  # noqa: B018
    with pytest.raises(ValueError, match=r"expected data to predict on, .* got DigitsDataModule"):
        data.predict_dataloader()


def test_it_resumes_within_an_epoch():
    first = make()
    batches = iter(first.train_dataloader())
    next(batches)
    state = first.state_dict()
    left = [batch["image"] for batch in batches]
    assert len(left) == 2
    for resumed in (make(), make()):
        resumed.load_state_dict(state)
        images = [batch["image"] for batch in resumed.train_dataloader()]
        assert len(images) == 2
        assert all(map(torch.equal, images, left))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda data: pickle.loads(pickle.dumps(data))])
def test_copies_work(duplicate):
    data = duplicate(make(train_transform=A.NoOp()))
    assert data.class_names == CAMVID
    assert data.batch_size == 2


def test_the_table_for_camvid_agrees_with_the_generated_camvid():
    assert tuple(CITYSCAPES_TO_CAMVID) == CityscapesDataModule.class_names
    assert set(CITYSCAPES_TO_CAMVID.values()) == set(CAMVID)
    for label, index in CLASS_OF_LABEL.items():
        name = Label(label).name.lower().replace("_", " ")
        assert CITYSCAPES_TO_CAMVID[name] == CAMVID[index]


def test_it_is_made_by_the_command_line():
    parser = ArgumentParser()
    parser.add_subclass_arguments(LightningDataModule, "data")
    options = {
        "data": "RemappedDataModule",
        "data.data": "CityscapesDataModule",
        "data.data.batch_size": "3",
        "data.table": json.dumps(TABLES["ignored"][0]),
        "data.class_names": '["road"]',
    }
    parsed = parser.parse_args([f"--{name}={value}" for name, value in options.items()])
    data = parser.instantiate(parsed).data
    assert isinstance(data, RemappedDataModule)
    assert data.batch_size == 3
    assert data.palette == ((128, 64, 128),)


def without(name):
    return {old: new for old, new in CITYSCAPES_TO_CAMVID.items() if old != name}


@pytest.mark.parametrize(
    ("table", "class_names", "message"),
    [
        (without("sky"), CAMVID, r"expected a table with all classes of BDD100KSeg.*, got none of \['sky'\]"),
        (
            CITYSCAPES_TO_CAMVID | {"raod": "road"},
            CAMVID,
            r"a table of the classes of BDD.*'road', .*, got \['raod'\]",
        ),
        (
            CITYSCAPES_TO_CAMVID | {"car": "vehicle", "bus": "vehicle"},
            CAMVID,
            r"expected new classes of the table among class_names, \['sky', .*, got \['vehicle'\]",
        ),
        (
            CITYSCAPES_TO_CAMVID,
            (*CAMVID, "void"),
            r"expected a class of BDD100KSegmentationDataModule for each of class_names, got none for \['void'\]",
        ),
        (CITYSCAPES_TO_CAMVID, (), r"expected class_names as a list of names, got \(\)"),
        (CITYSCAPES_TO_CAMVID, (*CAMVID, "road"), "road"),
        (dict.fromkeys(CITYSCAPES_TO_CAMVID), ("road",), r"got none for \['road'\]"),
    ],
)
def test_mistakes_in_the_table_are_named(table, class_names, message):
    with pytest.raises(ValueError, match=message):
        make(table, class_names)


def test_more_classes_than_a_mask_can_hold_are_refused():
    data = make_digits()
    data.class_names = tuple(map(str, range(256)))
    with pytest.raises(ValueError, match="expected at most 255 classes in DigitsDataModule, got 256"):
        RemappedDataModule(data, dict.fromkeys(data.class_names, "any"), ("any",))


def test_images_of_a_classification_cannot_be_ignored():
    with pytest.raises(ValueError, match=r"because images cannot be ignored, got None for \['3'\]"):
        RemappedDataModule(make_digits(), PARITY | {"3": None}, ("odd", "even"))


def test_data_without_one_class_for_each_image_or_pixel_are_refused(tmp_path):
    with pytest.raises(ValueError, match="got BDD100KDataModule with batches of DetectionBatch"):
        RemappedDataModule(BDD100KDataModule(), {}, ("car",))
    with pytest.raises(ValueError, match="got FramesDataModule with batches of FrameBatch"):
        RemappedDataModule(FramesDataModule(tmp_path), {}, ("car",))
