"""How domains are described to a net, and what may be known of an image's domain when it is seen."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from scipy.spatial.distance import cdist
from typing_extensions import override

from lightning_edge.data.domains.features import num_features, read_features
from lightning_edge.data.domains.partitions import Assignment, Partition, Vocabulary, draw_by_name
from lightning_edge.ops.discriminant import discriminant_map


class Description(NamedTuple):
    """What a net is told of the domains of the images of a split."""

    table: Float32[np.ndarray, "rows features"]
    row: Int64[np.ndarray, " images"]
    """Row of the table for each image."""


class DomainEmbedding(ABC):
    """A way to describe domains by numbers."""

    @abstractmethod
    def num_features(self, partition: Partition, vocabulary: Vocabulary) -> int:
        """How many numbers describe a domain, known before any image is read."""

    @abstractmethod
    def describe(self, of_split: Assignment, of_training: Assignment) -> Description:
        """Describe the domains of a split's images; what was learned of training images may be used for others."""


class _OfFeatures(DomainEmbedding):
    """An embedding whose numbers are those of a file of features.

    Args:
        features: File of features of all images, as ``python -m recipes.ddn embed`` writes it.
    """

    def __init__(self, features: str | Path) -> None:
        self.features = Path(features)

    @override
    def num_features(self, partition: Partition, vocabulary: Vocabulary) -> int:
        return num_features(self.features)


class OneHotEmbedding(DomainEmbedding):
    """A place for each domain: 1 at its own, 0 at all others. It says which domain it is, and no more."""

    @override
    def num_features(self, partition: Partition, vocabulary: Vocabulary) -> int:
        count = partition.num_domains(vocabulary)
        if count is None:
            raise ValueError(
                f"expected a partition into domains that recur for OneHotEmbedding, got {type(partition).__name__}: "
                "take MeanFeatureEmbedding"
            )
        return count

    @override
    def describe(self, of_split: Assignment, of_training: Assignment) -> Description:
        return Description(np.eye(len(of_split.domain_names), dtype=np.float32), of_split.domain)


class MeanFeatureEmbedding(_OfFeatures):
    """Mean features of a domain's images, as in arXiv:1911.13237: those of its own split, training and others apart.

    Args:
        features: File of features of all images, as ``python -m recipes.ddn embed`` writes it.
    """

    @override
    def describe(self, of_split: Assignment, of_training: Assignment) -> Description:
        features = read_features(self.features, of_split.split, [image.name for image in of_split.images])
        return Description(_means(features, of_split.domain, len(of_split.domain_names)), of_split.domain)


class ImageFeatureEmbedding(_OfFeatures):
    """What a frozen encoder sees in the image itself, whatever its domain.

    Args:
        features: File of features of all images, as ``python -m recipes.ddn embed`` writes it.
    """

    @override
    def describe(self, of_split: Assignment, of_training: Assignment) -> Description:
        names = [image.name for image in of_split.images]
        return Description(read_features(self.features, of_split.split, names), np.arange(len(names)))


class EstimatedEmbedding(DomainEmbedding):
    """Another embedding, of the training domain that an image looks most like: no attribute is known when it is seen.

    In training the domains are known. For all other images the nearest of the mean features of the training domains
    decides, by a distance in which features count that vary little within a domain
    (:func:`~lightning_edge.ops.discriminant.discriminant_map`).

    Args:
        features: File of features of all images, as ``python -m recipes.ddn embed`` writes it.
        embedding: Describes the domains; ``OneHotEmbedding()`` if ``None``.
    """

    def __init__(self, features: str | Path, embedding: DomainEmbedding | None = None) -> None:
        self.features = Path(features)
        self.embedding = OneHotEmbedding() if embedding is None else embedding

    @override
    def num_features(self, partition: Partition, vocabulary: Vocabulary) -> int:
        return self.embedding.num_features(partition, vocabulary)

    @override
    def describe(self, of_split: Assignment, of_training: Assignment) -> Description:
        table = self.embedding.describe(of_training, of_training).table
        if of_split.split == "train":
            return Description(table, of_split.domain)
        known = np.unique(of_training.domain)
        learned = read_features(self.features, "train", [image.name for image in of_training.images])
        apart = discriminant_map(torch.from_numpy(learned), torch.from_numpy(of_training.domain)).numpy().T
        means = _means(learned @ apart, of_training.domain, len(of_training.domain_names))[known]
        features = read_features(self.features, of_split.split, [image.name for image in of_split.images])
        return Description(table, known[cdist(features @ apart, means).argmin(1)])


class ShuffledEmbedding(DomainEmbedding):
    """Another embedding, but outside of training each domain has the description of another one: a control.

    A net that does as well with it makes nothing of what it is told.

    Args:
        embedding: Describes the domains; ``OneHotEmbedding()`` if ``None``.
        seed: Of who gets whose.
    """

    def __init__(self, embedding: DomainEmbedding | None = None, seed: int = 0) -> None:
        self.embedding = OneHotEmbedding() if embedding is None else embedding
        self.seed = seed

    @override
    def num_features(self, partition: Partition, vocabulary: Vocabulary) -> int:
        return self.embedding.num_features(partition, vocabulary)

    @override
    def describe(self, of_split: Assignment, of_training: Assignment) -> Description:
        told = self.embedding.describe(of_split, of_training)
        if of_split.split == "train":
            return told
        rows = np.unique(told.row)
        if len(rows) < 2:
            raise ValueError(f"expected two domains or more in the {of_split.split} split to shuffle, got {len(rows)}")
        # one cycle through all: nobody keeps the own
        cycle = np.random.default_rng(self.seed).permutation(rows)
        other = np.arange(len(told.table))
        other[cycle] = np.roll(cycle, 1)
        return Description(told.table, other[told.row])


class RandomEmbedding(DomainEmbedding):
    """Another embedding, but each image has the description of any domain, in training too: a control.

    A net learns to make nothing of it. Which domain it is, the name of the image and a seed decide.

    Args:
        embedding: Describes the domains; ``OneHotEmbedding()`` if ``None``.
        seed: Of the choice.
    """

    def __init__(self, embedding: DomainEmbedding | None = None, seed: int = 0) -> None:
        self.embedding = OneHotEmbedding() if embedding is None else embedding
        self.seed = seed

    @override
    def num_features(self, partition: Partition, vocabulary: Vocabulary) -> int:
        return self.embedding.num_features(partition, vocabulary)

    @override
    def describe(self, of_split: Assignment, of_training: Assignment) -> Description:
        told = self.embedding.describe(of_split, of_training)
        rows = np.unique(told.row)
        return Description(told.table, rows[draw_by_name(of_split.images, len(rows), self.seed)])


def _means(features: np.ndarray, domain: np.ndarray, num_domains: int) -> np.ndarray:
    """Mean of the rows of each domain; zero for one without."""
    sums = np.zeros((num_domains, features.shape[1]))
    np.add.at(sums, domain, features)
    counts = np.bincount(domain, minlength=num_domains)
    return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
