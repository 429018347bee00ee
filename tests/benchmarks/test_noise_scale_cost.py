"""What measuring the gradient noise scale adds to the time of a training step."""

import pytest
import torch
from lightning.pytorch import Trainer
from rich.console import Console
from rich.table import Table

from callbacks import GradientNoiseScale
from lightning_edge.data import CIFARDataModule
from lightning_edge.methods import Classification
from lightning_edge.nn import TimmClassifier
from lightning_edge.timing import interleave, ratio

pytestmark = pytest.mark.benchmark

NUM_ROUNDS = 8
NUM_BATCHES = 16

CASES = {"split in two": 1, "four accumulated batches": 4}


def test_cost_of_the_noise_scale(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    data = CIFARDataModule(num_samples=(3000, 100), batch_size=64, num_workers=0, val_fraction=0)
    torch.manual_seed(0)
    method = Classification(TimmClassifier("cifar_resnet20", num_classes=10))

    def fit(accumulate: int, *callbacks: GradientNoiseScale) -> None:
        Trainer(
            accelerator="cpu",
            max_epochs=1,
            limit_train_batches=NUM_BATCHES,
            limit_val_batches=0,
            accumulate_grad_batches=accumulate,
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        ).fit(method, data)

    functions = {f"without, {accumulate}": lambda accumulate=accumulate: fit(accumulate) for accumulate in (1, 4)}
    for name, accumulate in CASES.items():
        functions[name] = lambda accumulate=accumulate: fit(accumulate, GradientNoiseScale(every_n_steps=1))
    times = interleave(functions, NUM_ROUNDS)
    table = Table("at every step", "s", "of the time without", title=f"ResNet-20, {NUM_BATCHES} batches of 64")
    for name, accumulate in CASES.items():
        value, low, high = ratio(times[name], times[f"without, {accumulate}"])
        seconds = times[name].percentile(50).value / 1000
        table.add_row(name, f"{seconds:.1f}", f"{value:.2f} [{low:.2f}, {high:.2f}]")
    with capsys.disabled():
        Console().print(table)
