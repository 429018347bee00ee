"""Images of a folder without any labels, as the target of domain adaptation."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from lightning_edge.checks import check_pair
from lightning_edge.contracts import IGNORE_INDEX, UNKNOWN_CLASS, ClassificationBatch, SegmentationBatch
from lightning_edge.data.base import EdgeDataModule, Split
from lightning_edge.data.images.augmentation import RandomShift, StreetAugmentation, Transform, apply_seeded
from lightning_edge.data.images.files import read_image, resized
from lightning_edge.data.images.headers import IMAGE_SUFFIXES, images_in
from lightning_edge.data.loading import ResumableLoader, SampleRequest

Task = Literal["classification", "segmentation"]


class UnlabeledImagesDataModule(EdgeDataModule):
    """Images of a folder of which nothing is labeled, as the target of an ``AdaptationDataModule``.

    Every tenth image, in the order of the names, is used for validation and testing and not for training. There, the
    target is evaluated without labels: methods log no score for it, while callbacks such as
    :class:`~callbacks.adaptation.target_free_scores.TargetFreeScores` do.

    Args:
        folder: Folder of images. Folders in it are searched too.
        size: Height and width to which all images are resized, in pixels, whatever their proportions.
        task: Task of the method: classes of images or of pixels.
        train_transform: Augmentation from albumentations after resizing. ``None`` uses
            :class:`~lightning_edge.data.images.augmentation.RandomShift` for classification, and
            :class:`~lightning_edge.data.images.augmentation.StreetAugmentation` for segmentation. Use
            ``albumentations.NoOp()`` for no augmentation.
        batch_size: Number of images in a training batch of one process.
        eval_batch_size: Number of images in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that read images, for each data loader.
        seed: Seed of the order of the training samples and of their augmentation.

    Raises:
        FileNotFoundError: The folder does not exist, or has fewer than two images. It is raised in ``setup``.
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        folder: str | Path,
        size: tuple[int, int],
        task: Task = "classification",
        train_transform: Transform | None = None,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        check_pair(size=size)
        if task not in ("classification", "segmentation"):
            raise ValueError(f"expected task as 'classification' or 'segmentation', got {task!r}")
        self.folder = Path(folder).expanduser()
        self.size = size
        self.task: Task = task
        self.batch_type = ClassificationBatch if task == "classification" else SegmentationBatch
        default = RandomShift if task == "classification" else StreetAugmentation
        self.train_transform = default(*size) if train_transform is None else train_transform

    @override
    def train_dataloader(self) -> ResumableLoader:
        """Raise a ``ValueError``, because no method can train on images without labels alone."""
        raise ValueError(
            "expected labeled data for training, got UnlabeledImagesDataModule: use it as the target of an "
            "AdaptationDataModule"
        )

    @override
    def make_dataset(self, split: Split) -> Dataset[Any]:
        """Find the images of a split."""
        if not self.folder.is_dir():
            raise FileNotFoundError(f"folder {self.folder}: expected a folder of images, but there is none")
        folders = [self.folder, *sorted(path for path in self.folder.rglob("*") if path.is_dir())]
        paths = sorted(path for folder in folders for path in images_in(folder))
        if len(paths) < 2:
            raise FileNotFoundError(
                f"folder {self.folder}: expected two images or more, one of them for validation, got {len(paths)}; "
                f"their names must end in {', '.join(IMAGE_SUFFIXES)}"
            )
        for_validation = paths[1::10]
        if split == "train":
            paths = sorted({*paths} - {*for_validation})
            return _UnlabeledImages(paths, self.size, self.task, self.train_transform)
        return _UnlabeledImages(for_validation, self.size, self.task, None)


class _UnlabeledImages(Dataset[dict[str, Tensor]]):
    def __init__(self, paths: list[Path], size: tuple[int, int], task: Task, transform: Transform | None) -> None:
        self.paths = paths
        self.size = size
        self.task = task
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, item: SampleRequest | int) -> dict[str, Tensor]:
        index = item.index if isinstance(item, SampleRequest) else item
        image = resized(read_image(self.paths[index], upright=True), self.size)
        if isinstance(item, SampleRequest) and self.transform is not None:
            image = apply_seeded(self.transform, item.seed, image=image)["image"]
        sample = {"image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))}
        if self.task == "classification":
            return sample | {"label": torch.tensor(UNKNOWN_CLASS)}
        return sample | {"mask": torch.full(image.shape[:2], IGNORE_INDEX)}
