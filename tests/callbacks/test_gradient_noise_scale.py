"""The gradient noise scale against problems that know it and against gradients of single examples."""

import csv
import math

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy
from small_net import Small, fit, labeled, per_example, points
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from toys import make_trainer

from callbacks import BatchSizeScaling, GradientNoiseScale
from lightning_edge.ops.gradient_noise import gradient_noise


class Mean(LightningModule):
    """Looks for the mean of points; the gradient of one of them is its distance, so the noise scale is known."""

    def __init__(self, size=8, rate=0.0):
        super().__init__()
        self.place = nn.Parameter(torch.ones(size))
        self.rate = rate

    def training_step(self, batch, batch_idx):
        (points,) = batch
        loss = 0.5 * (points - self.place).square().sum(1).mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.rate)


def test_parts_of_one_example_give_the_covariance_of_single_examples(tmp_path):
    module, dataset = Small(rate=0.0), labeled(24)
    variance, squared = per_example(module, dataset)
    callback = GradientNoiseScale(every_n_steps=1)
    fit(tmp_path, module, dataset, callback, batch_size=1, accumulate_grad_batches=24)
    assert callback.variance == pytest.approx(variance, rel=1e-5)
    assert callback.squared_gradient == pytest.approx(squared, rel=1e-5)
    assert callback.noise_scale == pytest.approx(variance / squared, rel=1e-5)


@pytest.mark.parametrize("arguments", [{"accumulate_grad_batches": 4}, {}], ids=["accumulated", "split"])
def test_a_known_noise_scale_is_found(tmp_path, arguments):
    """Points of standard deviation 2 about 0 in 8 dimensions, looked for from ones: 8 * 4 / 8 = 4 examples."""
    torch.manual_seed(0)
    callback = GradientNoiseScale(every_n_steps=1, decay=0.998)
    batch_size = 2 if arguments else 8
    fit(tmp_path, Mean(), TensorDataset(points(8000)), callback, batch_size, **arguments)
    assert callback.variance == pytest.approx(32, rel=0.03)
    assert callback.squared_gradient == pytest.approx(8, rel=0.06)
    assert callback.noise_scale == pytest.approx(4, rel=0.08)


def test_parts_of_unequal_size_are_weighed(tmp_path):
    """Seven points in batches of three: the last has one. Estimates from all orders average to the truth."""
    dataset = TensorDataset(points(7))
    variance, squared = per_example(Mean(), dataset)
    callback = GradientNoiseScale(every_n_steps=1, decay=0.999)
    torch.manual_seed(0)
    # one step takes an epoch's three batches
    fit(tmp_path, Mean(), dataset, callback, 3, shuffle=True, accumulate_grad_batches=3, max_epochs=1200)
    assert callback.variance == pytest.approx(variance, rel=0.03)
    assert callback.squared_gradient == pytest.approx(squared, rel=0.05)


def test_a_step_of_fewer_batches_than_asked_for_counts_as_it_is(tmp_path):
    """Lightning divides by accumulate_grad_batches also where an epoch leaves fewer."""
    actual = []
    for accumulate in (4, 6):
        callback = GradientNoiseScale(every_n_steps=1)
        fit(tmp_path, Small(rate=0.0), labeled(16), callback, batch_size=4, accumulate_grad_batches=accumulate)
        actual.append((callback.variance, callback.squared_gradient))
    assert actual[0] == pytest.approx(actual[1], rel=1e-5)


class Shared(Small):
    """Each process sees every other batch of four; one alone sees all of them."""

    def train_dataloader(self):
        batches = torch.arange(32).view(-1, 4)[self.trainer.global_rank :: self.trainer.world_size]
        return DataLoader(labeled(32), batch_sampler=batches.tolist())


def test_two_processes_measure_what_one_measures(tmp_path):
    actual = []
    for name, options in {
        "one": {"accumulate_grad_batches": 2},
        "two": {"strategy": "ddp_fork", "devices": 2},
    }.items():
        trainer = make_trainer(
            tmp_path,
            callbacks=[GradientNoiseScale(every_n_steps=1)],
            limit_val_batches=0,
            logger=CSVLogger(tmp_path, name, version=0),
            log_every_n_steps=1,
            max_epochs=2,
            use_distributed_sampler=False,
            **options,
        )
        trainer.fit(Shared())
        with (tmp_path / name / "version_0/metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        actual.append([float(row[key]) for row in rows for key in ("noise/variance", "noise/squared_gradient")])
    one, two = actual
    assert len(one) == 16  # two of each of eight steps
    assert two == pytest.approx(one, rel=1e-4, abs=1e-6)


def test_steps_between_are_left_alone(tmp_path, monkeypatch):
    count = 0

    def counted(*args):
        nonlocal count
        count += 1
        return gradient_noise(*args)

    monkeypatch.setattr("callbacks.gradient_noise_scale.gradient_noise", counted)
    fit(tmp_path, Small(), labeled(32), GradientNoiseScale(every_n_steps=3), batch_size=4)
    assert count == 3  # steps 0, 3 and 6 of 8


@pytest.mark.parametrize("arguments", [{"accumulate_grad_batches": 4}, {}], ids=["accumulated", "split"])
def test_every_measurement_reaches_the_logger(tmp_path, arguments):
    """Also where Lightning, which logs in every 50 steps, writes nothing in an epoch of eight."""
    trainer = make_trainer(
        tmp_path,
        callbacks=[GradientNoiseScale(every_n_steps=3)],
        limit_val_batches=0,
        logger=CSVLogger(tmp_path, name="", version=0),
        max_epochs=2,
        **arguments,
    )
    dataset = labeled(8 * 4 * arguments.get("accumulate_grad_batches", 1))
    trainer.fit(Small(), DataLoader(dataset, batch_size=4))
    with (tmp_path / "version_0/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["noise/variance"]] == [0, 3, 6, 9, 12, 15]
    assert float(rows[-1]["noise/variance"]) == pytest.approx(trainer.callback_metrics["noise/variance"].item())


def test_averages_go_on_after_a_checkpoint(tmp_path):
    callback = GradientNoiseScale(every_n_steps=1)
    trainer = fit(tmp_path, Small(), labeled(32), callback, batch_size=8)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    resumed = GradientNoiseScale(every_n_steps=1)
    other = make_trainer(tmp_path, callbacks=[resumed], limit_val_batches=0, max_epochs=1)
    other.fit(Small(), DataLoader(labeled(32), batch_size=8), ckpt_path=tmp_path / "run.ckpt")
    assert not math.isnan(callback.variance)
    assert (resumed.variance, resumed.squared_gradient) == (callback.variance, callback.squared_gradient)


def test_a_mean_that_noise_hides_gives_no_scale(tmp_path):
    callback = GradientNoiseScale(every_n_steps=1)
    module = Mean()
    dataset = TensorDataset(points(8))
    module.place.data = dataset.tensors[0].mean(0)  # where the true gradient is zero
    trainer = fit(tmp_path, module, dataset, callback, batch_size=2, accumulate_grad_batches=4)
    assert callback.squared_gradient < 0
    assert math.isnan(callback.noise_scale)
    assert math.isnan(trainer.callback_metrics["noise/scale"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every_n_steps": 0}, "every_n_steps of at least 1, got 0"),
        ({"decay": 1.0}, r"decay within \[0, 1\), got 1.0"),
        ({"num_parts": 1}, "num_parts of at least 2, got 1"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        GradientNoiseScale(**arguments)


def test_manual_optimization_is_refused(tmp_path):
    module = Small()
    module.automatic_optimization = False
    with pytest.raises(ValueError, match="expected automatic optimization, got Small"):
        Trainer(accelerator="cpu", logger=False, callbacks=[GradientNoiseScale()], default_root_dir=tmp_path).fit(
            module, DataLoader(labeled(4), batch_size=2)
        )


@pytest.mark.parametrize("arguments", [{"accumulate_grad_batches": 4}, {}], ids=["accumulated", "split"])
@pytest.mark.parametrize("fused", [False, True])
def test_a_scaled_loss_gives_the_same_noise(tmp_path, arguments, fused):
    """Float16 multiplies the loss by 65536, so that small gradients do not vanish; fused optimizers undo it late."""

    class ByAdam(Small):
        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 0.0, fused=fused)

    actual = []
    scaled = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    for plugins in ([], [scaled]):
        callback = GradientNoiseScale(every_n_steps=1)
        fit(tmp_path, ByAdam(), labeled(32), callback, batch_size=8, plugins=plugins, **arguments)
        actual.append((callback.variance, callback.squared_gradient))
    assert actual[1] == pytest.approx(actual[0], rel=0.02)


@pytest.mark.parametrize("kind", [DeepSpeedStrategy, FSDPStrategy])
@pytest.mark.parametrize("callback", [GradientNoiseScale, BatchSizeScaling])
def test_sharded_gradients_are_refused(kind, callback, tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    monkeypatch.setattr(Trainer, "strategy", property(lambda self: kind.__new__(kind)))  # which needs no devices
    with pytest.raises(ValueError, match=rf"without sharded gradients \(a single device or DDP\), got {kind.__name__}"):
        callback().setup(trainer, Small(), "fit")


class Head(Small):
    """Its last layer alone learns, for the optimizer has no other."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.net[-1].parameters(), self.rate)


class Frozen(Small):
    """Its first layer begins to learn in the course of the first step."""

    thaws = False

    def __init__(self, *layers, rate=0.1):
        super().__init__(*layers, rate=rate)
        self.net[0].requires_grad_(False)

    def on_train_batch_start(self, batch, batch_idx):
        self.net[0].requires_grad_(self.thaws)


class Thawing(Frozen):
    thaws = True


@pytest.mark.parametrize("arguments", [{"accumulate_grad_batches": 4}, {}], ids=["accumulated", "split"])
def test_weights_are_those_that_the_optimizer_has(tmp_path, arguments):
    actual = []
    for kind in (Frozen, Head):
        callback = GradientNoiseScale(every_n_steps=1)
        fit(tmp_path, kind(rate=0.0), labeled(32), callback, batch_size=4, **arguments)
        actual.append((callback.variance, callback.squared_gradient))
    assert actual[1] == pytest.approx(actual[0], rel=1e-5)


@pytest.mark.parametrize("arguments", [{"accumulate_grad_batches": 4}, {}], ids=["accumulated", "split"])
def test_what_begins_to_learn_counts_from_the_next_step_on(tmp_path, arguments):
    def measure(kind, num_steps):
        callback = GradientNoiseScale(every_n_steps=1, decay=0.0)
        fit(tmp_path, kind(rate=0.0), labeled(32), callback, batch_size=4, max_steps=num_steps, **arguments)
        return callback.variance, callback.squared_gradient

    assert measure(Thawing, 1) == pytest.approx(measure(Frozen, 1), rel=1e-5)  # of parts and of their mean
    assert measure(Thawing, 2) == pytest.approx(measure(Small, 2), rel=1e-5)
    assert measure(Small, 2) != pytest.approx(measure(Frozen, 2), rel=0.01)


def test_a_batch_that_the_step_leaves_out_is_no_part(tmp_path):
    class Skips(Small):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    actual = []
    for kind, dataset in (
        (Small, torch.utils.data.Subset(labeled(12), [*range(4), *range(8, 12)])),
        (Skips, labeled(12)),
    ):
        callback = GradientNoiseScale(every_n_steps=1)
        num_batches = len(dataset) // 4
        fit(tmp_path, kind(rate=0.0), dataset, callback, batch_size=4, accumulate_grad_batches=num_batches)
        actual.append(callback.variance)
    assert actual[1] == pytest.approx(actual[0], rel=1e-5)
