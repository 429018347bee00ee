"""Base class of callbacks that collect the batches of an evaluation and write a picture."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import override

from lightning_edge.contracts import evaluation_stage


class EvaluationPictures(Callback, ABC):
    """Collects batches of every evaluation that is due, and then shows them. The sanity check does not count.

    If the data module has several loaders, each has its own picture, whose stage is that of its scores, such as
    ``val_target``.

    Args:
        every_n_epochs: During training, the validation of every n-th epoch and of the last epoch is shown.
    """

    _name: str
    """First part of the names of its files."""

    def __init__(self, every_n_epochs: int) -> None:
        self.every_n_epochs = every_n_epochs
        self._folder: str | None = None
        self._loader = 0

    @abstractmethod
    def _begin(self, trainer: Trainer, module: LightningModule) -> None:
        """Discard the batches of an earlier evaluation."""

    @abstractmethod
    def _collect(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any) -> None:
        """Keep the needed parts of a batch and of the output of the module's step."""

    @abstractmethod
    def _show(self, trainer: Trainer, module: LightningModule, stage: str, path: Path | None) -> None:
        """Write a picture to the path, unless that is ``None``, and log it. Called after the batches of each loader."""

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._folder = (
            trainer.log_dir
        )  # its getter communicates with all processes, so the first one cannot call it alone

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin_loader(trainer, pl_module, 0)

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin_loader(trainer, pl_module, 0)

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._is_due(trainer):
            self._separate(trainer, pl_module, "val", dataloader_idx)
            self._collect(trainer, pl_module, outputs, batch)

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._separate(trainer, pl_module, "test", dataloader_idx)
        self._collect(trainer, pl_module, outputs, batch)

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._is_due(trainer):
            self._end(trainer, pl_module, "val")

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(trainer, pl_module, "test")

    def _is_due(self, trainer: Trainer) -> bool:
        epoch = trainer.current_epoch + 1
        is_turn = not trainer.sanity_checking and (epoch % self.every_n_epochs == 0 or epoch == trainer.max_epochs)
        return is_turn or trainer.state.fn == TrainerFn.VALIDATING

    def _begin_loader(self, trainer: Trainer, module: LightningModule, loader: int) -> None:
        self._loader = loader
        self._begin(trainer, module)

    def _separate(self, trainer: Trainer, module: LightningModule, stage: str, loader: int) -> None:
        """Show the batches of the loader before, if the next batch is that of another one."""
        if loader != self._loader:
            self._end(trainer, module, stage)
            self._begin_loader(trainer, module, loader)

    def _end(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        if getattr(trainer, "fast_dev_run", False):
            return
        stage = evaluation_stage(getattr(trainer, "datamodule", None), stage, self._loader)
        name = f"{self._name}_{stage}_epoch_{trainer.current_epoch:03d}.png"
        path = None if self._folder is None else Path(self._folder) / "figures" / name
        if path is not None and trainer.is_global_zero:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._show(trainer, module, stage, path)


def domains_of(trainer: Trainer, batch: Any, num_images: int) -> list[str]:
    """Name of the domain of each image in a batch; empty if the data module has no ``domain_names``."""
    names = getattr(getattr(trainer, "datamodule", None), "domain_names", None)
    if not names or not isinstance(batch, dict) or "domain" not in batch:
        return [""] * num_images
    return [names[domain] for domain in batch["domain"].tolist()]
