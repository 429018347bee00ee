"""A training whose loss falls by a tenth at every step."""

import math

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader
from toys import make_trainer


class Line(LightningModule):
    """A weight that a constant gradient moves: the loss falls by a tenth of the rate at every step."""

    def __init__(self, rate=1.0, broken_at=None):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.0))
        self.rate = rate
        self.broken_at = broken_at

    def loss(self, batch):
        loss = 2 + 0.1 * self.weight * batch.mean()
        return loss * math.nan if self.broken_at is not None and self.global_step >= self.broken_at else loss

    def training_step(self, batch, batch_idx):
        return 2 + 0.1 * self.weight * batch.mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.rate * 10)


def fit(folder, module, callback, batch_size=4, num_examples=200, num_steps=20, **arguments):
    arguments = {"callbacks": [callback], "max_epochs": -1, "max_steps": num_steps, "limit_val_batches": 0, **arguments}
    trainer = make_trainer(folder, logger=CSVLogger(folder, name="", version=0), **arguments)
    trainer.fit(module, DataLoader(torch.ones(num_examples, 1), batch_size=batch_size))
    return trainer
