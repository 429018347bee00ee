"""What Lightning's BatchSizeFinder tells of a job, and what it costs."""

import os
import time

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import BatchSizeFinder
from rich.console import Console

from lightning_edge.data import CIFARDataModule
from lightning_edge.methods import Classification
from lightning_edge.nn import TimmClassifier

pytestmark = pytest.mark.benchmark


class _Counted(Classification):
    num_examples = 0

    def training_step(self, batch, batch_idx):
        self.num_examples += len(batch["image"])
        return super().training_step(batch, batch_idx)


def test_batch_size_finder(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    """``LIGHTNING_EDGE_CIFAR10`` names a folder with the real images; generated ones else."""
    root = os.environ.get("LIGHTNING_EDGE_CIFAR10")
    data = CIFARDataModule(root, num_samples=(10_000, 100), val_fraction=0, batch_size=16, num_workers=0)
    module = _Counted(TimmClassifier("ode_resnet4", num_classes=10))
    finder = BatchSizeFinder(mode="power", init_val=16)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=1,
        limit_val_batches=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[finder],
        default_root_dir=tmp_path,
    )
    begin = time.perf_counter()
    trainer.fit(module, data)
    with capsys.disabled():
        Console().print(
            f"BatchSizeFinder: {finder.optimal_batch_size}, after {module.num_examples:,} examples and "
            f"{time.perf_counter() - begin:.0f} s"
        )
