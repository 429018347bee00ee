"""Images of 32x32 pixels that are all held in memory, and their classes."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from lightning_edge.data.augmentation import Transform, apply_seeded
from lightning_edge.data.domains import DomainLookup
from lightning_edge.data.loading import Draw


class LabelledImages(NamedTuple):
    """Images, RGB, and the class of each."""

    images: UInt8[np.ndarray, "num 32 32 3"]
    labels: Int64[np.ndarray, " num"]

    def at(self, index: Any) -> "LabelledImages":
        """Some of them."""
        return LabelledImages(self.images[index], self.labels[index])


class LabelledImageDataset(Dataset[dict[str, Tensor]]):
    """Items with ``image`` and ``label``, and what is known of domains.

    Args:
        data: All images.
        transform: Augmentation of the items that are asked for by a :class:`~lightning_edge.data.loading.Draw`.
        domains: The domain of each image.
    """

    def __init__(
        self, data: LabelledImages, transform: Transform | None = None, domains: DomainLookup | None = None
    ) -> None:
        self.images, self.labels = data
        self.transform = transform
        self.domains = domains

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, item: Draw | int) -> dict[str, Tensor]:
        index = item.index if isinstance(item, Draw) else item
        image = self.images[index]
        if self.transform is not None and isinstance(item, Draw):
            image = apply_seeded(self.transform, item.seed, image=image)["image"]
        planes = np.ascontiguousarray(image.transpose(2, 0, 1))
        of_domain = {} if self.domains is None else self.domains.of(index)
        return {"image": torch.from_numpy(planes), "label": torch.tensor(self.labels[index]), **of_domain}
