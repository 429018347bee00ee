"""The learning rate over a training, and how far a training is."""

from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import BatchSizeFinder, GradientAccumulationScheduler
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR
from toys import NUM_CLASSES, PlainBranch, ToyImages, make_trainer

from lightning_edge.data import CIFARDataModule
from lightning_edge.methods import Classification, PolynomialDecay, Segmentation, StepSchedule
from lightning_edge.methods.schedules import update_learning_rates
from lightning_edge.nn import DeepLab


def test_rate_changes_at_each_step_after_the_warm_up():
    schedule = StepSchedule(at=[0.38, 0.5], factors=[1.0, 0.1, 1.0], warmup=0.1)
    shares = [0.0, 0.05, 0.1, 0.37, 0.38, 0.49, 0.5, 1.0]
    assert [schedule(share) for share in shares] == pytest.approx([0.1, 0.55, 1, 1, 0.1, 0.1, 1, 1])


def test_constant_by_default():
    assert StepSchedule()(0.0) == StepSchedule()(1.0) == 1.0


@pytest.mark.parametrize(("at", "factors"), [([0.5, 0.4], [1, 1, 1]), ([1.5], [1, 1]), ([0.5], [1.0])])
def test_nonsense_is_refused(at, factors):
    with pytest.raises(ValueError, match="expected"):
        StepSchedule(at, factors)


def test_learning_rate_warms_up_and_decays():
    schedule = PolynomialDecay(power=1.0, warmup=0.1)
    assert schedule(0.0) == 0
    assert schedule(0.05) == pytest.approx(0.5 * 0.95)
    assert schedule(0.5) == pytest.approx(0.5)
    assert schedule(1.0) == 0
    assert PolynomialDecay(power=0, warmup=0)(0.7) == 1


def test_schedule_spans_the_training(tmp_path):
    seen = []

    class Recorder(Segmentation):
        def on_train_batch_start(self, batch, batch_idx):
            seen.append(self.optimizers().param_groups[0]["lr"])

    method = Recorder(DeepLab("resnet10t", NUM_CLASSES), schedule=PolynomialDecay(power=1.0, warmup=0.0))
    make_trainer(tmp_path, max_epochs=2).fit(method, ToyImages())
    rates = torch.tensor(seen) / 1e-3
    torch.testing.assert_close(rates, torch.tensor([0.875, 0.625, 0.375, 0.125]), atol=1e-6, rtol=0)


class Rates(Callback):
    """Learning rate of every optimizer step."""

    def __init__(self):
        self.values = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.values.append(optimizer.param_groups[0]["lr"])


LINEAR = PolynomialDecay(power=1.0, warmup=0.0)


def linear_rates(num_steps):
    """The middle of each step's share, by hand."""
    return [(num_steps - step - 0.5) / num_steps for step in range(num_steps)]


class LinearNet(nn.Sequential):
    num_classes = 10

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))


def classification():
    return Classification(LinearNet(), partial(SGD, lr=1), LINEAR)


def test_schedule_follows_a_batch_size_that_is_found_at_the_start(tmp_path):
    rates, finder = Rates(), BatchSizeFinder(init_val=4, steps_per_trial=1)
    data = CIFARDataModule(num_samples=(40, 10), val_fraction=0, batch_size=4, num_workers=0)
    trainer = make_trainer(tmp_path, max_epochs=3, callbacks=[finder, rates], enable_checkpointing=True)
    trainer.fit(classification(), data)
    assert data.batch_size == finder.optimal_batch_size == 40
    assert rates.values == pytest.approx(linear_rates(3))


def test_schedule_follows_a_training_that_is_made_longer(tmp_path):
    def fit(**arguments):
        rates = Rates()
        data = CIFARDataModule(num_samples=(40, 10), val_fraction=0, batch_size=10, num_workers=0)
        trainer = make_trainer(tmp_path, callbacks=[rates], limit_val_batches=0, **arguments)
        return trainer, rates, classification(), data

    trainer, rates, *parts = fit(max_epochs=1)
    trainer.fit(*parts)
    trainer.save_checkpoint(tmp_path / "short.ckpt")
    assert rates.values == pytest.approx(linear_rates(4))
    trainer, rates, *parts = fit(max_epochs=3)
    trainer.fit(*parts, ckpt_path=tmp_path / "short.ckpt", weights_only=True)
    assert rates.values == pytest.approx(linear_rates(12)[4:])


@pytest.mark.parametrize(("accumulate", "num_steps"), [(1, 10), (2, 4), (3, 2)])
def test_schedule_counts_whole_steps(accumulate, num_steps, tmp_path):
    """Ten samples in batches of two: an epoch has one step for each ``accumulate`` batches, the rest is dropped."""
    rates = Rates()
    data = CIFARDataModule(num_samples=(10, 10), val_fraction=0, batch_size=2, num_workers=0)
    make_trainer(
        tmp_path, max_epochs=2, callbacks=[rates], limit_val_batches=0, accumulate_grad_batches=accumulate
    ).fit(classification(), data)
    assert rates.values == pytest.approx(linear_rates(num_steps))


def test_a_rate_that_an_optimizer_may_have_captured_stays_the_same_tensor():
    optimizer, factor = SGD([nn.Parameter(torch.ones(()))], lr=torch.tensor(0.5)), [1.0]
    scheduler = LambdaLR(optimizer, lambda step: factor[0])
    rate, factor[0] = optimizer.param_groups[0]["lr"], 0.5
    update_learning_rates(scheduler)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate == 0.25


def test_a_schedule_without_an_end_is_refused(tmp_path):
    data = CIFARDataModule(num_samples=(10, 10), val_fraction=0, batch_size=2, num_workers=0)
    with pytest.raises(ValueError, match="expected a trainer with max_steps, or with max_epochs over data of a known"):
        make_trainer(tmp_path, max_epochs=-1).fit(classification(), data)


def test_accumulation_that_changes_is_refused(tmp_path):
    data = CIFARDataModule(num_samples=(10, 10), val_fraction=0, batch_size=2, num_workers=0)
    trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[GradientAccumulationScheduler({0: 1, 1: 5})])
    with pytest.raises(ValueError, match=r"one accumulation factor .* Use Trainer\(accumulate_grad_batches=...\)"):
        trainer.fit(classification(), data)


@pytest.mark.parametrize("limit", [3, 0.3])
def test_a_limit_that_leaves_part_of_a_step_is_refused(limit, tmp_path):
    data = CIFARDataModule(num_samples=(20, 10), val_fraction=0, batch_size=2, num_workers=0)
    trainer = make_trainer(tmp_path, accumulate_grad_batches=2, limit_train_batches=limit)
    with pytest.raises(ValueError, match=r"multiple of accumulate_grad_batches .* leaves 3 batches .* use 2 or 4"):
        trainer.fit(classification(), data)


class TwoOptimizers(Segmentation):
    """One that steps with every batch, and one that steps with every other."""

    def __init__(self, net):
        super().__init__(net)
        self.automatic_optimization = False
        self.critic = nn.Linear(1, 1)
        self.shares = []

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), 0.1) for part in (self.net, self.critic)]

    def training_step(self, batch, batch_idx):
        self.shares.append(self.progress)
        optimizer, critic_optimizer = self.optimizers()
        self.manual_backward(self.total_loss(batch) + self.critic(torch.ones(1, 1)).sum())
        optimizer.step()
        if batch_idx % 2 == 0:
            critic_optimizer.step()


@pytest.mark.parametrize("end", [{"max_epochs": 4}, {"max_epochs": -1, "max_steps": 12}])
def test_the_share_done_ends_with_the_training_of_several_optimizers(end, tmp_path):
    method = TwoOptimizers(PlainBranch(4))
    make_trainer(tmp_path, limit_val_batches=0, **end).fit(method, ToyImages())
    steps = torch.arange(8.0) if "max_steps" not in end else torch.tensor([0, 2, 3, 5, 6, 8, 9, 11]) * 8 / 12
    torch.testing.assert_close(torch.tensor(method.shares), steps / 8)
    assert method.progress == 1


def test_the_share_done_goes_on_where_several_optimizers_stopped(tmp_path):
    trainer = make_trainer(tmp_path, limit_val_batches=0, max_epochs=2)
    trainer.fit(TwoOptimizers(PlainBranch(4)), ToyImages())
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    method = TwoOptimizers(PlainBranch(4))
    trainer = make_trainer(tmp_path, limit_val_batches=0, max_epochs=4)
    trainer.fit(method, ToyImages(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert method.shares == [0.5, 0.625, 0.75, 0.875]


def test_the_share_done_needs_no_optimizer_of_the_method(tmp_path):
    shares = []

    class Recorder(Segmentation):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

        def on_train_batch_start(self, batch, batch_idx):
            shares.append(self.progress)

    make_trainer(tmp_path, limit_val_batches=0, max_epochs=2).fit(Recorder(PlainBranch(4)), ToyImages())
    assert shares == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda value, folder: PolynomialDecay(power=value), "power"),
        (lambda value, folder: StepSchedule([0.5], [1.0, value]), "factors"),
        (lambda value, folder: fit_with_rate(value, folder), "the optimizer's lr"),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5])
def test_a_rate_that_no_training_survives_is_refused_by_name(make, name, value, tmp_path):
    expected = "Invalid learning rate" if name.endswith("lr") and value < 0 else f"expected .*{name} to be finite"
    with pytest.raises(ValueError, match=expected):
        make(value, tmp_path)


@pytest.mark.parametrize("kind", [PolynomialDecay, StepSchedule])
@pytest.mark.parametrize("warmup", [float("nan"), float("inf"), -0.1, 2])
def test_a_warm_up_longer_than_the_training_is_refused(kind, warmup):
    with pytest.raises(ValueError, match=r"expected warmup as a share of the training, within \[0, 1\], got"):
        kind(warmup=warmup)


def fit_with_rate(rate, folder):
    """A training with a learning rate."""
    method = Segmentation(PlainBranch(4), optimizer=lambda parameters: torch.optim.SGD(parameters, lr=rate))
    make_trainer(folder).fit(method, ToyImages())
