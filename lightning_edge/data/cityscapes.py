"""Cityscapes: street scenes with 19 classes, as single images and as video clips.

Layout and classes: https://www.cityscapes-dataset.com/dataset-overview/ and the Cityscapes scripts.
"""

import re
from collections import defaultdict
from pathlib import Path

from lightning_edge.checks import check_names, check_pair
from lightning_edge.data.base import Split
from lightning_edge.data.images.augmentation import Transform
from lightning_edge.data.images.camera_motion import RandomCameraMotion
from lightning_edge.data.images.files import label_table
from lightning_edge.data.images.headers import by_key
from lightning_edge.data.segmentation import LabeledClip, SegmentationDataModule, SegmentationVideoDataModule
from lightning_edge.ops.cityscapes_labels import LABELS, TRAIN_LABELS
from lightning_edge.samples.cityscapes import sample_cityscapes
from lightning_edge.samples.world.frames import TEST_SEED

NUM_EARLIER_FRAMES = 19
"""Number of frames before the labeled frame, which is the 20th of a 30-frame snippet."""

_IMAGES = "_leftImg8bit.png"
_MASKS = "_gtFine_labelIds.png"
_LABEL_TABLE = label_table({label.label_id: label.train_id for label in LABELS})
_CLASS_NAMES = tuple(label.name for label in TRAIN_LABELS)
_PALETTE = tuple(label.color for label in TRAIN_LABELS)
_SOURCE = "https://www.cityscapes-dataset.com/downloads"


class CityscapesDataModule(SegmentationDataModule):
    """Single images of Cityscapes (2,975 for training, 500 for validation) with 19 classes.

    The labels of the test split are not public, so the test loader serves the validation split. For generated data it
    serves as many other scenes, which are generated on first use.

    Args:
        root: Folder with ``leftImg8bit`` and ``gtFine``. If ``None``, small generated scenes in the same layout are
            used.
        num_samples: Numbers of generated images for training and for evaluation; the test split has as many as the
            validation split.
        sample_size: Height and width of generated images, in pixels.
        sample_domains: Names of the light and weather conditions of generated images.
        train_transform: See :class:`~lightning_edge.data.segmentation.SegmentationDataModule`.
        batch_size: Number of images in a training batch of one process.
        eval_batch_size: Number of images in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that read images, for each data loader.
        seed: Seed of the order of the training samples and of their augmentation.
    """

    num_classes = len(_CLASS_NAMES)
    class_names = _CLASS_NAMES
    palette = _PALETTE
    label_table = _LABEL_TABLE

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        num_samples: tuple[int, int] = (120, 40),
        sample_size: tuple[int, int] = (128, 256),
        sample_domains: tuple[str, ...] = ("day",),
        train_transform: Transform | None = None,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(train_transform, batch_size, eval_batch_size, num_workers, seed)
        self.root = root
        check_pair(num_samples=num_samples, sample_size=sample_size)
        check_names(sample_domains=sample_domains)
        self.num_samples = num_samples
        self.sample_size = sample_size
        self.sample_domains = tuple(sample_domains)

    def prepare_data(self) -> None:
        """Generate the sample data, on one process only."""
        _folder(self)

    def clips(self, split: Split) -> list[LabeledClip]:
        """Images of a split with their masks, one for each mask."""
        return _stills(_folder(self, split), "train" if split == "train" else "val")


class CityscapesVideoDataModule(SegmentationVideoDataModule):
    """Clips of Cityscapes at 17 Hz with 19 classes: a labeled image and the frames before it.

    The labels of the test split are not public, so the test loader serves the validation split. For generated data it
    serves as many other clips, which are generated on first use.

    Args:
        root: Folder with ``leftImg8bit_sequence`` and ``gtFine``. Clips of one frame are read from ``leftImg8bit``
            instead, such as training clips with ``train_motion``. If ``None``, small generated scenes in the same
            layout are used.
        max_distance: Number of frames from the oldest frame to the labeled frame in evaluation, at most 19.
        train_distances: Values from which this number is drawn in training, once for each batch.
        train_motion: See :class:`~lightning_edge.data.segmentation.SegmentationVideoDataModule`.
        num_samples: Numbers of generated clips for training and for evaluation; the test split has as many as the
            validation split.
        sample_size: Height and width of generated images, in pixels.
        sample_domains: Names of the light and weather conditions of generated images.
        train_transform: See :class:`~lightning_edge.data.segmentation.SegmentationVideoDataModule`.
        batch_size: Number of clips in a training batch of one process.
        eval_batch_size: Number of clips in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that read images, for each data loader.
        seed: Seed of the order of the training clips, of their distances and of their augmentation.
    """

    num_classes = len(_CLASS_NAMES)
    class_names = _CLASS_NAMES
    palette = _PALETTE
    label_table = _LABEL_TABLE

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        max_distance: int = 9,
        train_distances: tuple[int, ...] = (1, 2, 3, 4),
        train_motion: RandomCameraMotion | None = None,
        num_samples: tuple[int, int] = (120, 40),
        sample_size: tuple[int, int] = (128, 256),
        sample_domains: tuple[str, ...] = ("day",),
        train_transform: Transform | None = None,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(
            max_distance, train_distances, train_motion, train_transform, batch_size, eval_batch_size, num_workers, seed
        )
        for name, distance in (("max_distance", max_distance), ("train_distances", max(train_distances))):
            if distance > NUM_EARLIER_FRAMES:
                raise ValueError(
                    f"expected {name} of at most {NUM_EARLIER_FRAMES}, because the labeled frame is the 20th of its "
                    f"snippet, got {distance}"
                )
        self.root = root
        check_pair(num_samples=num_samples, sample_size=sample_size)
        check_names(sample_domains=sample_domains)
        self.num_samples = num_samples
        self.sample_size = sample_size
        self.sample_domains = tuple(sample_domains)

    def prepare_data(self) -> None:
        """Generate the sample data, on one process only."""
        _folder(self)

    def clips(self, split: Split) -> list[LabeledClip]:
        """Clips of a split, one for each mask, each as long as the split needs."""
        folder = "train" if split == "train" else "val"
        root = _folder(self, split)
        if self.num_frames(split) == 1:
            return _stills(root, folder)  # needs no sequences
        masks = _masks(root, folder)
        frames = _images(_sequences(root) / folder)
        clips: dict[_Key, tuple[Path, ...]] = {}
        for city, sequence, last in masks:
            keys = [(city, sequence, frame) for frame in range(last - self.num_frames(split) + 1, last + 1)]
            if all(key in frames for key in keys):
                clips[city, sequence, last] = tuple(frames[key] for key in keys)
        missing = f"clip of {self.num_frames(split)} consecutive frames"
        _require_all(masks, clips, missing, "leftImg8bit_sequence_trainvaltest.zip")
        return [LabeledClip(clips[key], mask) for key, mask in masks.items()]


def _folder(data: CityscapesDataModule | CityscapesVideoDataModule, split: Split = "train") -> Path:
    if data.root is not None:
        return Path(data.root).expanduser()
    (num_train, num_val), (height, width) = data.num_samples, data.sample_size
    # the test scenes are the validation split of a separate data set
    num_train, seed = (1, TEST_SEED) if split == "test" else (num_train, 0)
    # always with snippets, so that both modules share the data; snippets take 50 % more time to generate
    return sample_cityscapes(num_train, num_val, height, width, data.sample_domains, seed)


_NAME = re.compile(r"(?P<city>.+)_(?P<sequence>\d+)_(?P<frame>\d+)")
_Key = tuple[str, int, int]
"""City, sequence and frame."""


def _key(path: Path, ending: str) -> _Key:
    match = _NAME.fullmatch(path.name.removesuffix(ending))
    if match is None:
        raise ValueError(f"{path}: expected a name of city, sequence and frame, such as aachen_000000_000019{ending}")
    return match["city"], int(match["sequence"]), int(match["frame"])


def _images(folder: Path) -> dict[_Key, Path]:
    return by_key(sorted(folder.glob(f"*/[!.]*{_IMAGES}")), lambda path: _key(path, _IMAGES))


def _masks(root: Path, split: str) -> dict[_Key, Path]:
    folder = root / "gtFine" / split
    masks = by_key(sorted(folder.glob(f"*/[!.]*{_MASKS}")), lambda path: _key(path, _MASKS))
    if not masks:
        raise FileNotFoundError(
            f"There are no masks *{_MASKS} in the folders of {folder}: expected root to contain gtFine/{split}/<city>, "
            f"got {root}; download gtFine_trainvaltest.zip from {_SOURCE} and unpack it there"
        )
    return masks


def _stills(root: Path, folder: str) -> list[LabeledClip]:
    masks = _masks(root, folder)
    images = {key: (path,) for key, path in _images(root / "leftImg8bit" / folder).items()}
    _require_all(masks, images, "image", "leftImg8bit_trainvaltest.zip")
    return [LabeledClip(images[key], mask) for key, mask in masks.items()]


def _sequences(root: Path) -> Path:
    folder = root / "leftImg8bit_sequence"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is missing: clips need leftImg8bit_sequence_trainvaltest.zip (324 GB) from {_SOURCE}, unpacked "
            "in root. CityscapesDataModule, for single images, works without it."
        )
    return folder


def _require_all(masks: dict[_Key, Path], files: dict[_Key, tuple[Path, ...]], what: str, archive: str) -> None:
    missing = defaultdict(list)
    for key, mask in masks.items():
        if key not in files:
            missing[key[0]].append(mask)
    if missing:
        total = sum(map(len, missing.values()))
        first = next(iter(missing.values()))[0]
        raise FileNotFoundError(
            f"{total} of {len(masks)} masks have no {what}, the first is {first} (cities: {', '.join(missing)}); "
            f"download {archive} from {_SOURCE} and unpack it in root"
        )
