"""Embeddings of domains, and what is known of an image's domain at inference."""

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
    """Embeddings of the domains of a split's images."""

    embeddings: Float32[np.ndarray, "domains features"]
    domain_index: Int64[np.ndarray, " images"]
    """Row of ``embeddings`` for each image. ``ImageFeatureEmbedding`` has a row for each image, whatever its domain."""


class DomainEmbedding(ABC):
    """A way to describe domains by vectors."""

    @abstractmethod
    def num_features(self, partition: Partition, vocabulary: Vocabulary) -> int:
        """Length of the embedding of a domain. It is known before any image is read."""

    @abstractmethod
    def describe(self, of_split: Assignment, of_training: Assignment) -> Description:
        """Embed the domains of a split's images. Other splits may use what was learned from the training images."""


class _FeatureFileEmbedding(DomainEmbedding):
    """Base of embeddings that are read from a file of features.

    Args:
        features: Path of a file with the features of all images, written by ``python -m recipes.ddn embed``.
    """

    def __init__(self, features: str | Path) -> None:
        self.features = Path(features)

    @override
    def num_features(self, partition: Partition, vocabulary: Vocabulary) -> int:
        return num_features(self.features)


class OneHotEmbedding(DomainEmbedding):
    """One-hot embedding: 1 at the index of the domain, 0 elsewhere. It only identifies the domain."""

    @override
    def num_features(self, partition: Partition, vocabulary: Vocabulary) -> int:
        count = partition.num_domains(vocabulary)
        if count is None:
            raise ValueError(
                f"OneHotEmbedding expected a partition with a fixed number of domains, got {type(partition).__name__}: "
                "use MeanFeatureEmbedding"
            )
        return count

    @override
    def describe(self, of_split: Assignment, of_training: Assignment) -> Description:
        return Description(np.eye(len(of_split.domain_names), dtype=np.float32), of_split.domain)


class MeanFeatureEmbedding(_FeatureFileEmbedding):
    """Mean features of a domain's images, as in arXiv:1911.13237. Each split uses the means of its own images.

    Args:
        features: Path of a file with the features of all images, written by ``python -m recipes.ddn embed``.
    """

    @override
    def describe(self, of_split: Assignment, of_training: Assignment) -> Description:
        features = read_features(self.features, of_split.split, [image.name for image in of_split.images])
        return Description(_means(features, of_split.domain, len(of_split.domain_names)), of_split.domain)


class ImageFeatureEmbedding(_FeatureFileEmbedding):
    """Features of the image itself from a frozen encoder, whatever its domain.

    Args:
        features: Path of a file with the features of all images, written by ``python -m recipes.ddn embed``.
    """

    @override
    def describe(self, of_split: Assignment, of_training: Assignment) -> Description:
        names = [image.name for image in of_split.images]
        return Description(read_features(self.features, of_split.split, names), np.arange(len(names)))


class EstimatedEmbedding(DomainEmbedding):
    """The embedding of the training domain that an image is most similar to, for images without known attributes.

    In training the domains are known. Every other image gets the training domain whose mean features are nearest. The
    distance gives more weight to features that vary little within a domain
    (:func:`~lightning_edge.ops.discriminant.discriminant_map`).

    Args:
        features: Path of a file with the features of all images, written by ``python -m recipes.ddn embed``.
        embedding: Embedding of the domains; ``OneHotEmbedding()`` if ``None``.
    """

    def __init__(self, features: str | Path, embedding: DomainEmbedding | None = None) -> None:
        self.features = Path(features)
        self.embedding = OneHotEmbedding() if embedding is None else embedding

    @override
    def num_features(self, partition: Partition, vocabulary: Vocabulary) -> int:
        return self.embedding.num_features(partition, vocabulary)

    @override
    def describe(self, of_split: Assignment, of_training: Assignment) -> Description:
        embeddings = self.embedding.describe(of_training, of_training).embeddings
        if of_split.split == "train":
            return Description(embeddings, of_split.domain)
        known = np.unique(of_training.domain)
        learned = read_features(self.features, "train", [image.name for image in of_training.images])
        projection = discriminant_map(torch.from_numpy(learned), torch.from_numpy(of_training.domain)).numpy().T
        means = _means(learned @ projection, of_training.domain, len(of_training.domain_names))[known]
        features = read_features(self.features, of_split.split, [image.name for image in of_split.images])
        return Description(embeddings, known[cdist(features @ projection, means).argmin(1)])


class ShuffledEmbedding(DomainEmbedding):
    """A control: outside of training, each domain gets the embedding of another domain.

    A net that is as good with it makes no use of its embeddings.

    Args:
        embedding: Embedding of the domains; ``OneHotEmbedding()`` if ``None``.
        seed: Seed of the permutation of the domains.
    """

    def __init__(self, embedding: DomainEmbedding | None = None, seed: int = 0) -> None:
        self.embedding = OneHotEmbedding() if embedding is None else embedding
        self.seed = seed

    @override
    def num_features(self, partition: Partition, vocabulary: Vocabulary) -> int:
        return self.embedding.num_features(partition, vocabulary)

    @override
    def describe(self, of_split: Assignment, of_training: Assignment) -> Description:
        description = self.embedding.describe(of_split, of_training)
        if of_split.split == "train":
            return description
        rows = np.unique(description.domain_index)
        if len(rows) < 2:
            raise ValueError(f"expected two domains or more in the {of_split.split} split to shuffle, got {len(rows)}")
        # one cycle through all domains, so that none keeps its own embedding
        cycle = np.random.default_rng(self.seed).permutation(rows)
        other = np.arange(len(description.embeddings))
        other[cycle] = np.roll(cycle, 1)
        return Description(description.embeddings, other[description.domain_index])


class RandomEmbedding(DomainEmbedding):
    """A control: each image gets the embedding of a random domain, also in training.

    So a net learns not to use it. The name of the image and a seed determine the domain.

    Args:
        embedding: Embedding of the domains; ``OneHotEmbedding()`` if ``None``.
        seed: Seed of the random domains.
    """

    def __init__(self, embedding: DomainEmbedding | None = None, seed: int = 0) -> None:
        self.embedding = OneHotEmbedding() if embedding is None else embedding
        self.seed = seed

    @override
    def num_features(self, partition: Partition, vocabulary: Vocabulary) -> int:
        return self.embedding.num_features(partition, vocabulary)

    @override
    def describe(self, of_split: Assignment, of_training: Assignment) -> Description:
        description = self.embedding.describe(of_split, of_training)
        rows = np.unique(description.domain_index)
        return Description(description.embeddings, rows[draw_by_name(of_split.images, len(rows), self.seed)])


def _means(features: np.ndarray, domain: np.ndarray, num_domains: int) -> np.ndarray:
    """Mean of the rows of each domain; zero for a domain without rows."""
    sums = np.zeros((num_domains, features.shape[1]))
    np.add.at(sums, domain, features)
    counts = np.bincount(domain, minlength=num_domains)
    return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
