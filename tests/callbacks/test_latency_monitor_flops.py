"""Operations are counted in every stage, whatever modules are given."""

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from callbacks import LatencyMonitor


class Product(nn.Module):
    def forward(self, rows, weight):
        return rows @ weight.T


class GivesAParameter(LightningModule):
    """Hands a parameter to a module, as equations of weights do."""

    def __init__(self):
        super().__init__()
        self.weight, self.product = nn.Parameter(torch.ones(2, 4)), Product()

    def validation_step(self, batch, batch_idx):
        return self.product(batch, self.weight)

    test_step = validation_step


@pytest.mark.parametrize(("stage", "key"), [("validate", "val"), ("test", "test")])
@pytest.mark.parametrize("inference_mode", [True, False])
def test_a_module_may_be_given_a_parameter(stage, key, inference_mode, tmp_path):
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        default_root_dir=tmp_path,
        callbacks=[LatencyMonitor(warmup_batches=1)],
        inference_mode=inference_mode,
        enable_progress_bar=False,
    )
    logged = getattr(trainer, stage)(GivesAParameter(), DataLoader(torch.ones(6, 4), batch_size=2))[0]
    assert logged[f"{key}/flops_per_sample"] == 2 * 4 * 2
