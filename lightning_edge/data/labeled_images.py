"""Images of 32x32 pixels that are kept in memory, and their classes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from lightning_edge.data.domains.module import DomainLookup
from lightning_edge.data.images.augmentation import Transform
from lightning_edge.data.images.batch_augmentation import augment_batch
from lightning_edge.data.loading import SampleRequest


class LabeledImages(NamedTuple):
    """RGB images and the class of each."""

    images: UInt8[np.ndarray, "num 32 32 3"]
    labels: Int64[np.ndarray, " num"]

    def at(self, index: Any) -> "LabeledImages":
        """The images and labels at the given indices."""
        return LabeledImages(self.images[index], self.labels[index])


class LabeledImageDataset(Dataset[dict[str, Tensor]]):
    """Dataset of items with ``image`` and ``label`` and, if given, the fields of their domains.

    Args:
        data: All images.
        transform: Augmentation of items that are requested by a :class:`~lightning_edge.data.loading.SampleRequest`.
            See :mod:`~lightning_edge.data.images.batch_augmentation` for the transforms that are fast.
        domains: Domain of each image.
    """

    def __init__(
        self, data: LabeledImages, transform: Transform | None = None, domains: DomainLookup | None = None
    ) -> None:
        self.images, self.labels = data
        self.transform = transform
        self.domains = domains

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, item: SampleRequest | int) -> dict[str, Tensor]:
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[SampleRequest | int]) -> list[dict[str, Tensor]]:
        """All items of a batch, which a ``DataLoader`` requests at once."""
        indices = [item.index if isinstance(item, SampleRequest) else item for item in items]
        seeds = [item.seed for item in items if isinstance(item, SampleRequest)]
        if self.transform is None or not seeds:
            images = np.ascontiguousarray(self.images[indices].transpose(0, 3, 1, 2))
        else:
            images = augment_batch(self.transform, self.images[indices], seeds)
        labels = torch.from_numpy(self.labels[indices])
        samples = [
            {"image": torch.from_numpy(image), "label": label} for image, label in zip(images, labels, strict=True)
        ]
        if self.domains is None:
            return samples
        return [sample | self.domains.sample_fields(index) for sample, index in zip(samples, indices, strict=True)]
