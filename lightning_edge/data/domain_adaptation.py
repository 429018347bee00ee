"""Labeled source data and unlabeled target data side by side, for unsupervised domain adaptation."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch.utils.data import DataLoader

from lightning_edge.checks import check_whole_at_least
from lightning_edge.contracts import without_labels
from lightning_edge.data.base import EdgeDataModule, Split
from lightning_edge.data.loading import ClassBalancedSampler, ResumableLoader, SeededSampler
from lightning_edge.data.remapped import RemappedDataModule
from lightning_edge.data.unlabeled_images import UnlabeledImagesDataModule

Side = Literal["source", "target"]
Domain = EdgeDataModule | RemappedDataModule
"""Data of one domain."""

_SOURCE_FACTS = ("class_names", "num_classes", "palette", "ignore_index", "embedding_features")
"""Attributes that methods and recipes read from a data module. They are those of the source."""


class AdaptationDataModule(LightningDataModule):
    """Trains on labeled source data while callbacks see unlabeled target data.

    The method receives plain batches of the source, so any method for their type trains as usual. The batch of the
    target is kept in ``target_batch`` for callbacks, such as those in :mod:`callbacks.adaptation`. **Labels of the
    target never reach training**: they are removed where a batch is put together, in the workers.

    An epoch has equally many batches of both. The smaller data set is passed through several times, each time in a new
    order and with other augmentation. Both are seeded and resumable like every data module, and each has its own
    transforms and batch size. Domains have names only if both name the same ones.

    Validation and test evaluate the source first and then the target. Scores of the source are logged as usual, such as
    ``val/accuracy``, and those of the target as ``val_target/accuracy``. Labels of the target are used only for these
    scores. A checkpoint that is chosen by ``val_target/...`` is chosen with labels, which a real target does not have.

    Args:
        source: Labeled data. See :class:`~lightning_edge.data.joint.JointDataModule` for several sources.
        target: Data of the same batch type and the same classes. See
            :class:`~lightning_edge.data.remapped.RemappedDataModule` for other classes.
        batches_per_epoch: Number of training batches of one process in an epoch, a multiple of the trainer's
            ``accumulate_grad_batches``. ``None`` means one pass through the larger data set.
        balance_classes: Whether all classes of the source are drawn equally often. Only for classification.
        evaluate: What validation and test evaluate. A module of another library whose ``validation_step`` has no
            argument ``dataloader_idx`` needs one of the two.
        seed: Seed of the order of the training samples and of their augmentation, instead of those of the two.

    Raises:
        ValueError: The two have different batch types or classes, or an argument is out of range.
        TypeError: ``source`` or ``target`` is no data module of this library.
    """

    def __init__(
        self,
        source: Domain,
        target: Domain,
        batches_per_epoch: int | None = None,
        balance_classes: bool = False,
        evaluate: Sequence[Side] = ("source", "target"),
        seed: int = 0,
    ) -> None:
        super().__init__()
        _check_pair(source, target)
        check_whole_at_least(0, seed=seed)
        if batches_per_epoch is not None:
            check_whole_at_least(1, batches_per_epoch=batches_per_epoch)
        if not evaluate or len(set(evaluate)) < len(evaluate) or not {*evaluate} <= {"source", "target"}:
            raise ValueError(f"expected evaluate with 'source', 'target' or both, got {evaluate!r}")
        self.source = source
        self.target = target
        self.batches_per_epoch = batches_per_epoch
        self.balance_classes = balance_classes
        self.evaluate: tuple[Side, ...] = tuple(evaluate)
        self.seed = seed
        self.target_batch: Mapping[str, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        if name in _SOURCE_FACTS:
            return getattr(self.source, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def batch_type(self) -> type:
        """Type of the batches that the method receives."""
        return self.source.batch_type

    @property
    def domain_names(self) -> tuple[str, ...] | None:
        """Names of the domains by their index in batches, if they are those of the source and of the target."""
        names, target_names = (getattr(data, "domain_names", None) for data in (self.source, self.target))
        return names if names == target_names else None

    @property
    def evaluation_names(self) -> tuple[str, ...]:
        """Part of the keys of scores, nothing for the source and ``target`` for the target."""
        return tuple("" if side == "source" else side for side in self.evaluate)

    @property
    def batch_size(self) -> int:
        """Number of source samples in a training batch of one process. Setting it also sets that of the target."""
        return self.source.batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int) -> None:
        self.source.batch_size = self.target.batch_size = batch_size

    def prepare_data(self) -> None:
        """Prepare source and target, on one process only."""
        for data in (self.source, self.target):
            data.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        """Create the datasets that a stage needs."""
        self.target_batch = None
        for data in (self.source, self.target):
            data.trainer = self.trainer
            data.setup(stage)

    def train_dataloader(self) -> CombinedLoader:
        """Batches of the source and of the target without labels, equally many in an epoch.

        Raises:
            ValueError: A data set has no training samples, or ``batches_per_epoch`` does not fill whole optimizer
                steps. Also the errors of :meth:`~lightning_edge.data.base.EdgeDataModule.train_loader`.
        """
        sampler = partial(_make_sampler, self.source, self._num_batches(), 2 * self.seed, self.balance_classes)
        loaders = {"source": self.source.train_loader(sampler), "target": self.target_dataloader()}
        return CombinedLoader(loaders, "min_size")

    def target_dataloader(self) -> ResumableLoader:
        """Training batches of the target alone, without labels."""
        # another seed, because equally large data sets would otherwise be paired in the same way in every epoch
        sampler = partial(_make_sampler, self.target, self._num_batches(), 2 * self.seed + 1, False)
        return self.target.train_loader(sampler, _UnlabeledCollate(self.target.collate, self.target.batch_type))

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """The validation splits, in the order of ``evaluate``."""
        return [self._side(side).val_dataloader() for side in self.evaluate]

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """The test splits, in the order of ``evaluate``."""
        return [self._side(side).test_dataloader() for side in self.evaluate]

    def predict_dataloader(self) -> DataLoader[Any]:
        """Raise a ``ValueError``, because data modules with labels are for training and evaluation only."""
        return self.source.predict_dataloader()

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Convert a batch. In training, keep that of the target aside and return that of the source."""
        if set(batch) == {"source", "target"}:
            target = self.target.on_after_batch_transfer(batch["target"], dataloader_idx)
            self.target_batch = without_labels(target, self.target.batch_type)
            return self.source.on_after_batch_transfer(batch["source"], dataloader_idx)
        return self._side(self.evaluate[dataloader_idx]).on_after_batch_transfer(batch, dataloader_idx)

    def fixed_samples(self, split: Split, num_samples: int) -> list[Any]:
        """Samples of the source, see :meth:`~lightning_edge.data.base.EdgeDataModule.fixed_samples`."""
        return self.source.fixed_samples(split, num_samples)

    def collate(self, samples: list[Any]) -> Any:
        """Make a batch of the source from samples."""
        return self.source.collate(samples)

    def state_dict(self) -> dict[str, Any]:
        """Positions in the training data of source and target."""
        return {"source": self.source.state_dict(), "target": self.target.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the samples that were used before the checkpoint."""
        for side in ("source", "target"):
            self._side(side).load_state_dict(state_dict[side])

    def __getstate__(self) -> dict[str, Any]:
        """The state without the current batch."""
        return self.__dict__ | {"target_batch": None}

    def _side(self, side: Side) -> Domain:
        return self.source if side == "source" else self.target

    def _num_batches(self) -> int:
        """Number of training batches of one process in an epoch, which fill whole optimizer steps."""
        per_step = self.source.batches_per_step
        if self.batches_per_epoch is None:
            return max(map(_num_steps, (self.source, self.target))) * per_step
        if self.batches_per_epoch % per_step:
            raise ValueError(
                f"expected batches_per_epoch as a multiple of accumulate_grad_batches ({per_step}), got "
                f"{self.batches_per_epoch}"
            )
        return self.batches_per_epoch


class _UnlabeledCollate:
    """Makes batches without labels. A class, because worker processes must be able to unpickle it."""

    def __init__(self, collate: Callable[[list[Any]], Any], batch_type: type) -> None:
        self.collate, self.batch_type = collate, batch_type

    def __call__(self, samples: list[Any]) -> dict[str, Any]:
        return without_labels(self.collate(samples), self.batch_type)


def _num_steps(data: Domain) -> int:
    """Number of optimizer steps of one pass through the training data, at least 1."""
    step_size = data.batch_size * data.share_of_processes()["num_replicas"] * data.batches_per_step
    return max(1, len(data.dataset("train")) // step_size)  # pyright: ignore[reportArgumentType]


def _make_sampler(
    data: Domain, num_batches: int, seed: int, balance_classes: bool, dataset: Any, **share: int
) -> SeededSampler:
    num_samples = num_batches * data.batch_size * share["num_replicas"]
    arguments: dict[str, Any] = {"batch_size": data.batch_size, "seed": seed, "num_samples": num_samples, **share}
    if not len(dataset):
        raise ValueError(f"expected training samples of {type(data).__name__}, got none")
    if data.batch_size > len(dataset):
        rank_zero_warn(
            f"A training batch of {type(data).__name__} ({data.batch_size} samples) has some of its {len(dataset)} "
            "training samples several times. Use a smaller batch_size."
        )
    groups = getattr(dataset, "groups", None)  # those of a JointDataModule
    if balance_classes:
        if groups is not None:
            raise ValueError("expected balance_classes=False for a source with balance_parts=True, got True")
        groups = _labels(dataset)
        if isinstance(data, RemappedDataModule):  # its dataset has the labels of the inner data module
            groups = np.asarray(data.relabel({"label": groups})["label"])
    return SeededSampler(dataset, **arguments) if groups is None else ClassBalancedSampler(dataset, groups, **arguments)


def _labels(dataset: Any) -> Int64[np.ndarray, " samples"]:
    labels = getattr(dataset, "labels", None)
    if labels is None or np.ndim(labels) != 1:
        raise ValueError(
            "expected a source with one class for each sample for balance_classes=True, got a dataset of type "
            f"{type(dataset).__name__} without labels"
        )
    return np.asarray(labels)


def _check_pair(source: Any, target: Any) -> None:
    for name, data in (("source", source), ("target", target)):
        if not isinstance(data, Domain):
            raise TypeError(f"expected {name} as a data module of lightning_edge.data, got {type(data).__name__}")
    if isinstance(source, UnlabeledImagesDataModule):
        raise ValueError("expected a source with labels, got UnlabeledImagesDataModule, which is for targets")
    if source is target:
        raise ValueError("expected source and target as two data modules, got the same object twice")
    if source.batch_type is not target.batch_type:
        raise ValueError(
            f"expected source and target with the same batch type, got {source.batch_type.__name__} of "
            f"{type(source).__name__} and {target.batch_type.__name__} of {type(target).__name__}"
        )
    numbers = {getattr(data, "num_classes", None) for data in (source, target)} - {None}
    names, target_names = (list(getattr(data, "class_names", None) or ()) for data in (source, target))
    if names and target_names and names != target_names:
        raise ValueError(
            f"expected source and target with the same classes in the same order, got {names} and {target_names}: "
            "RemappedDataModule brings one to the classes of the other"
        )
    if len(numbers) > 1:
        raise ValueError(
            f"expected source and target with the same num_classes, got {source.num_classes} and {target.num_classes}"  # pyright: ignore[reportAttributeAccessIssue]
        )
