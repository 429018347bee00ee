"""BDD100K's semantic segmentation: which files are read, the classes, and what is said of missing files."""

import re
import shutil
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
from conftest import write_image, write_mask
from PIL import Image

from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import SegmentationBatch
from lightning_edge.data import BDD100KSegmentationDataModule, CityscapesDataModule

REAL = Path(__file__).parents[3] / "shared/data/bdd100k_samples/labelled"
NAMES = {"train": ("b", "a", "c"), "val": ("d", "e")}


def make(root=None, **arguments):
    settings = {"num_workers": 0, "batch_size": 2, "train_transform": A.NoOp()}
    return BDD100KSegmentationDataModule(root, **settings | arguments)


def image_path(root, split, name):
    return root / f"images/10k/{split}/{name}.jpg"


def mask_path(root, split, name):
    return root / f"labels/sem_seg/masks/{split}/{name}.png"


@pytest.fixture
def root(tmp_path):
    for split, names in NAMES.items():
        for number, name in enumerate(names):
            write_image(image_path(tmp_path, split, name), 40 * number)
            write_mask(mask_path(tmp_path, split, name), number)
    return tmp_path


def names_of(data, split):
    return [(clip.frames[0].stem, clip.mask.stem) for clip in data.clips(split)]


def test_images_have_the_masks_of_their_names_and_the_validation_split_serves_for_testing(root):
    data = make(root)
    assert names_of(data, "train") == [(name, name) for name in "abc"]
    assert names_of(data, "val") == names_of(data, "test") == [(name, name) for name in "de"]
    for index, number in ((0, 1), (1, 0), (2, 2)):
        sample = data.dataset("train")[index]
        assert abs(sample["image"][0].float().mean() - 40 * number) < 5  # it is stored as JPEG
        assert (sample["mask"] == number).all()


def test_classes_are_those_of_cityscapes():
    for name in ("num_classes", "class_names", "palette", "ignore_index"):
        assert getattr(BDD100KSegmentationDataModule, name) == getattr(CityscapesDataModule, name)
    assert BDD100KSegmentationDataModule.label_table[[0, 18, 255]].tolist() == [0, 18, 255]


def test_an_unknown_id_is_named(root):
    write_mask(mask_path(root, "train", "a"), 19)
    with pytest.raises(ValueError, match=r"a\.png.*19"):
        make(root).setup("fit")


def test_missing_masks_are_named(root):
    colormaps = root / "labels/sem_seg/colormaps"
    (root / "labels/sem_seg/masks").rename(colormaps)
    with pytest.raises(
        FileNotFoundError, match=r"no masks in .*masks/train: download .* colormaps alone are not enough"
    ):
        make(root).setup("fit")


def test_missing_images_are_named(root):
    image_path(root, "train", "b").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 3 masks have no image in .*10k/train, the first is .*/b\.png: "):
        make(root).setup("fit")


def test_images_without_a_mask_are_skipped_with_a_warning(root):
    mask_path(root, "train", "b").unlink()
    with pytest.warns(UserWarning, match=r"1 images in .*10k/train have no mask and are skipped. The first is b.jpg"):
        assert len(make(root).dataset("train")) == 2


def test_generated_scenes_take_the_place_of_root(sample_cache):
    data = make(sample_size=(64, 96), num_samples=(4, 2))
    data.prepare_data()
    data.setup(None)
    masks = {}
    for split, loader in (
        ("train", data.train_dataloader()),
        ("val", data.val_dataloader()),
        ("test", data.test_dataloader()),
    ):
        batches = [data.on_after_batch_transfer(batch, 0) for batch in loader]
        for batch in batches:
            check_batch(batch, SegmentationBatch)
        masks[split] = {mask.numpy().tobytes() for batch in batches for mask in batch["mask"]}
    assert [len(masks[split]) for split in ("train", "val", "test")] == [4, 2, 2]
    assert masks["val"].isdisjoint(masks["test"])
    assert masks["train"].isdisjoint(masks["val"] | masks["test"])


@pytest.mark.skipif(not REAL.is_dir(), reason="needs BDD100K")
def test_real_images_are_read_with_masks_made_of_their_colormaps(tmp_path):
    """The colors of the real colormaps are those of the classes, and black for ignored pixels."""
    colors = {color: index for index, color in enumerate(BDD100KSegmentationDataModule.palette)} | {(0, 0, 0): 255}
    masks = {}
    for path in (REAL / "labels/sem_seg/colormaps/train").iterdir():
        pixels = np.array(Image.open(path).convert("RGB"))
        present, index = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
        classes = np.array([colors[tuple(color.tolist())] for color in present], np.uint8)
        masks[path.stem] = classes[index].reshape(pixels.shape[:2])
        for folder in ("train", "val"):
            target = mask_path(tmp_path, folder, path.stem)
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(masks[path.stem]).save(target)
            image_path(tmp_path, folder, path.stem).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REAL / f"images/10k/train/{path.stem}.jpg", image_path(tmp_path, folder, path.stem))
    data = make(tmp_path)
    data.setup("fit")
    assert len(masks) == 2
    for sample, name in zip(data.dataset("val"), sorted(masks), strict=False):
        assert sample["image"].shape == (3, 720, 1280)
        assert np.array_equal(sample["mask"], masks[name])
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{8}", name)
