"""Base class of all data modules: data loaders and the conversion of bytes to floats."""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import cv2
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from lightning_edge.checks import check_whole_at_least
from lightning_edge.contracts import input_key
from lightning_edge.data.loading import ResumableLoader, SampleRequest, SeededSampler
from lightning_edge.ops.sampling import evenly_spaced

Split = Literal["train", "val", "test", "predict"]

FILE = "file"
"""Optional key of a sample with the path of its file. Error messages use it; batches do not contain it."""

_SPLITS: dict[str | None, tuple[Split, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": (),
    None: ("train", "val", "test"),
}


def collate_one_size(samples: list[Any]) -> Any:
    """Stack samples into a batch. Raises a ``ValueError`` that names two samples whose sizes differ."""
    first = samples[0]
    if not isinstance(first, dict):
        return default_collate(samples)
    for sample in samples:
        for key, value in first.items():
            if isinstance(value, Tensor) and sample[key].shape != value.shape:
                raise ValueError(
                    f"expected samples of one batch of the same size, got {key} of {tuple(value.shape)} in "
                    f"{first.get(FILE, 'one')} and {tuple(sample[key].shape)} in {sample.get(FILE, 'another')}: use "
                    "eval_batch_size=1 for evaluation, and for training a train_transform that ends with a crop of one "
                    "size, such as StreetAugmentation(height, width)"
                )
    return default_collate([{key: value for key, value in sample.items() if key != FILE} for sample in samples])


class EdgeDataModule(LightningDataModule, ABC):
    """Base of the data modules. A subclass sets ``batch_type`` and implements :meth:`make_dataset`.

    Training batches are seeded and resumable (:mod:`lightning_edge.data.loading`). Evaluation passes through the data
    once, in order. With several processes, Lightning repeats a few samples so that all processes have the same number.

    Args:
        batch_size: Number of samples in a training batch of one process.
        eval_batch_size: Number of samples in a validation or test batch; ``batch_size`` if ``None``.
        num_workers: Number of processes that read data, for each data loader.
        seed: Seed of the order of the training samples and of their augmentation.
    """

    batch_type: type
    collate: Callable[[list[Any]], Any] = staticmethod(collate_one_size)

    def __init__(
        self, batch_size: int = 8, eval_batch_size: int | None = None, num_workers: int = 2, seed: int = 0
    ) -> None:
        super().__init__()
        check_whole_at_least(1, batch_size=batch_size)
        if eval_batch_size is not None:
            check_whole_at_least(1, eval_batch_size=eval_batch_size)
        check_whole_at_least(0, num_workers=num_workers, seed=seed)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._datasets: dict[Split, Dataset[Any]] = {}
        # a weak reference, because a loader in a reference cycle is freed late, which delays the shutdown by seconds
        self._train_loader: weakref.ref[ResumableLoader] | None = None
        self._loader_batch_size: int | None = None
        self._train_state: dict[str, int] | None = None

    @abstractmethod
    def make_dataset(self, split: Split) -> Dataset[Any]:
        """Index a split and check the data as far as possible before training.

        Items of the train split are requested by :class:`~lightning_edge.data.loading.SampleRequest`, all others by
        ``int``. Images are ``uint8``.
        """

    def dataset(self, split: Split) -> Dataset[Any]:
        """The dataset of a split, which is created at most once."""
        if split not in self._datasets:
            self._datasets[split] = self.make_dataset(split)
        return self._datasets[split]

    def setup(self, stage: str | None = None) -> None:
        """Create the datasets that a stage needs, so that faulty data is found before training."""
        self._train_loader = self._train_state = self._loader_batch_size = None  # those of an earlier run are dropped
        for split in _SPLITS[stage]:
            self.dataset(split)

    def fixed_samples(self, split: Split, num_samples: int) -> list[Any]:
        """Samples of a split that are the same in every run, whatever its seed and batch size.

        Samples of the train split are augmented as in training, but always in the same way, and can be stacked into one
        batch.

        Args:
            split: ``train``, ``val`` or ``test``.
            num_samples: Number of samples, which are evenly spaced over the split. If the split has fewer, all are
                returned.
        """
        dataset: Any = self.dataset(split)
        indices = evenly_spaced(len(dataset), num_samples)
        return [dataset[SampleRequest(index, index, 0) if split == "train" else index] for index in indices]

    def make_sampler(self, dataset: Dataset[Any], num_replicas: int, rank: int, accumulate: int) -> SeededSampler:
        """Sampler of the train split. Override it for structured batches, such as pairs of one identity."""
        return SeededSampler(dataset, self.batch_size, num_replicas, rank, self.seed, accumulate)  # pyright: ignore[reportArgumentType]

    def train_dataloader(self) -> ResumableLoader:
        """Seeded and resumable batches of the train split; raises the errors of :meth:`train_loader`."""
        return self.train_loader(self.make_sampler)

    def train_loader(
        self, make_sampler: Callable[..., SeededSampler], collate: Callable[[list[Any]], Any] | None = None
    ) -> ResumableLoader:
        """Seeded and resumable batches of the train split from another sampler.

        Args:
            make_sampler: Function with the arguments of :meth:`make_sampler`.
            collate: Function that makes a batch from samples; that of the data module if ``None``.

        Raises:
            ValueError: The trainer limits the epoch to a number of batches that does not fill whole optimizer steps, or
                it resumes within an epoch of ``overfit_batches``.
        """
        dataset = self.dataset("train")
        accumulate = self.batches_per_step
        share = self.share_of_processes()
        if self._loader_batch_size is not None and self.batch_size > self._loader_batch_size:
            # BatchSizeFinder tries larger and larger batches within a run
            largest = len(dataset) // (share["num_replicas"] * accumulate)  # pyright: ignore[reportArgumentType]
            self.batch_size = min(self.batch_size, max(1, largest))
        sampler = make_sampler(dataset, **share, accumulate=accumulate)
        arguments = self.loader_arguments()
        if collate is not None:
            arguments["collate_fn"] = collate
        loader = ResumableLoader(dataset, batch_size=self.batch_size, sampler=sampler, drop_last=True, **arguments)
        self._check_limit(len(loader), accumulate)
        self._check_overfit(len(loader))
        loader.num_batches_in_work = self._num_batches_in_work
        if self._train_state is not None:
            loader.load_state_dict(self._train_state)
        self._train_loader = weakref.ref(loader)
        self._loader_batch_size = self.batch_size
        return loader

    def state_dict(self) -> dict[str, Any]:
        """Position in the training data.

        Lightning also saves the state of the loader. But it does not restore it if something asked the trainer for its
        number of steps before the checkpoint was read.
        """
        loader = self._train_loader and self._train_loader()
        return {} if loader is None else {"train_loader": loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the samples that were used in training before the checkpoint."""
        self._train_state = state_dict.get("train_loader")
        loader = self._train_loader and self._train_loader()
        if loader is not None and self._train_state is not None:
            loader.load_state_dict(self._train_state)

    def __getstate__(self) -> dict[str, Any]:
        """The state without the loader, because a copy in another process creates its own."""
        return self.__dict__ | {"_train_loader": None}

    def _num_batches_in_work(self) -> int:
        if self.trainer is None:
            return 0
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return progress.ready - progress.processed  # pyright: ignore[reportAttributeAccessIssue]

    def _check_limit(self, num_batches: int, accumulate: int) -> None:
        if self.trainer is None or self.trainer.fast_dev_run:  # pyright: ignore[reportAttributeAccessIssue]
            return
        limit = self.trainer.limit_train_batches
        limited = _num_limited(num_batches, limit)
        if 0 < limited < accumulate:  # a trial run
            rank_zero_warn(
                f"limit_train_batches={limit} leaves {limited} batches, which is less than accumulate_grad_batches "
                f"({accumulate}). The optimizer steps of this run are too small."
            )
        elif limited % accumulate:
            fewer = limited - limited % accumulate
            raise ValueError(
                f"expected limit_train_batches to leave a multiple of accumulate_grad_batches ({accumulate}), got "
                f"{limit}, which leaves {limited} batches and too small a last step in every epoch: use "
                f"{fewer} or {fewer + accumulate}"
            )

    def _check_overfit(self, num_batches: int) -> None:
        """Refuse to resume within an epoch if Lightning replaces the sampler, which knows what is left of the epoch."""
        trainer = self.trainer
        if trainer is None or not trainer.overfit_batches or not trainer.fit_loop.restarting:  # pyright: ignore[reportAttributeAccessIssue]
            return
        num_used = trainer.fit_loop.epoch_loop.batch_progress.current.processed  # pyright: ignore[reportAttributeAccessIssue]
        limited = _num_limited(num_batches, trainer.limit_train_batches)  # the trainer's overfit_batches
        if 0 < num_used < limited:
            raise ValueError(
                "expected ckpt_path with overfit_batches to be a checkpoint of the end of an epoch, got one after "
                f"batch {num_used} of {limited}. Lightning replaces the sampler, so these batches would be repeated "
                "and others left out."
            )

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation split, in order."""
        return self._eval_loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """The test split, in order."""
        return self._eval_loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Raise a ``ValueError``, because data modules with labels are for training and evaluation only."""
        raise ValueError(f"expected data to predict on, such as FramesDataModule(source), got {type(self).__name__}")

    def loader_arguments(self) -> dict[str, Any]:
        """Arguments that all data loaders share."""
        return {
            "num_workers": self.num_workers,
            "collate_fn": self.collate,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
            "worker_init_fn": _use_one_thread,
        }

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Convert ``uint8`` tensors: the input of the net to floats in [0, 1], labels to ``int64``."""
        del dataloader_idx
        image_key = input_key(self.batch_type)
        return {
            key: (self._to_unit_range(value) if key == image_key else value.long()) if _is_bytes(value) else value
            for key, value in batch.items()
        }

    def _to_unit_range(self, image: Tensor) -> Tensor:
        image = image.float() / 255
        # Lightning has already converted the batch to the trainer's precision, but without the bytes
        return image if self.trainer is None else self.trainer.precision_plugin.convert_input(image)

    def _eval_loader(self, split: Split) -> DataLoader[Any]:
        batch_size = self.batch_size if self.eval_batch_size is None else self.eval_batch_size
        return DataLoader(self.dataset(split), batch_size=batch_size, **self.loader_arguments())

    @property
    def batches_per_step(self) -> int:
        """Number of batches of one process whose gradients are accumulated for one optimizer step."""
        return 1 if self.trainer is None else self.trainer.accumulate_grad_batches

    def share_of_processes(self) -> dict[str, int]:
        """``num_replicas`` and ``rank``: the number of processes and the rank of this one."""
        share = None if self.trainer is None else self.trainer.distributed_sampler_kwargs
        return share or {"num_replicas": 1, "rank": 0}


def _num_limited(num_batches: int, limit: float) -> int:
    return int(num_batches * limit) if isinstance(limit, float) else min(limit, num_batches)


def _is_bytes(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.uint8


def _use_one_thread(worker_id: int) -> None:
    del worker_id
    cv2.setNumThreads(0)  # the workers already run in parallel
