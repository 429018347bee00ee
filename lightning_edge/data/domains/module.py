"""Data whose images are of known domains: what their data modules share."""

import copy
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_edge.contracts import LabelledSplit
from lightning_edge.data.base import EdgeDataModule
from lightning_edge.data.domains.embeddings import Description, DomainEmbedding, OneHotEmbedding
from lightning_edge.data.domains.partitions import Assignment, ByAttributes, ImageRecord, Partition, Vocabulary


class DomainDataModule(EdgeDataModule):
    """Base of data modules that tell of each image which domain it is of, and describe that domain to a net.

    A subclass names its ``vocabulary`` and writes :meth:`records`; its datasets add :meth:`DomainLookup.of` to each
    item.

    Args:
        partition: Which domain an image is of.
        embedding: How a domain is described, and with it what is known of an image when it is seen.
        only: Keeps the images with these values of some attributes, such as ``{"timeofday": ("night",)}``.
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
        only: Mapping[str, Sequence[str]] | None = None,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        num_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        self.partition = ByAttributes(tuple(self.vocabulary)) if partition is None else partition
        self.embedding = OneHotEmbedding() if embedding is None else embedding
        self.only = _checked(only or {}, self.vocabulary)

    @abstractmethod
    def records(self, split: LabelledSplit) -> Sequence[ImageRecord]:
        """Names and attributes of the images of a split, in the order of its dataset."""

    def is_wanted(self, attributes: Mapping[str, str]) -> bool:
        """Whether ``only`` keeps an image of these attributes; a subclass leaves out the others."""
        return all(attributes[attribute] in values for attribute, values in self.only.items())

    @property
    def embedding_features(self) -> int:
        """How many numbers describe a domain, which a net that receives the description must take."""
        return self.embedding.num_features(self.partition, self.vocabulary)

    @cached_property
    def domain_names(self) -> tuple[str, ...] | None:
        """Names of the domains by their number in batches; ``None`` where each image is one."""
        if self.partition.num_domains(self.vocabulary) is None:
            return None
        return self.partition.assign("train", [], self.vocabulary).domain_names

    def domain_lookup(self, split: LabelledSplit) -> "DomainLookup":
        """Domains of the images of a split and their descriptions."""
        num_features = self.embedding_features  # an embedding that cannot describe the domains says so
        of_training = self.partition.assign("train", self.records("train"), self.vocabulary)
        of_split = of_training
        if split != "train":
            of_split = self.partition.assign(split, self.records(split), self.vocabulary)
        description = self.embedding.describe(of_split, of_training)
        _check(of_split, type(self.partition).__name__, description, type(self.embedding).__name__)
        if description.table.shape[1:] != (num_features,):
            raise ValueError(
                f"expected {type(self.embedding).__name__} to describe domains by as many numbers as its num_features "
                f"({num_features}), got a table of {description.table.shape}"
            )
        return DomainLookup(of_split, description)

    def images_in_order(self, split: LabelledSplit) -> DataLoader:
        """All images of a split, in the order of :meth:`records` and without augmentation.

        They are of one domain here: a partition or an embedding may be waiting for what is found in them.
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
                f"{limit}, got {numbers.shape} from {numbers.min(initial=0)} to {numbers.max(initial=0)}"
            )


def _checked(only: Mapping[str, Sequence[str]], vocabulary: Vocabulary) -> dict[str, tuple[str, ...]]:
    for attribute, values in only.items():
        if attribute not in vocabulary:
            raise ValueError(f"expected only with attributes among {list(vocabulary)}, got {attribute!r}")
        if not isinstance(values, Collection) or any(value not in vocabulary[attribute] for value in values):
            raise ValueError(f"expected only[{attribute!r}] as a tuple of {vocabulary[attribute]}, got {values!r}")
    return {attribute: tuple(values) for attribute, values in only.items()}


class DomainLookup:
    """What a dataset adds to its items.

    Args:
        assignment: The domain of each image.
        description: How domains are described.
    """

    def __init__(self, assignment: Assignment, description: Description) -> None:
        self.domain = torch.from_numpy(assignment.domain)
        self._table, self._row = torch.from_numpy(description.table), description.row

    def sample_fields(self, index: int) -> dict[str, Tensor]:
        """``domain`` and ``domain_embedding`` of an image."""
        return {"domain": self.domain[index], "domain_embedding": self._table[self._row[index]]}
