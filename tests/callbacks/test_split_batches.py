"""Batches that are split for their gradient noise: measured as parts, without a trace in the training."""

import math

import pytest
import torch
from small_net import Small, fit, labeled
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader
from toys import make_trainer

from callbacks import GradientNoiseScale
from lightning_edge.ops.gradient_noise import gradient_noise


def test_measuring_changes_nothing(tmp_path):
    """Buffers, dropout's random numbers, weights, gradients and logs are those of a run without it."""

    class Counts(Small):
        def __init__(self):
            super().__init__(nn.BatchNorm1d(16), nn.Dropout(0.5))
            self.register_buffer("count", torch.zeros(()))

        def training_step(self, batch, batch_idx):
            self.count = self.count + 1  # in place of the one before
            self.log("steps", 1.0, on_step=False, on_epoch=True, reduce_fx="sum")
            return super().training_step(batch, batch_idx)

        def on_before_zero_grad(self, optimizer):
            self.seen.append([weight.grad for weight in self.parameters()])

    actual = []
    for callbacks in ([], [GradientNoiseScale(every_n_steps=1)]):
        module = Counts()
        module.seen = []
        torch.manual_seed(3)
        trainer = make_trainer(tmp_path, callbacks=callbacks, limit_val_batches=0, max_epochs=2)
        trainer.fit(module, DataLoader(labeled(32), batch_size=8))
        gradients = {f"gradient {name}": weight.grad for name, weight in module.named_parameters()}
        logged = {"steps": trainer.callback_metrics["steps"], "seen": torch.tensor(len(module.seen))}
        actual.append({**module.state_dict(), **gradients, **logged, "random": torch.rand(4)})
    assert actual[0]["steps"] == 4
    assert actual[0]["count"] == 8
    assert actual[0].keys() == actual[1].keys()
    for name, value in actual[0].items():
        torch.testing.assert_close(actual[1][name], value, rtol=0, atol=0)


def test_a_batch_too_small_to_split_is_left_out_and_said_once(tmp_path):
    callback = GradientNoiseScale(every_n_steps=1)
    with pytest.warns(
        UserWarning, match=r"gradient noise is not measured for a batch of 1: expected at least num_parts \(2\) "
    ) as said:
        fit(tmp_path, Small(), labeled(9), callback, batch_size=4, max_epochs=2)  # whose last batch has one
    assert len([one for one in said if "gradient noise" in str(one.message)]) == 1
    assert not math.isnan(callback.variance)


def test_nothing_stays_on_the_module(tmp_path):
    module = Small()
    fit(tmp_path, module, labeled(16), GradientNoiseScale(), batch_size=8)
    assert not any(parameter._post_accumulate_grad_hooks for parameter in module.parameters())
    assert "log" not in vars(module)


def test_a_training_that_failed_leaves_nothing_behind(tmp_path):
    class Fails(Small):
        def training_step(self, batch, batch_idx):
            if batch_idx == 2 and self.fails:
                raise RuntimeError("crash")
            return super().training_step(batch, batch_idx)

    module, callback, fresh = Fails(rate=0.0), GradientNoiseScale(every_n_steps=1), GradientNoiseScale(every_n_steps=1)
    module.fails = True
    with pytest.raises(RuntimeError, match="crash"):
        fit(tmp_path, module, labeled(32), callback, batch_size=4, accumulate_grad_batches=4)
    assert not any(parameter._post_accumulate_grad_hooks for parameter in module.parameters())
    module.fails = False
    for one in (callback, fresh):
        fit(tmp_path, module, labeled(32), one, batch_size=4, accumulate_grad_batches=4)
    assert (callback.variance, callback.squared_gradient) == (fresh.variance, fresh.squared_gradient)


def test_a_net_that_computes_its_activations_again_is_measured_alike(tmp_path):
    class Lean(Small):
        def training_step(self, batch, batch_idx):
            points, labels = batch
            first = checkpoint(self.net[0], points.requires_grad_(), use_reentrant=True)
            return nn.functional.cross_entropy(self.net[1:](first), labels)

    actual = []
    for kind in (Small, Lean):
        callback = GradientNoiseScale(every_n_steps=1)
        fit(tmp_path, kind(rate=0.0), labeled(32), callback, batch_size=8)
        actual.append((callback.variance, callback.squared_gradient))
    assert actual[1] == pytest.approx(actual[0], rel=1e-5)


def test_a_split_batch_that_the_step_leaves_out_is_not_measured(tmp_path):
    class Skips(Small):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 1 else super().training_step(batch, batch_idx)

    skipping, all_others = GradientNoiseScale(every_n_steps=1), GradientNoiseScale(every_n_steps=1)
    fit(tmp_path, Skips(rate=0.0), labeled(12), skipping, batch_size=4)
    kept = torch.utils.data.Subset(labeled(12), [*range(4), *range(8, 12)])
    fit(tmp_path, Small(rate=0.0), kept, all_others, batch_size=4)
    assert skipping.variance == pytest.approx(all_others.variance, rel=1e-6)


@pytest.mark.parametrize("num_parts", [2, 3, 8])
def test_a_split_batch_is_measured_as_its_parts_would_be(tmp_path, num_parts):
    """Eight examples in parts of 4 and 4, of 2, 3 and 3, and of one."""
    module, dataset = Small(rate=0.0), labeled(8)
    parts = [range(part * 8 // num_parts, (part + 1) * 8 // num_parts) for part in range(num_parts)]
    squares, mean = [], 0
    for part in parts:
        points, labels = dataset[list(part)]
        loss = nn.functional.cross_entropy(module.net(points), labels)
        flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))]).double()
        squares.append(flat.square().sum())
        mean = mean + flat / num_parts
    inverse = torch.tensor([1 / len(part) for part in parts], dtype=torch.float64).mean()
    expected = gradient_noise(torch.stack(squares).mean(), mean.square().sum(), inverse, torch.tensor(float(num_parts)))
    callback = GradientNoiseScale(every_n_steps=1, num_parts=num_parts)
    fit(tmp_path, module, dataset, callback, batch_size=8)
    assert callback.variance == pytest.approx(float(expected.variance), rel=1e-5)
    # a difference of squares of the variance's size
    assert callback.squared_gradient == pytest.approx(float(expected.squared_gradient), abs=1e-6 * callback.variance)


def test_tensors_that_are_not_split_are_told_once(tmp_path):
    class Weighted(Small):
        def training_step(self, batch, batch_idx):
            points, labels, weights = batch
            return nn.functional.cross_entropy(self.net(points), labels, weights)

    def collate(samples):
        return [*torch.utils.data.default_collate(samples), torch.ones(3)]

    trainer = make_trainer(tmp_path, callbacks=[GradientNoiseScale(every_n_steps=1)], limit_val_batches=0)
    with pytest.warns(UserWarning, match=r"tensors with as many rows as the first one .*\(4\), got \[3\]") as said:
        trainer.fit(Weighted(), DataLoader(labeled(16), batch_size=4, collate_fn=collate))
    assert len([one for one in said if "as many rows" in str(one.message)]) == 1


def test_time_of_split_batches_is_counted_and_goes_on(tmp_path, clock):
    class Slow(Small):
        def training_step(self, batch, batch_idx):
            clock.advance_ms(100)
            return super().training_step(batch, batch_idx)

    callback = GradientNoiseScale(every_n_steps=2)
    trainer = fit(tmp_path, Slow(), labeled(32), callback, batch_size=8)
    assert callback.seconds == pytest.approx(2 * 0.2)  # two of four steps, in two parts each
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    resumed = GradientNoiseScale(every_n_steps=2)
    other = make_trainer(tmp_path, callbacks=[resumed], limit_val_batches=0, max_epochs=2)
    other.fit(Slow(), DataLoader(labeled(32), batch_size=8), ckpt_path=tmp_path / "run.ckpt")
    assert resumed.seconds == pytest.approx(4 * 0.2)


def test_time_after_a_failed_training_is_not_counted(tmp_path, clock):
    class Fails(Small):
        def training_step(self, batch, batch_idx):
            clock.advance_ms(100)
            if self.fails:
                raise RuntimeError("crash")
            return super().training_step(batch, batch_idx)

    module, callback = Fails(), GradientNoiseScale(every_n_steps=1)
    module.fails = True
    with pytest.raises(RuntimeError, match="crash"):
        fit(tmp_path, module, labeled(8), callback, batch_size=8)
    clock.advance_ms(60_000)
    module.fails = False
    fit(tmp_path, module, labeled(8), callback, batch_size=8)
    assert callback.seconds == pytest.approx(0.1 + 0.2)
