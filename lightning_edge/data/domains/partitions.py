"""Partitions, which assign each image of a data set to a domain."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist
from typing_extensions import override

from lightning_edge.checks import check_whole_at_least
from lightning_edge.contracts import LabeledSplit
from lightning_edge.data.domains.features import read_features

Vocabulary = Mapping[str, tuple[str, ...]]
"""All values that an attribute can have, by the name of the attribute."""


class ImageRecord(NamedTuple):
    """Name and attributes of an image."""

    name: str
    """Unique within a split."""
    attributes: Mapping[str, str]
    """A value of the vocabulary for each attribute in it."""


class Assignment(NamedTuple):
    """The images of a split and the domain of each."""

    split: LabeledSplit
    images: Sequence[ImageRecord]
    domain_names: tuple[str, ...]
    domain: Int64[np.ndarray, " images"]
    """Index into ``domain_names``."""


class Partition(ABC):
    """A way to divide the images of a data set into domains, the same in all splits."""

    @abstractmethod
    def num_domains(self, vocabulary: Vocabulary) -> int | None:
        """Number of domains, also of those without images; ``None`` if each image is a domain of its own."""

    @abstractmethod
    def assign(self, split: LabeledSplit, images: Sequence[ImageRecord], vocabulary: Vocabulary) -> Assignment:
        """Assign each image to a domain."""


class ByAttributes(Partition):
    """One domain for each combination of values of the given attributes. Without attributes there is one domain.

    Args:
        attributes: Name or names of attributes of the data set, such as ``timeofday`` and ``weather`` of BDD100K. The
            main runs in the code of arXiv:1911.13237 are named after this partition.
    """

    def __init__(self, attributes: tuple[str, ...] | str = ("timeofday", "weather")) -> None:
        self.attributes = (attributes,) if isinstance(attributes, str) else tuple(attributes)

    @override
    def num_domains(self, vocabulary: Vocabulary) -> int:
        return len(self._names(vocabulary))

    @override
    def assign(self, split: LabeledSplit, images: Sequence[ImageRecord], vocabulary: Vocabulary) -> Assignment:
        names = self._names(vocabulary)
        index = {name: number for number, name in enumerate(names)}
        values = ([image.attributes[attribute] for attribute in self.attributes] for image in images)
        domain = np.array([index[_name(value)] for value in values], np.int64)
        return Assignment(split, images, names, domain)

    def values_of_domains(self, vocabulary: Vocabulary) -> dict[str, dict[str, str]]:
        """The attribute values of each domain, by the domain's name and the attributes' names."""
        combinations = product(*(vocabulary[attribute] for attribute in self.attributes))
        return {
            name: dict(zip(self.attributes, values, strict=True))
            for name, values in zip(self._names(vocabulary), combinations, strict=True)
        }

    def _names(self, vocabulary: Vocabulary) -> tuple[str, ...]:
        unknown = [attribute for attribute in self.attributes if attribute not in vocabulary]
        if unknown:
            raise ValueError(f"expected attributes among {sorted(vocabulary)}, got {unknown}")
        return tuple(_name(values) for values in product(*(vocabulary[attribute] for attribute in self.attributes)))


class RandomDomains(Partition):
    """A control with meaningless domains: the name of an image and a seed determine its domain.

    Args:
        num_domains: Number of domains.
        seed: Seed of the random domains.
    """

    def __init__(self, num_domains: int = 5, seed: int = 0) -> None:
        check_whole_at_least(1, num_domains=num_domains)
        self._num_domains = num_domains
        self.seed = seed

    @override
    def num_domains(self, vocabulary: Vocabulary) -> int:
        return self._num_domains

    @override
    def assign(self, split: LabeledSplit, images: Sequence[ImageRecord], vocabulary: Vocabulary) -> Assignment:
        domain = draw_by_name(images, self._num_domains, self.seed)
        return Assignment(split, images, _numbered(self._num_domains), domain)


class EachImage(Partition):
    """Each image is a domain of its own."""

    @override
    def num_domains(self, vocabulary: Vocabulary) -> None:
        return None

    @override
    def assign(self, split: LabeledSplit, images: Sequence[ImageRecord], vocabulary: Vocabulary) -> Assignment:
        return Assignment(split, images, tuple(image.name for image in images), np.arange(len(images)))


class ByClusters(Partition):
    """Clusters (k-means) of the features of a frozen encoder, without attributes.

    The centers are computed from the training images. Images of other splits belong to the cluster of the nearest
    center.

    Args:
        features: Path of a file with the features of all images, written by ``python -m recipes.ddn embed``.
        num_domains: Number of clusters; 10 in the code of arXiv:1911.13237.
        seed: Seed of the initial centers.
    """

    def __init__(self, features: str | Path, num_domains: int = 10, seed: int = 0) -> None:
        self.features = Path(features)
        check_whole_at_least(1, num_domains=num_domains)
        self._num_domains = num_domains
        self.seed = seed

    @override
    def num_domains(self, vocabulary: Vocabulary) -> int:
        return self._num_domains

    @override
    def assign(self, split: LabeledSplit, images: Sequence[ImageRecord], vocabulary: Vocabulary) -> Assignment:
        of_images = read_features(self.features, split, [image.name for image in images])
        domain = cdist(of_images, self._centers).argmin(1)
        return Assignment(split, images, _numbered(self._num_domains), domain)

    @cached_property
    def _centers(self) -> Float[np.ndarray, "domains features"]:
        of_training = read_features(self.features, "train")
        if len(of_training) < self._num_domains:
            raise ValueError(
                f"expected num_domains of at most the number of training images ({len(of_training)}), "
                f"got {self._num_domains}"
            )
        centers, _ = kmeans2(of_training, self._num_domains, minit="++", rng=np.random.default_rng(self.seed))
        return centers


def draw_by_name(images: Sequence[ImageRecord], count: int, seed: int) -> Int64[np.ndarray, " images"]:
    """A number below ``count`` for each image. It depends only on the name of the image and on a seed."""
    draws = (np.random.default_rng([seed, *image.name.encode(errors="surrogatepass")]) for image in images)
    return np.array([draw.integers(count) for draw in draws], np.int64)


def _name(values: Sequence[str]) -> str:
    return " ".join(values) or "all"


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"domain {number}" for number in range(count))
