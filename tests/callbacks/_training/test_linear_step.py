"""How far a step takes the loss from what its gradient predicted."""

import numpy as np
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from line_of_losses import Line, fit
from torch import nn

from callbacks import BatchSizeScaling
from callbacks._training.linear_step import LinearStep
from lightning_edge.analysis.scaling_run import read_run


def test_a_linear_loss_has_no_linear_error_and_a_curved_one_has_its_square(tmp_path):
    fit(tmp_path / "line", Line(), BatchSizeScaling(every_n_examples=4, linear_error_every=2), num_steps=6)
    errors = read_run(tmp_path / "line").columns["linear_error"]
    assert np.isfinite(errors).tolist() == [True, False, True, False, True, False, False]
    np.testing.assert_allclose(errors[[0, 2, 4]], 0, atol=1e-6)

    class Curve(Line):
        def loss(self, batch):
            return self.weight.square()

        def training_step(self, batch, batch_idx):
            return (self.weight - 1).square()  # gradient of another loss, as that of a batch is

    fit(tmp_path / "curve", Curve(0.01), BatchSizeScaling(every_n_examples=4, linear_error_every=1), num_steps=3)
    # from 0, the gradient -2 times the step 0.2 predicts -0.4, and the loss rises to 0.04
    assert read_run(tmp_path / "curve").evaluations[0].linear_error == pytest.approx(0.44)


def test_the_predicted_change_is_gradient_times_step():
    net = nn.Linear(2, 1, bias=False)
    net(torch.tensor([[3.0, 4.0]])).sum().backward()
    step = LinearStep(net)
    with torch.no_grad():
        net.weight += torch.tensor([[0.1, -0.2]])
    assert step.predicted_change() == pytest.approx(3 * 0.1 - 4 * 0.2)


def test_gradients_of_a_scaled_loss_predict_the_same(tmp_path):
    class ByAdam(Line):
        def __init__(self, fused):
            super().__init__()
            self.fused = fused

        def loss(self, batch):
            return (self.weight - 1).square()

        def training_step(self, batch, batch_idx):
            return self.loss(batch)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 0.1, fused=self.fused)

    for fused in (False, True):
        scaling = BatchSizeScaling(every_n_examples=4, linear_error_every=1)
        scaled = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
        fit(tmp_path / str(fused), ByAdam(fused), scaling, num_steps=1, plugins=[scaled])
        # from 0, the gradient -2 times the step 0.1 predicts a loss of 0.8, and it is 0.81
        assert read_run(tmp_path / str(fused)).evaluations[0].linear_error == pytest.approx(0.01, abs=1e-3)
