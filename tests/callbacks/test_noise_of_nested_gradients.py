"""The gradient noise scale of nets whose backward pass computes other gradients on its way.

Against gradients of single examples: those of adjoint equations, of gradient penalties, of layers that are used several
times or compute their activations again.
"""

import csv

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy
from small_net import Small, fit, labeled, per_example
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader
from toys import make_trainer

from callbacks import GradientNoiseScale
from lightning_edge.nn.ode.anodev2 import ODEBlock
from lightning_edge.ops.ode_gradients import GRADIENTS

NUM = 12


class Equation(Small):
    """The equation's field is used four times in a pass."""

    def __init__(self, gradient="continuous_adjoint", rate=0.0):
        super().__init__(rate=rate)
        field = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Tanh())
        block = ODEBlock(field, 4, gradient=GRADIENTS[gradient])
        self.net = nn.Sequential(nn.Unflatten(1, (2, 2, 2)), block, nn.Flatten(), nn.Linear(8, 3))


class Penalized(Small):
    """Its loss has the gradient with respect to the inputs in it."""

    def training_step(self, batch, batch_idx):
        points, labels = batch
        points = points.detach().clone().requires_grad_()
        logits = self.net(points)
        (slope,) = torch.autograd.grad(logits.square().sum(), points, create_graph=True)
        return nn.functional.cross_entropy(logits, labels) + 0.1 * slope.square().sum(1).mean()


class Steep(Small):
    """Its loss has the gradient with respect to the weights in it."""

    def training_step(self, batch, batch_idx):
        points, labels = batch
        loss = nn.functional.cross_entropy(self.net(points), labels)
        slopes = torch.autograd.grad(loss, list(self.parameters()), create_graph=True)
        return loss + sum(slope.square().sum() for slope in slopes)


class Repeated(Small):
    """One layer three times, as it is or with its activations computed again."""

    def __init__(self, reentrant=None):
        super().__init__(rate=0.0)
        self.net, self.reentrant = nn.Linear(8, 8), reentrant

    def training_step(self, batch, batch_idx):
        points, labels = batch
        points = points.detach().clone().requires_grad_()
        for _ in range(3):
            if self.reentrant is None:
                points = torch.tanh(self.net(points))
            else:
                points = torch.tanh(checkpoint(self.net, points, use_reentrant=self.reentrant))
        return nn.functional.cross_entropy(points, labels)


class Twice(torch.autograd.Function):
    """Doubles a gradient, by way of a backward pass within the backward pass."""

    @staticmethod
    def forward(ctx, points, layer):
        ctx.layer, ctx.points = layer, points.detach()
        with torch.no_grad():
            return layer(points)

    @staticmethod
    def backward(ctx, slope):
        with torch.enable_grad():
            points = ctx.points.requires_grad_()
            torch.autograd.backward(ctx.layer(points), 2 * slope)
        return points.grad, None


class Custom(Small):
    """A layer whose gradient arrives from within a function of its own, and from another use of it."""

    def __init__(self):
        super().__init__(rate=0.0)
        self.net = nn.Linear(8, 8)

    def training_step(self, batch, batch_idx):
        points, labels = batch
        features = Twice.apply(torch.tanh(self.net(points)).requires_grad_(), self.net)
        return nn.functional.cross_entropy(features, labels)


NETS = {
    **{gradient: lambda gradient=gradient: Equation(gradient) for gradient in GRADIENTS},
    "penalty on inputs": lambda: Penalized(rate=0.0),
    "penalty on weights": lambda: Steep(rate=0.0),
    "layer three times": Repeated,
    "recomputed": lambda: Repeated(reentrant=False),
    "recomputed by backward passes of its own": lambda: Repeated(reentrant=True),
    "custom function": Custom,
}


@pytest.mark.parametrize("arguments", [{"accumulate_grad_batches": NUM}, {}], ids=["accumulated", "split"])
@pytest.mark.parametrize("name", NETS)
def test_the_noise_is_that_of_gradients_of_single_examples(tmp_path, name, arguments):
    module, dataset = NETS[name](), labeled(NUM)
    variance, squared = per_example(module, dataset)
    callback = GradientNoiseScale(every_n_steps=1, num_parts=NUM)
    fit(tmp_path, module, dataset, callback, batch_size=1 if arguments else NUM, **arguments)
    assert callback.variance == pytest.approx(variance, rel=1e-4)
    assert callback.squared_gradient == pytest.approx(squared, abs=1e-5 * variance)


class Shared(Equation):
    """Each process sees every other batch of four; one alone sees all of them."""

    def train_dataloader(self):
        batches = torch.arange(32).view(-1, 4)[self.trainer.global_rank :: self.trainer.world_size]
        return DataLoader(labeled(32), batch_sampler=batches.tolist())


def test_processes_that_accumulate_measure_what_one_measures(tmp_path):
    actual = []
    in_buckets = DDPStrategy(start_method="fork", gradient_as_bucket_view=True)  # the mean is put in their place
    for name, options in {
        "one": {"accumulate_grad_batches": 4},
        "two": {"strategy": in_buckets, "devices": 2, "accumulate_grad_batches": 2},
    }.items():
        trainer = make_trainer(
            tmp_path,
            callbacks=[GradientNoiseScale(every_n_steps=1)],
            limit_val_batches=0,
            logger=CSVLogger(tmp_path, name, version=0),
            log_every_n_steps=1,
            use_distributed_sampler=False,
            **options,
        )
        trainer.fit(Shared(rate=0.1))
        with (tmp_path / name / "version_0/metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        actual.append([float(row[key]) for row in rows for key in ("noise/variance", "noise/squared_gradient")])
    one, two = actual
    assert len(one) == 4  # two of each of two steps
    assert two == pytest.approx(one, rel=1e-4, abs=1e-6)


def test_what_was_there_before_a_step_is_no_part_of_it(tmp_path):
    """Gradients that a training keeps between its steps, as buckets or zeros."""

    class Keeps(Small):
        def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
            optimizer.zero_grad(set_to_none=False)

    actual = []
    for kind in (Small, Keeps):
        callback = GradientNoiseScale(every_n_steps=1)
        fit(tmp_path, kind(), labeled(32), callback, batch_size=4, accumulate_grad_batches=2)
        actual.append((callback.variance, callback.squared_gradient))
    assert actual[1] == pytest.approx(actual[0], rel=1e-5)
