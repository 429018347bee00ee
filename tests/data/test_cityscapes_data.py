import pickle
import shutil
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from cityscapesscripts.helpers.labels import labels as official_labels
from conftest import leave_system_files
from lightning.pytorch import LightningModule, Trainer

from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import input_key
from lightning_edge.data import CityscapesDataModule, CityscapesVideoDataModule, StreetAugmentation
from lightning_edge.data.segmentation import SegmentationDataModule
from lightning_edge.ops.cityscapes_labels import LABELS

_MODULES = [CityscapesDataModule, CityscapesVideoDataModule]


def _make(kind: Any, root: Path, **arguments: Any) -> Any:
    return kind(root, **{"batch_size": 2, "num_workers": 0, "train_transform": A.NoOp(), **arguments})


def _red(images: torch.Tensor) -> list[int]:
    """The marker that the fixture puts into every pixel: 30 * snippet + position in it."""
    return (images[..., 0, 0, 0]).flatten().tolist()


def test_labels_are_the_official_ones():
    assert [tuple(label) for label in LABELS] == [
        (label.name, label.id, label.trainId, label.color) for label in official_labels if label.id >= 0
    ]


@pytest.mark.parametrize("kind", _MODULES)
def test_classes_are_known_before_setup(kind: type[SegmentationDataModule]):
    assert kind.num_classes == len(kind.class_names) == len(kind.palette) == 19
    assert (kind.class_names[0], kind.class_names[13], kind.palette[0]) == ("road", "car", (128, 64, 128))
    assert kind.ignore_index == 255


@pytest.mark.parametrize("kind", _MODULES)
@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_keep_the_contract(kind: Any, num_workers: int, cityscapes_root: Path):
    data = _make(kind, cityscapes_root, num_workers=num_workers, train_transform=None)
    data.setup()
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for batch in loader:
            assert batch[input_key(kind.batch_type)].dtype == batch["mask"].dtype == torch.uint8
            check_batch(data.on_after_batch_transfer(batch, 0), kind.batch_type)


def test_images_and_masks_belong_together(cityscapes_root: Path):
    data = _make(CityscapesDataModule, cityscapes_root, eval_batch_size=1)
    batches = list(data.train_dataloader())
    assert sorted(red for batch in batches for red in _red(batch["image"])) == [30 * i + 19 for i in range(6)]
    batch = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    assert batch["mask"].shape == (1, 16, 32)
    assert batch["mask"][0, 0].tolist() == [0] * 16 + [13] * 16
    assert batch["image"][0, 2, 0].mul(255).round().tolist() == list(range(32))


def test_evaluation_clips_end_with_the_label(cityscapes_root: Path):
    data = _make(CityscapesVideoDataModule, cityscapes_root, max_distance=5)
    (batch,) = data.val_dataloader()
    assert _red(batch["frames"]) == [*range(14, 20), *range(44, 50)]


def test_a_training_batch_has_one_distance(cityscapes_root: Path):
    data = _make(CityscapesVideoDataModule, cityscapes_root, train_distances=(1, 3, 19))
    lengths = set()
    for epoch in range(6):
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            lengths.add(batch["frames"].shape[1])
            for clip in batch["frames"]:
                last = _red(clip)[-1]
                assert last % 30 == 19
                assert _red(clip) == list(range(last - len(clip) + 1, last + 1))
    assert lengths == {2, 4, 20}


@pytest.mark.parametrize("kind", _MODULES)
def test_augmented_samples_do_not_depend_on_workers(kind: Any, cityscapes_root: Path):
    key = input_key(kind.batch_type)
    of_none, of_two = (
        [batch[key] for batch in _make(kind, cityscapes_root, num_workers=n, train_transform=None).train_dataloader()]
        for n in (0, 2)
    )
    plain = [batch[key] for batch in _make(kind, cityscapes_root).train_dataloader()]
    assert all(torch.equal(a, b) for a, b in zip(of_none, of_two, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(of_none, plain, strict=True))


def test_evaluation_is_not_augmented(cityscapes_root: Path):
    data = _make(CityscapesDataModule, cityscapes_root, train_transform=A.HorizontalFlip(p=1))
    assert next(iter(data.val_dataloader()))["image"][0, 2, 0].tolist() == list(range(32))
    assert next(iter(data.train_dataloader()))["image"][0, 2, 0].tolist() == list(range(31, -1, -1))


def test_an_empty_composition_is_no_augmentation(cityscapes_root: Path):
    data = _make(CityscapesDataModule, cityscapes_root, train_transform=A.Compose([]))
    assert next(iter(data.train_dataloader()))["image"][0, 2, 0].tolist() == list(range(32))


def test_the_default_crop_is_as_large_as_the_images(cityscapes_root: Path):
    data = _make(CityscapesVideoDataModule, cityscapes_root, train_transform=None)
    assert next(iter(data.train_dataloader()))["frames"].shape[-2:] == (16, 32)
    data = _make(CityscapesVideoDataModule, cityscapes_root, train_transform=StreetAugmentation(8, 12))
    assert next(iter(data.train_dataloader()))["frames"].shape[-2:] == (8, 12)


@pytest.mark.parametrize("kind", _MODULES)
def test_setup_twice_makes_datasets_once(kind: Any, cityscapes_root: Path):
    data = _make(kind, cityscapes_root)
    data.setup("fit")
    train = data.dataset("train")
    data.setup("fit")
    data.setup()
    assert data.dataset("train") is train
    pickle.loads(pickle.dumps(train))  # for workers that are not forked


def test_overfit_batches_repeats_the_longest_clips(cityscapes_root: Path):
    class Recorder(LightningModule):
        def training_step(self, batch: Any) -> None:
            seen.append(_red(batch["frames"].mul(255).round()))

        def configure_optimizers(self) -> None:
            return None

    seen: list[list[int]] = []
    data = _make(CityscapesVideoDataModule, cityscapes_root, batch_size=1, train_distances=(1, 3))
    Trainer(
        accelerator="cpu", overfit_batches=2, max_epochs=2, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    ).fit(Recorder(), datamodule=data)  # fmt: skip
    assert seen == [[16, 17, 18, 19], [46, 47, 48, 49]] * 2


class _Dtype(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 1, 1)

    def test_step(self, batch: Any) -> None:
        self.seen = self.layer(batch["image"]).dtype

    def configure_optimizers(self) -> None:
        return None


@pytest.mark.parametrize(("precision", "dtype"), [("64-true", torch.float64), ("bf16-true", torch.bfloat16)])
def test_images_have_the_precision_of_the_trainer(precision: Any, dtype: torch.dtype, cityscapes_root: Path):
    module = _Dtype()
    Trainer(
        accelerator="cpu", precision=precision, logger=False, enable_progress_bar=False, enable_model_summary=False
    ).test(module, datamodule=_make(CityscapesDataModule, cityscapes_root), verbose=False)
    assert module.seen == dtype


@pytest.mark.parametrize("kind", _MODULES)
def test_wrong_root(kind: Any, tmp_path: Path):
    with pytest.raises(
        FileNotFoundError, match=r"expected root to contain gtFine/train/<city>.*gtFine_trainvaltest\.zip"
    ):
        _make(kind, tmp_path).setup("fit")


@pytest.fixture
def broken_root(tmp_path: Path, cityscapes_root: Path) -> Path:
    return Path(shutil.copytree(cityscapes_root, tmp_path / "root"))


def test_without_sequences_single_images_work(broken_root: Path):
    shutil.rmtree(broken_root / "leftImg8bit_sequence")
    _make(CityscapesDataModule, broken_root).setup()
    with pytest.raises(FileNotFoundError, match=r"trainvaltest\.zip \(324 GB\).*CityscapesDataModule.*works without"):
        _make(CityscapesVideoDataModule, broken_root).setup()


def test_a_missing_image(broken_root: Path):
    (broken_root / "leftImg8bit/train/aachen/aachen_000003_000019_leftImg8bit.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 6 masks have no image.*aachen_000003_000019.*leftImg8bit_train"):
        _make(CityscapesDataModule, broken_root).setup()


@pytest.mark.parametrize("kind", _MODULES)
def test_files_of_operating_systems_are_passed_over(kind: Any, broken_root: Path, cityscapes_root: Path):
    leave_system_files(broken_root)
    littered, clean = _make(kind, broken_root), _make(kind, cityscapes_root)
    littered.setup()
    for split in ("train", "val"):
        names = [[[path.name for path in clip.frames] for clip in data.clips(split)] for data in (littered, clean)]
        assert names[0] == names[1]


@pytest.mark.parametrize("kind", _MODULES)
@pytest.mark.parametrize("folder", ["gtFine", "leftImg8bit", "leftImg8bit_sequence"])
@pytest.mark.parametrize("name", ["aachen_000002_19", "aachen_2_000019"])
def test_two_files_for_one_frame_are_refused(kind: Any, folder: str, name: str, broken_root: Path):
    ending = "_gtFine_labelIds.png" if folder == "gtFine" else "_leftImg8bit.png"
    path = broken_root / folder / "train/aachen" / f"aachen_000002_000019{ending}"
    shutil.copy(path, path.with_name(f"{name}{ending}"))
    unused = "leftImg8bit_sequence" if kind is CityscapesDataModule else "leftImg8bit"
    if folder == unused:
        _make(kind, broken_root).dataset("train")
        return
    with pytest.raises(ValueError, match=rf"one file for each frame, got .*aachen_000002_000019.* and .*{name}"):
        _make(kind, broken_root).dataset("train")


def test_clips_of_an_own_module_that_are_too_short(cityscapes_root: Path):
    class Short(CityscapesVideoDataModule):
        def clips(self, split):
            return [clip._replace(frames=clip.frames[-3:] if split == "train" else ()) for clip in super().clips(split)]

    data = Short(cityscapes_root, max_distance=5, train_distances=(2,))
    data.dataset("train")
    with pytest.raises(ValueError, match=r"clips of at least 6 frames in the val split.*got 0 for .*lower max_dist"):
        data.dataset("val")


def test_clips_of_an_own_module_that_are_none(cityscapes_root: Path):
    class Empty(CityscapesDataModule):
        def clips(self, split):
            return []

    with pytest.raises(ValueError, match=r"expected clips\('train'\) of Empty to return clips, got none"):
        Empty(cityscapes_root).dataset("train")


def test_a_missing_frame(broken_root: Path):
    (broken_root / "leftImg8bit_sequence/val/lindau/lindau_000001_000014_leftImg8bit.png").unlink()
    _make(CityscapesVideoDataModule, broken_root, max_distance=4).setup()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 masks have no clip of 6 consecutive frames.*lindau_000001"):
        _make(CityscapesVideoDataModule, broken_root, max_distance=5).setup()


@pytest.mark.parametrize("kind", _MODULES)
def test_mistakes_in_the_first_files_show_in_setup(kind: Any, broken_root: Path):
    mask = broken_root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    cv2.imwrite(str(mask), np.full((16, 32), 77, np.uint8))
    with pytest.raises(ValueError, match=r"aachen_000000_000019_gtFine_labelIds\.png.*among 0\.\.33, got \[77\]"):
        _make(kind, broken_root).setup("fit")
    cv2.imwrite(str(mask), np.zeros((8, 32), np.uint8))
    with pytest.raises(ValueError, match=r"same size, got \(16, 32\)"):
        _make(kind, broken_root).setup("fit")


def test_frames_of_different_sizes(broken_root: Path):
    frame = broken_root / "leftImg8bit_sequence/val/lindau/lindau_000001_000018_leftImg8bit.png"
    cv2.imwrite(str(frame), np.zeros((8, 32, 3), np.uint8))
    data = _make(CityscapesVideoDataModule, broken_root)
    with pytest.raises(ValueError, match=r"lindau_000001_000018.*frames of one clip of the same size, got \(8, 32\)"):
        list(data.val_dataloader())


def test_a_broken_file_is_named_by_a_worker(broken_root: Path):
    image = broken_root / "leftImg8bit/train/aachen/aachen_000005_000019_leftImg8bit.png"
    image.write_bytes(image.read_bytes()[:100])
    data = _make(CityscapesDataModule, broken_root, num_workers=2)
    data.setup("fit")
    loader = data.train_dataloader()
    with pytest.raises(ValueError, match=r"aachen_000005_000019_leftImg8bit\.png: cannot be decoded"):
        list(loader)
    loader._iterator._shutdown_workers()  # as Lightning does; else torch waits five seconds for each worker


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_distance": 20}, "expected max_distance of at most 19.*got 20"),
        ({"max_distance": -1}, "expected max_distance of at least 0, got -1"),
        ({"train_distances": (1, 25)}, "expected train_distances of at most 19.*got 25"),
        ({"train_distances": ()}, "expected train_distances with at least one value"),
        ({"batch_size": 0}, "expected batch_size of at least 1, got 0"),
        ({"num_workers": -1}, "expected num_workers of at least 0, got -1"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        CityscapesVideoDataModule(**arguments)


@pytest.mark.usefixtures("sample_cache")
@pytest.mark.parametrize("kind", _MODULES)
def test_sample_data_is_the_default(kind: Any):
    data = kind(sample_size=(32, 64), num_samples=(2, 1), batch_size=1, num_workers=0)
    data.prepare_data()
    data.setup()
    assert (len(data.dataset("train")), len(data.dataset("val"))) == (2, 1)
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    check_batch(batch, kind.batch_type)
    assert batch["mask"].shape[1:] == (32, 64)


def test_prediction_is_referred_to_plain_frames(cityscapes_root: Path):
    with pytest.raises(ValueError, match=r"such as FramesDataModule\(source\), got CityscapesDataModule"):
        _make(CityscapesDataModule, cityscapes_root).predict_dataloader()


@pytest.mark.usefixtures("sample_cache")
def test_generated_scenes_have_the_given_light_and_weather():
    brightness = []
    for domains in (("day",), ("night",), ("day", "night")):
        data = CityscapesDataModule(sample_size=(32, 64), num_samples=(2, 1), sample_domains=domains, num_workers=0)
        brightness.append([cv2.imread(str(clip.frames[-1])).mean() for clip in data.clips("train")])
    day, night, both = brightness
    assert max(night) < min(day)
    assert both == [day[0], night[1]]


@pytest.mark.parametrize("kind", _MODULES)
def test_generated_scenes_need_a_domain(kind: Any):
    with pytest.raises(ValueError, match=r"expected sample_domains as a list of names, got \(\)"):
        kind(sample_domains=())


@pytest.mark.usefixtures("sample_cache")
@pytest.mark.parametrize("kind", [CityscapesDataModule, CityscapesVideoDataModule])
def test_generated_scenes_for_testing_are_those_of_no_other_split(kind):
    data = kind(sample_size=(32, 64), num_samples=(3, 2), num_workers=0)
    contents = {split: [clip.mask.read_bytes() for clip in data.clips(split)] for split in ("train", "val", "test")}
    assert [len(masks) for masks in contents.values()] == [3, 2, 2]
    assert len({mask for masks in contents.values() for mask in masks}) == 7
