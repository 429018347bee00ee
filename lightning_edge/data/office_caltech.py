"""Office-Caltech10: features of images of ten classes in the domains amazon, Caltech10, dslr and webcam.

Source: Gong, Shi, Sha and Grauman, *Geodesic flow kernel for unsupervised domain adaptation*, CVPR 2012.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from lightning_edge.checks import check_whole_at_least
from lightning_edge.contracts import FeatureBatch
from lightning_edge.data.base import EdgeDataModule, Split
from lightning_edge.data.formats.office_caltech import (
    CLASS_NAMES,
    NUM_CLASSES,
    LabeledFeatures,
    OfficeCaltechDomain,
    read_office_caltech,
)
from lightning_edge.data.loading import SampleRequest
from lightning_edge.ops.feature_scaling import standardized_shares
from lightning_edge.samples.office_caltech import NUM_IMAGES, sample_office_caltech

_SPLIT_OF_FIFTH: dict[Split, Sequence[int]] = {"train": (0, 1, 2), "val": (3,), "test": (4,)}


class OfficeCaltechDataModule(EdgeDataModule):
    """Features of the images of one domain of Office-Caltech10. They are kept in memory.

    Three fifths of the images of each class are for training, one fifth for validation and one for testing, always the
    same ones. The published protocols train on one domain and test on all images of another. For them,
    :meth:`arrays` returns all images of the domain.

    Args:
        domain: ``amazon``, ``Caltech10``, ``dslr`` or ``webcam``.
        root: Folder with ``amazon_SURF_L10.mat`` (or ``.npz``) and so on. If ``None``, generated features in the same
            layout are used.
        kind: Kind of the features, the end of the names of the files.
        standardize: Whether histograms are divided by their sums, and features are standardized over all images of the
            domain, see :mod:`~lightning_edge.ops.feature_scaling`. If false, the features are those of the file.
        num_samples: Number of generated images of amazon, Caltech10, dslr and webcam.
        batch_size: Number of images in a training batch of one process.
        eval_batch_size: Number of images in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that read data, for each data loader.
        seed: Seed of the order of the training samples.

    Raises:
        ValueError: An argument is out of range.
    """

    batch_type = FeatureBatch
    num_classes = NUM_CLASSES
    class_names = CLASS_NAMES

    def __init__(
        self,
        domain: OfficeCaltechDomain = "amazon",
        root: str | Path | None = None,
        kind: str = "SURF_L10",
        standardize: bool = True,
        num_samples: tuple[int, int, int, int] = NUM_IMAGES,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        domains = get_args(OfficeCaltechDomain)
        if domain not in domains:
            raise ValueError(f"expected domain among {domains}, got {domain!r}")
        if not isinstance(num_samples, Sequence) or len(num_samples) != len(domains):
            raise ValueError(f"expected num_samples as a number for each of {domains}, got {num_samples!r}")
        for count in num_samples:
            check_whole_at_least(NUM_CLASSES, num_samples=count)
        self.domain: OfficeCaltechDomain = domain
        self.root = root
        self.kind = kind
        self.standardize = standardize
        self.num_samples = num_samples
        self._data: LabeledFeatures | None = None

    @override
    def prepare_data(self) -> None:
        """Generate the sample data, on one process only."""
        self._folder()

    def arrays(self) -> tuple[Float64[np.ndarray, "images features"], Int64[np.ndarray, " images"]]:
        """Features and classes (from 0) of all images of the domain, for the estimators of scikit-learn.

        Raises:
            FileNotFoundError: The file of the domain is missing.
            ValueError: The file is damaged.
        """
        if self._data is None:
            features, labels = read_office_caltech(self._folder(), self.domain, self.kind)
            self._data = LabeledFeatures(standardized_shares(features) if self.standardize else features, labels)
        return self._data

    @override
    def make_dataset(self, split: Split) -> Dataset[Any]:
        """Create the samples of a split."""
        features, labels = self.arrays()
        chosen = np.isin(fifths(labels), _SPLIT_OF_FIFTH[split])
        if not chosen.any():
            raise ValueError(f"{self._folder()}: expected images of {self.domain} for the {split} split, got too few")
        return _FeatureDataset(LabeledFeatures(features[chosen], labels[chosen]))

    def _folder(self) -> Path:
        return sample_office_caltech(self.num_samples) if self.root is None else Path(self.root).expanduser()


def fifths(labels: Int64[np.ndarray, " images"]) -> Int64[np.ndarray, " images"]:
    """A number from 0 to 4 for each image, so that the images of a class are shuffled and evenly distributed."""
    rng = np.random.default_rng(0)
    numbers = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        numbers[of_class] = (np.arange(len(of_class)) + label) % 5  # a small class does not always lack the same ones
    return numbers


class _FeatureDataset(Dataset[dict[str, Tensor]]):
    def __init__(self, data: LabeledFeatures) -> None:
        self.features = torch.from_numpy(data.features.astype(np.float32))
        self.labels = torch.from_numpy(data.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, item: SampleRequest | int) -> dict[str, Tensor]:
        index = item.index if isinstance(item, SampleRequest) else item
        return {"features": self.features[index], "label": self.labels[index]}
