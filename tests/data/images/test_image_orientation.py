"""An image and its labels are in one frame, whatever EXIF orientation their files have."""

from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from lightning_edge.data import CamVidDataModule, DetectionDataModule, FramesDataModule, SegmentationDataModule
from lightning_edge.data.detection import LabeledImage
from lightning_edge.data.domains.partitions import ImageRecord
from lightning_edge.data.images.files import label_table, read_image, read_mask
from lightning_edge.data.images.headers import stored_size
from lightning_edge.data.segmentation import LabeledClip

ORIENTATIONS = range(1, 9)
FORMATS = {"jpg": ("JPEG", {"quality": 100, "subsampling": 0}), "png": ("PNG", {}), "tif": ("TIFF", {}),
           "webp": ("WEBP", {"lossless": True})}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:.*an image has an EXIF orientation")


def _pixels(height: int, width: int) -> np.ndarray:
    """Four fields of different gray, so that each of the eight orientations looks different."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[: height // 2, : width // 2] = 200
    image[: height // 2, width // 2 :] = 120
    return image


def _write(path: Path, pixels: np.ndarray, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image_format, options = FORMATS[path.suffix[1:]]
    Image.fromarray(pixels).save(path, image_format, exif=exif, **options)
    return path


@pytest.mark.parametrize("size", [(32, 48), (32, 32)], ids=["wide", "square"])
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_images_and_masks_are_read_as_stored(tmp_path: Path, orientation: int, suffix: str, size: tuple[int, int]):
    pixels = _pixels(*size)
    path = _write(tmp_path / f"a.{suffix}", pixels, orientation)
    assert np.abs(read_image(path).astype(int) - pixels).max() <= 3
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    assert np.abs(read_image(path, upright=True).astype(int) - upright).max() <= 3
    assert stored_size(path) == size
    if suffix != "jpg":  # which is no format for ids
        mask = _write(tmp_path / f"mask.{suffix}", pixels, orientation)
        identity = label_table({label: label for label in (40, 120, 200)})
        np.testing.assert_array_equal(read_mask(mask, identity), pixels[..., 0])


class Fields(SegmentationDataModule):
    num_classes, class_names = 3, ("dark", "middle", "bright")
    label_table = label_table({40: 0, 120: 1, 200: 2})

    def __init__(self, image: Path, mask: Path) -> None:
        super().__init__(A.NoOp(), batch_size=1, num_workers=0)
        self.files = [LabeledClip((image,), mask)]

    def clips(self, split: Any) -> list[LabeledClip]:
        return self.files


@pytest.mark.parametrize("is_mask_tagged", [False, True])
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_batch_of_segmentation(tmp_path: Path, orientation: int, suffix: str, is_mask_tagged: bool):
    pixels = _pixels(32, 32)
    image = _write(tmp_path / f"a.{suffix}", pixels, orientation)
    mask = _write(tmp_path / "mask.png", pixels, orientation if is_mask_tagged else 1)
    for loader in (Fields(image, mask).train_dataloader(), Fields(image, mask).val_dataloader()):
        batch = next(iter(loader))
        assert [round(batch["image"][0, 0][batch["mask"][0] == label].float().mean().item()) for label in range(3)] == (
            pytest.approx([40, 120, 200], abs=1)
        )


class Box(DetectionDataModule):
    num_classes, class_names, vocabulary = 1, ("bright",), {}

    def __init__(self, path: Path, box: tuple[int, int, int, int]) -> None:
        super().__init__((32, 48), A.NoOp(), num_workers=0, batch_size=1)
        nothing, some = np.zeros((0, 4), np.float32), np.array([box], np.float32)
        record = ImageRecord(path.name, {})
        self.image = LabeledImage(path, record, some, np.array([0]), nothing, np.zeros(0, np.int64))

    def labeled_images(self, split: Any) -> list[LabeledImage]:
        return [self.image]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_boxes_enclose_their_objects(tmp_path: Path, orientation: int, suffix: str):
    path = _write(tmp_path / f"a.{suffix}", _pixels(32, 48), orientation)
    item: Any = Box(path, (0, 0, 24, 16)).dataset("val")
    rows, columns = torch.nonzero(item[0]["image"][0] > 160, as_tuple=True)
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == item[0]["boxes_xyxy"][0].tolist()


@pytest.mark.parametrize("suffix", FORMATS)
def test_frames_are_turned_upright(tmp_path: Path, suffix: str):
    for orientation in ORIENTATIONS:
        _write(tmp_path / f"{orientation}.{suffix}", _pixels(32, 48), orientation)
    data = FramesDataModule(tmp_path)
    data.setup("predict")
    for batch in data.predict_dataloader():
        shown = ImageOps.exif_transpose(Image.open(tmp_path / f"{batch['name'][0]}.{suffix}")).convert("RGB")
        seen = batch["image"][0].permute(1, 2, 0).numpy()
        assert np.abs(seen.astype(int) - np.asarray(shown)).max() <= 3


@pytest.mark.filterwarnings("default")
def test_it_is_said_that_an_orientation_is_ignored(tmp_path: Path):
    tagged = _write(tmp_path / "a.jpg", _pixels(32, 48), 6)
    with pytest.warns(UserWarning, match=r"an image has an EXIF orientation, which is ignored\. Labels must match"):
        read_image(tagged)


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_that_makes_no_sense_is_none(tmp_path: Path, value: int):
    path = _write(tmp_path / "a.jpg", _pixels(32, 48), value)
    assert read_image(path, upright=True).shape == (32, 48, 3)


def test_labels_of_the_turned_image_are_refused_with_the_cause(tmp_path: Path):
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
    _write(tmp_path / "train/0001TP_000000.jpg", _pixels(32, 48), 6)
    _write(tmp_path / "trainannot/0001TP_000000.png", np.zeros((48, 32), np.uint8), 1)
    data = CamVidDataModule(tmp_path, num_workers=0)
    with pytest.raises(ValueError, match=r"got \(32, 48\) in .* and \(48, 32\) in .*without their EXIF orientation"):
        data.dataset("train")
