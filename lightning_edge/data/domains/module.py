"""Base of data modules whose images belong to known domains."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_edge.contracts import DomainImages, LabeledSplit
from lightning_edge.data.base import EdgeDataModule
from lightning_edge.data.domains.embeddings import Description, DomainEmbedding, OneHotEmbedding
from lightning_edge.data.domains.partitions import Assignment, ByAttributes, ImageRecord, Partition, Vocabulary


class DomainDataModule(EdgeDataModule):
    """Base of data modules that give the domain of each image and an embedding of that domain.

    A subclass sets ``vocabulary`` and implements :meth:`records`. Its datasets add the fields of
    :meth:`DomainLookup.sample_fields` to each item.

    Args:
        partition: Assigns each image to a domain.
        embedding: Describes a domain by a vector. It also decides what is known of an image at inference.
        keep_attributes: Keeps only images with the given values of some attributes, such as
            ``{"timeofday": ("night",)}``.
        batch_size: Number of images in a training batch of one process.
        eval_batch_size: Number of images in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that read images, for each data loader.
        seed: Seed of the order of the training samples and of their augmentation.
    """

    vocabulary: ClassVar[Vocabulary]

    def __init__(
        self,
        partition: Partition | None = None,
        embedding: DomainEmbedding | None = None,
        keep_attributes: Mapping[str, Sequence[str]] | None = None,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        self.partition = ByAttributes(tuple(self.vocabulary)) if partition is None else partition
        self.embedding = OneHotEmbedding() if embedding is None else embedding
        self.keep_attributes = _checked(keep_attributes or {}, self.vocabulary)

    @abstractmethod
    def records(self, split: LabeledSplit) -> Sequence[ImageRecord]:
        """Names and attributes of the images of a split, in the order of its dataset."""

    def is_wanted(self, attributes: Mapping[str, str]) -> bool:
        """Whether ``keep_attributes`` keeps an image with these attributes; a subclass must leave out all others."""
        return all(attributes[attribute] in values for attribute, values in self.keep_attributes.items())

    @property
    def embedding_features(self) -> int:
        """Length of the embedding of a domain, which the net must accept."""
        return self.embedding.num_features(self.partition, self.vocabulary)

    @cached_property
    def domain_names(self) -> tuple[str, ...] | None:
        """Names of the domains by their index in batches; ``None`` if each image is a domain of its own."""
        if self.partition.num_domains(self.vocabulary) is None:
            return None
        return self.partition.assign("train", [], self.vocabulary).domain_names

    def domain_lookup(self, split: LabeledSplit) -> "DomainLookup":
        """Domains of the images of a split and their embeddings."""
        num_features = self.embedding_features  # raises an error if the embedding does not support the partition
        of_training = self.partition.assign("train", self.records("train"), self.vocabulary)
        of_split = of_training
        if split != "train":
            of_split = self.partition.assign(split, self.records(split), self.vocabulary)
        description = self.embedding.describe(of_split, of_training)
        _check(of_split, type(self.partition).__name__, description, type(self.embedding).__name__)
        if description.embeddings.shape[1:] != (num_features,):
            raise ValueError(
                f"expected {type(self.embedding).__name__} to embed domains with its num_features ({num_features}), "
                f"got embeddings of shape {description.embeddings.shape}"
            )
        return DomainLookup(of_split, description)

    def domain_of(self, image: ImageRecord) -> str:
        """Name of the domain to which an image belongs by its attributes."""
        assigned = self.partition.assign("val", [image], self.vocabulary)
        return assigned.domain_names[assigned.domain[0]]

    def domain_images(self, split: LabeledSplit) -> DomainImages:
        """All images of a split, in the order of :meth:`records` and without augmentation, with their domains.

        The data are prepared first, as a trainer would do.
        """
        self.prepare_data()
        lookup = self.domain_lookup(split)
        return DomainImages(self.images_in_order(split), lookup.names, lookup.domain, lookup.embedding)

    def images_in_order(self, split: LabeledSplit) -> "ImageBatches":
        """All images of a split, in the order of :meth:`records` and without augmentation.

        Their domains are not needed: a partition or an embedding may read a file of features, and the features are
        computed from these images before that file exists.
        """
        undivided = copy.copy(self)
        undivided.partition, undivided.embedding, undivided._datasets = ByAttributes(()), OneHotEmbedding(), {}
        return ImageBatches(undivided._eval_loader(split), self.on_after_batch_transfer)


class ImageBatches(Sized, Iterable[Tensor]):
    """Only the images of each batch of a loader, as floats in [0, 1].

    Args:
        loader: Loader of batches with the key ``image``.
        convert: Hook of the data module that converts bytes to floats.
    """

    def __init__(self, loader: DataLoader, convert: Callable[[Any, int], Any]) -> None:
        self._loader, self._convert = loader, convert

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Tensor]:
        return (self._convert(batch, 0)["image"] for batch in self._loader)


def _check(assignment: Assignment, partition: str, description: Description, embedding: str) -> None:
    for maker, what, numbers, limit in (
        (partition, "domain", assignment.domain, len(assignment.domain_names)),
        (embedding, "domain_index", description.domain_index, len(description.embeddings)),
    ):
        if numbers.shape != (len(assignment.images),) or not ((numbers >= 0) & (numbers < limit)).all():
            raise ValueError(
                f"expected {maker} to give each of {len(assignment.images)} images a {what} of at least 0 and below "
                f"{limit}, got shape {numbers.shape} from {numbers.min(initial=0)} to {numbers.max(initial=0)}"
            )


def _checked(keep_attributes: Mapping[str, Sequence[str]], vocabulary: Vocabulary) -> dict[str, tuple[str, ...]]:
    for attribute, values in keep_attributes.items():
        if attribute not in vocabulary:
            raise ValueError(f"expected the attributes of keep_attributes among {list(vocabulary)}, got {attribute!r}")
        if not isinstance(values, Collection) or any(value not in vocabulary[attribute] for value in values):
            raise ValueError(
                f"expected keep_attributes[{attribute!r}] as a tuple of {vocabulary[attribute]}, got {values!r}"
            )
    return {attribute: tuple(values) for attribute, values in keep_attributes.items()}


class DomainLookup:
    """Domain fields that a dataset adds to its items.

    Args:
        assignment: Domain of each image.
        description: Embeddings of the domains.
    """

    def __init__(self, assignment: Assignment, description: Description) -> None:
        self.names = assignment.domain_names
        self.domain = torch.from_numpy(assignment.domain)
        self._embeddings, self._domain_index = torch.from_numpy(description.embeddings), description.domain_index

    @property
    def embedding(self) -> Float[Tensor, "images features"]:
        """Embedding of the domain of each image."""
        return self._embeddings[self._domain_index]

    def sample_fields(self, index: int) -> dict[str, Tensor]:
        """``domain`` and ``domain_embedding`` of an image."""
        return {"domain": self.domain[index], "domain_embedding": self._embeddings[self._domain_index[index]]}
