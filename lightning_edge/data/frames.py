"""Frames of a folder of images or of a video file, for prediction."""

import re
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from lightning_edge.checks import check_at_least
from lightning_edge.contracts import FrameBatch
from lightning_edge.data.base import EdgeDataModule, Split
from lightning_edge.data.images.files import RgbImage, read_image, resized
from lightning_edge.data.images.headers import IMAGE_SUFFIXES, MAX_PIXELS, images_in


def collate_frames(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack frames into a batch. Raises a ``ValueError`` that names two frames of different sizes."""
    first = samples[0]
    for sample in samples:
        if sample["image"].shape != first["image"].shape:
            raise ValueError(
                f"expected frames of one batch of the same size, got {tuple(first['image'].shape[1:])} in "
                f"{first['name']} and {tuple(sample['image'].shape[1:])} in {sample['name']}: use batch_size=1"
            )
    return default_collate(samples)


class FramesDataModule(EdgeDataModule):
    """Frames of a stream in temporal order, for ``Trainer.predict`` only.

    Images of a folder are read in the natural order of their names (``2.png`` before ``10.png``) and rotated by their
    EXIF orientation, as viewers show them. With ``batch_size=1``, frames may have different sizes.

    Args:
        source: Folder of images, or video file that OpenCV can read.
        every: Only each ``every``-th frame is used. ``frame_index`` in the batch counts all frames.
        size: Height and width to which all frames are resized, in pixels, whatever their proportions. Not resized if
            ``None``.
        batch_size: Number of frames in a batch.
        num_workers: Number of processes that read images. A video is read by one process at most.

    Raises:
        FileNotFoundError: The source does not exist, or the folder has no image. It is raised in ``setup``.
        ValueError: The first frame cannot be read, or the results of two images would have the same name. It is raised
            in ``setup``.
    """

    batch_type = FrameBatch
    collate = staticmethod(collate_frames)

    def __init__(
        self,
        source: str | Path,
        every: int = 1,
        batch_size: int = 1,
        num_workers: int = 0,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers=num_workers)
        check_at_least(1, every=every)
        if size is not None and min(size) < 1:
            raise ValueError(f"expected size of at least (1, 1), got {size}")
        if size is not None and size[0] * size[1] > MAX_PIXELS:
            raise ValueError(f"expected size of at most {MAX_PIXELS:,} pixels, got {size}")
        self.size = size
        self.source = Path(source).expanduser()
        self.every = every

    def setup(self, stage: str | None = None) -> None:
        """Find the frames and read the first one."""
        if stage not in ("predict", None):
            raise ValueError(f"FramesDataModule has no labels: expected the stage predict, got {stage}")
        self.dataset("predict")

    def make_dataset(self, split: Split) -> Dataset[Any]:
        """Frames of the folder or of the video."""
        del split
        if _is_folder(self.source):
            frames = _FolderFrames(_images_in_order(self.source)[:: self.every], self.every, self.size)
            frames[0]  # raises an error in setup if it cannot be read
            return frames
        return _VideoFrames(self.source, self.every, self.size)

    def predict_dataloader(self) -> DataLoader[Any]:
        """All frames, in order."""
        dataset = self.dataset("predict")
        arguments = self.loader_arguments()
        if isinstance(dataset, _VideoFrames):
            num_workers = min(self.num_workers, 1)  # each worker would read the whole video
            arguments |= {"num_workers": num_workers, "persistent_workers": False}
        return DataLoader(dataset, batch_size=self.batch_size, **arguments)


class _FolderFrames(Dataset[dict[str, Any]]):
    def __init__(self, paths: list[Path], every: int, size: tuple[int, int] | None) -> None:
        self.paths = paths
        self.every = every
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, item: int) -> dict[str, Any]:
        path = self.paths[item]
        return _frame(resized(read_image(path, upright=True), self.size), item * self.every, path.stem)


class _VideoFrames(IterableDataset[dict[str, Any]]):
    def __init__(self, path: Path, every: int, size: tuple[int, int] | None) -> None:
        self.path = path
        self.every = every
        self.size = size
        if next(iter(self), None) is None:
            raise ValueError(f"source {path}: OpenCV cannot read a frame from it; is it a video with a common codec?")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        video = cv2.VideoCapture(str(self.path))
        try:
            frame_index = 0
            height, width = (int(video.get(side)) for side in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
            if height * width > MAX_PIXELS:
                raise ValueError(
                    f"source {self.path}: expected frames of at most {MAX_PIXELS:,} pixels, got {width:,} x {height:,}"
                )
            while video.grab():  # decodes less than read()
                if frame_index % self.every == 0:
                    is_decoded, image = video.retrieve()
                    if is_decoded:
                        image = resized(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), self.size)
                        yield _frame(image, frame_index, f"{self.path.stem}_{frame_index:06d}")
                frame_index += 1
            num_declared = int(video.get(cv2.CAP_PROP_FRAME_COUNT))  # negative if the container does not declare it
            if frame_index < num_declared:
                warnings.warn(
                    f"source {self.path}: the video ended after {frame_index} of {num_declared} frames; is it damaged?",
                    stacklevel=2,
                )
        finally:
            video.release()


def _frame(image: RgbImage, frame_index: int, name: str) -> dict[str, Any]:
    chw: Tensor = torch.from_numpy(image).permute(2, 0, 1)
    return {"image": chw, "frame_index": frame_index, "name": name}


def _is_folder(source: Path) -> bool:
    """Whether a source is a folder and not a file. Raises an error if it is neither."""
    try:
        mode = source.stat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(
            f"source {source}: expected a folder of images or a video file, but it does not exist"
        ) from None
    except OSError as error:
        raise OSError(f"source {source}: cannot be read ({error.strerror}); check permissions and links") from None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):  # such as a pipe, which OpenCV would wait for
        raise ValueError(f"source {source}: expected a folder of images or a video file, got a pipe or a device")
    return stat.S_ISDIR(mode)


def _images_in_order(folder: Path) -> list[Path]:
    paths = sorted(images_in(folder), key=_natural_key)
    if not paths:
        raise FileNotFoundError(
            f"source {folder}: it has no image; expected files that end in {', '.join(IMAGE_SUFFIXES)}"
        )
    by_stem: dict[str, Path] = {}
    for path in paths:
        if (other := by_stem.setdefault(path.stem, path)) is not path:
            raise ValueError(
                f"source {folder}: expected images whose names differ without the suffix, because results are named "
                f"after them, got {other.name} and {path.name}"
            )
    return paths


def _natural_key(path: Path) -> tuple[list[tuple[int, str]], str]:
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name
