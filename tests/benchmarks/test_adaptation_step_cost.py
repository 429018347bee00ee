"""What each adaptation adds to a training step, compared with the source alone and with both passes and no loss."""

import time

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from rich.console import Console
from rich.table import Table
from toys import make_trainer

from callbacks import adaptation
from callbacks.adaptation import AdaptationLoss
from lightning_edge.data import AdaptationDataModule, MNISTDataModule, MNISTMDataModule
from lightning_edge.methods import Classification
from lightning_edge.nn import DigitNet

pytestmark = pytest.mark.benchmark

NUM_ROUNDS = 25
NUM_WARMUP_ROUNDS = 3
STATISTICS = ("DAN", "JAN", "CORAL", "CMD", "ClassDiscrepancy", "DeepJDOT", "MCC", "EntropyMinimization", "BNM")
OTHERS = ("DANN", "CDAN", "DomainConfusion", "MCD", "MDD", "MeanTeacher")


class TwoPasses(AdaptationLoss):
    """Passes the target, with gradients of 0 through both domains: the limit of a loss that compares the two."""

    def __init__(self):
        super().__init__(1.0, None, False, "two_passes")

    def loss(self, pair):
        return 0.0 * (pair.source.features.sum() + pair.target.features.sum())


class Alternate(Callback):
    """Trains one step with each choice of the terms after the other, and keeps the times of the steps."""

    def __init__(self, *choices):
        self.choices = choices
        self.seconds = {choice: [] for choice in choices}

    def on_train_start(self, trainer, pl_module):
        self.terms = dict(pl_module.loss_terms)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.choice = self.choices[batch_idx % len(self.choices)]
        pl_module.loss_terms.clear()
        pl_module.loss_terms.update({name: term for name, term in self.terms.items() if name == self.choice})
        self.start = time.perf_counter()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seconds[self.choice].append(time.perf_counter() - self.start)

    def on_train_end(self, trainer, pl_module):
        pl_module.loss_terms.update(self.terms)


def step_times(callback):
    """Milliseconds of steps with the source alone, with both passes, and with the callback.

    A teacher takes part in both passes, because it changes what the module sees of the target.
    """
    torch.manual_seed(0)
    alternate = Alternate("none", "two_passes", callback.name)
    sets = [
        module(num_samples=(640, 20), batch_size=64, num_workers=0) for module in (MNISTDataModule, MNISTMDataModule)
    ]
    data = AdaptationDataModule(*sets, batches_per_epoch=3 * (NUM_ROUNDS + NUM_WARMUP_ROUNDS))
    trainer = make_trainer(None, max_epochs=1, limit_val_batches=0, callbacks=[TwoPasses(), callback, alternate])
    trainer.fit(Classification(DigitNet(10)), data)
    return [1000 * np.array(times[NUM_WARMUP_ROUNDS:]) for times in alternate.seconds.values()]


def test_cost_of_each_adaptation(capsys):
    table = Table(
        "callback", "source only, ms", "both passes", "callback", "of both passes", "of source only",
        title="training step, 64 images of each domain, p50 [quartiles of the ratios of neighboring steps]",
    )  # fmt: skip
    for name in STATISTICS + OTHERS:
        source_only, both_passes, adapted = step_times(getattr(adaptation, name)())
        medians = [f"{np.median(times):.0f}" for times in (source_only, both_passes, adapted)]
        ratios = [np.percentile(adapted / other, (50, 25, 75)) for other in (both_passes, source_only)]
        table.add_row(name, *medians, *(f"{median:.2f} [{low:.2f}, {high:.2f}]" for median, low, high in ratios))
    with capsys.disabled():
        Console(width=140).print(table)
