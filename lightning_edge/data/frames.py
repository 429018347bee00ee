"""Frames of any folder of images or video file, for prediction."""

import re
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from lightning_edge.contracts import FrameBatch
from lightning_edge.data.base import EdgeDataModule, Split
from lightning_edge.data.images.files import RgbImage, read_image
from lightning_edge.data.images.headers import IMAGE_SUFFIXES, MAX_PIXELS, images_in


def collate_frames(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack frames; raises ``ValueError`` naming two frames of different sizes."""
    first = samples[0]
    for sample in samples:
        if sample["image"].shape != first["image"].shape:
            raise ValueError(
                f"expected frames of one batch of the same size, got {tuple(first['image'].shape[1:])} in "
                f"{first['name']} and {tuple(sample['image'].shape[1:])} in {sample['name']}: take batch_size=1"
            )
    return default_collate(samples)


class FramesDataModule(EdgeDataModule):
    """Frames of a stream in order of time, for ``Trainer.predict``; there is nothing to train on.

    Images of a folder come in the natural order of their names (``2.png`` before ``10.png``), turned upright by their
    EXIF orientation, as viewers show them. Frames may change their size as long as they come one by one.

    Args:
        source: A folder of images, or a video file that OpenCV can read.
        every: Take each ``every``-th frame only; ``frame_index`` in the batch counts all of them.
        size: Height and width in pixels to resize frames to, whatever their shape; as they come if ``None``.
        batch_size: Frames in a batch.
        num_workers: Processes that read images; a video is read by one at most.

    Raises:
        FileNotFoundError: In ``setup``, if there is no such source or no image in the folder.
        ValueError: In ``setup``, if the first frame cannot be read, or two images would have results of one name.
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
        if every < 1:
            raise ValueError(f"expected every of at least 1, got {every}")
        if size is not None and min(size) < 1:
            raise ValueError(f"expected size of at least a pixel each way, got {size}")
        if size is not None and size[0] * size[1] > MAX_PIXELS:
            raise ValueError(f"expected size of at most {MAX_PIXELS:,} pixels, got {size}")
        self.size = size
        self.source = Path(source).expanduser()
        self.every = every

    def setup(self, stage: str | None = None) -> None:
        """Find the frames and look at the first one."""
        if stage not in ("predict", None):
            raise ValueError(f"FramesDataModule has no labels: expected the stage predict, got {stage}")
        self.dataset("predict")

    def make_dataset(self, split: Split) -> Dataset[Any]:
        """Frames of the folder or of the video."""
        del split
        if _is_folder(self.source):
            frames = _FolderFrames(_images_in_order(self.source)[:: self.every], self.every, self.size)
            frames[0]  # shows here rather than later whether it can be read
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
        return _frame(_resized(read_image(path, upright=True), self.size), item * self.every, path.stem)


class _VideoFrames(IterableDataset[dict[str, Any]]):
    def __init__(self, path: Path, every: int, size: tuple[int, int] | None) -> None:
        self.path = path
        self.every = every
        self.size = size
        if next(iter(self), None) is None:
            raise ValueError(f"source {path}: OpenCV finds no frame in it; is it a video, and of a common codec?")

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
                        image = _resized(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), self.size)
                        yield _frame(image, frame_index, f"{self.path.stem}_{frame_index:06d}")
                frame_index += 1
            num_promised = int(video.get(cv2.CAP_PROP_FRAME_COUNT))  # negative where the container does not say
            if frame_index < num_promised:
                warnings.warn(
                    f"source {self.path}: it ended after {frame_index} of {num_promised} frames; is it damaged?",
                    stacklevel=2,
                )
        finally:
            video.release()


def _resized(image: RgbImage, size: tuple[int, int] | None) -> UInt8[np.ndarray, "new_height new_width 3"]:
    if size is None:
        return image
    is_smaller = size[0] < image.shape[0]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR)


def _frame(image: RgbImage, frame_index: int, name: str) -> dict[str, Any]:
    chw: Tensor = torch.from_numpy(image).permute(2, 0, 1)
    return {"image": chw, "frame_index": frame_index, "name": name}


def _is_folder(source: Path) -> bool:
    """Whether a source is a folder rather than a file; raises if it is neither."""
    try:
        mode = source.stat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(
            f"source {source}: expected a folder of images or a video file, found nothing"
        ) from None
    except OSError as error:
        raise OSError(f"source {source}: cannot be read ({error.strerror}); look at permissions and links") from None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):  # such as a pipe, which OpenCV would wait for
        raise ValueError(f"source {source}: expected a folder of images or a video file, got a pipe or a device")
    return stat.S_ISDIR(mode)


def _images_in_order(folder: Path) -> list[Path]:
    paths = sorted(images_in(folder), key=_natural_key)
    if not paths:
        raise FileNotFoundError(
            f"source {folder}: no image in it, expected files ending in {', '.join(IMAGE_SUFFIXES)}"
        )
    by_stem: dict[str, Path] = {}
    for path in paths:
        if (other := by_stem.setdefault(path.stem, path)) is not path:
            raise ValueError(
                f"source {folder}: expected images whose names differ before the ending, for that is what results are "
                f"called, got {other.name} and {path.name}"
            )
    return paths


def _natural_key(path: Path) -> tuple[list[tuple[int, str]], str]:
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name
