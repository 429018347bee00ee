"""Base of data modules whose images belong to known domains."""

import copy
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_edge.contracts import LabeledSplit
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
        if description.table.shape[1:] != (num_features,):
            raise ValueError(
                f"expected {type(self.embedding).__name__} to embed domains with its num_features ({num_features}), "
                f"got a table of shape {description.table.shape}"
            )
        return DomainLookup(of_split, description)

    def images_in_order(self, split: LabeledSplit) -> DataLoader:
        """All images of a split, in the order of :meth:`records` and without augmentation.

        Here they all belong to one domain, because a partition or an embedding may need features of these images first.
        """
        undivided = copy.copy(self)
        undivided.partition, undivided.embedding, undivided._datasets = ByAttributes(()), OneHotEmbedding(), {}
        return undivided._eval_loader(split)


def _check(assignment: Assignment, partition: str, description: Description, embedding: str) -> None:
    for maker, what, numbers, limit in (
        (partition, "domain", assignment.domain, len(assignment.domain_names)),
        (embedding, "row", description.row, len(description.table)),
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
        self.domain = torch.from_numpy(assignment.domain)
        self._table, self._row = torch.from_numpy(description.table), description.row

    def sample_fields(self, index: int) -> dict[str, Tensor]:
        """``domain`` and ``domain_embedding`` of an image."""
        return {"domain": self.domain[index], "domain_embedding": self._table[self._row[index]]}
