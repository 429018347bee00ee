"""The line about the data at the start of a run."""

from collections.abc import Sized
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from typing_extensions import override


class DataSummary(Callback):
    """Logs the number of samples of a training, and remembers height and width of the images, in pixels."""

    def __init__(self) -> None:
        self.size: tuple[int, int] | None = None

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log it before the first step, so that missing data are noticed early."""
        loaders = {"Training": trainer.train_dataloader, "validating": trainer.val_dataloaders}
        parts = [f"{doing} on {counts}" for doing, loader in loaders.items() if (counts := _counts(loader))]
        if parts:
            rank_zero_info(f"{', '.join(parts)}.")

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._note(batch)

    @override
    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._note(batch)

    @override
    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._note(batch)

    def _note(self, batch: Any) -> None:
        for key in ("image", "frames"):
            if self.size is None and isinstance(batch, dict) and key in batch:
                self.size = tuple(batch[key].shape[-2:])


def _counts(loaders: Any) -> str:
    """Numbers of samples as a text, such as ``6 samples`` or ``60 source and 20 target samples``, empty if unknown."""
    named = loaders if isinstance(loaders, dict) else {"": loaders}
    if isinstance(loaders, list):  # those of evaluation have no names here
        named = dict(enumerate(loaders))
    counts = {name: _num_samples(loader) for name, loader in named.items()}
    texts = [f"{count:,} {name}".strip() if isinstance(name, str) else f"{count:,}" for name, count in counts.items()]
    return f"{' and '.join(texts)} samples" if counts and all(counts.values()) else ""


def _num_samples(loader: Any) -> int:
    dataset = getattr(loader, "dataset", None)
    return len(dataset) if isinstance(dataset, Sized) else 0
