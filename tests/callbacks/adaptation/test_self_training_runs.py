"""Whole trainings with a mean teacher: resumed, stopped, in other precisions and beside other callbacks."""

import math
from types import SimpleNamespace

import pytest
import torch
from adaptation_runs import Foreign
from domain_pairs import fit, two_digits, weights_of
from lightning.pytorch import Callback
from teacher_runs import AfterSteps, Terms, assert_equal, explicit_term, norm_method, running_means, teacher_of, watch

from callbacks.adaptation import CORAL, DANN, DomainNorms, MeanTeacher
from callbacks.adaptation._pair import Pair
from callbacks.adaptation._two_domains import LayerOutputs
from callbacks.adaptation.self_training import _PseudoLabels


class SaveAfterBatch(Callback):
    """Saves a checkpoint after a batch, also between steps."""

    def __init__(self, path, num_batches):
        self.path, self.left = path, num_batches

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.left -= 1
        if self.left == 0:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize(("accumulated", "num_batches"), [(1, 3), (1, 4), (2, 2), (2, 3), (2, 6)])
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, accumulated, num_batches):
    path, options = tmp_path / "at.ckpt", {"max_epochs": 2, "accumulate_grad_batches": accumulated}

    def parts():
        return [DomainNorms(), DANN(hidden_size=8), MeanTeacher(threshold=0.05, decay=0.5)]

    torch.manual_seed(3)
    whole, method = parts(), norm_method()
    fit(method, two_digits(batches_per_epoch=4), *whole, SaveAfterBatch(path, num_batches), **options)
    torch.manual_seed(4)
    resumed, again = parts(), norm_method(seed=5)
    fit(again, two_digits(batches_per_epoch=4), *resumed, ckpt_path=path, **options)
    assert_equal(weights_of(again), weights_of(method))
    for one, other in zip(resumed[1:], whole[1:], strict=True):
        assert_equal(one.nets.state_dict(), other.nets.state_dict())
    assert_equal(resumed[0].state_dict(), whole[0].state_dict())


def test_a_second_fit_updates_the_teacher_after_each_step_too():
    method, callback = norm_method(), MeanTeacher(threshold=0.05)
    for number in (1, 2, 3):  # the steps are counted from 0 again
        fit(method, two_digits(batches_per_epoch=1), callback)
        assert int(callback.nets.num_updates) == number


def test_the_module_is_as_before_after_the_fit():
    method, callback = norm_method(), MeanTeacher(threshold=0.05)
    fit(method, two_digits(), limit_train_batches=1)  # after which the method has a score for each domain
    names = [name for name, _ in method.named_modules()]
    fit(method, two_digits(batches_per_epoch=1), callback)
    assert [name for name, _ in method.named_modules()] == names
    assert set(method.state_dict()) == set(norm_method().state_dict())
    assert not method.loss_terms
    assert callback._domains is callback._pseudo is None


class Fails(Callback):
    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        raise RuntimeError("power cut")


def test_nothing_stays_after_an_exception():
    method, callback = norm_method(), MeanTeacher(threshold=0.05)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(method, two_digits(batches_per_epoch=1), callback, Fails())
    assert set(method.state_dict()) == set(norm_method().state_dict())
    assert callback._domains is callback._pseudo is None


@pytest.mark.parametrize(("precision", "largest"), [("32-true", 1e-3), ("bf16-mixed", 0.05)])
def test_the_order_of_callbacks_does_not_matter(precision, largest):
    start, results = weights_of(norm_method()), []
    for order in (1, -1):
        torch.manual_seed(6)
        method, adversary = norm_method(), DANN(hidden_size=8)
        teacher = MeanTeacher(threshold=0.05, ramp=False)
        fit(method, two_digits(batches_per_epoch=3), *[adversary, teacher][::order], precision=precision)
        results.append((weights_of(method), teacher_of(teacher)))
    for first, second in zip(*results, strict=True):
        update = {name: first[name].double() - start[name] for name in first if first[name].is_floating_point()}
        error = {name: first[name].double() - second[name] for name in update}
        size, difference = (sum(float(value.square().sum()) for value in values.values()) for values in (update, error))
        assert 0 < size < float("inf")
        assert difference**0.5 < largest * size**0.5


def test_float64_stays_float64():
    class Keeps(MeanTeacher):
        values = ()

        def loss(self, pair):
            value = super().loss(pair)
            self.values = (*self.values, float(value.detach()))
            return value

    callback = Keeps(threshold=0.05)
    witness = watch(norm_method(), two_digits(batches_per_epoch=2), callback, precision="64-true")
    for (_, target, net, state), seen, value in zip(witness.batches, witness.seen, callback.values, strict=True):
        expected = float(explicit_term(net, state, callback.nets._names, target, seen[2], 0.05))
        assert value == pytest.approx(expected, rel=1e-12)


def test_other_callbacks_see_the_changed_target():
    class Sees(CORAL):
        def loss(self, pair):
            self.seen = pair.target_input
            return super().loss(pair)

    for order in (1, -1):
        sees, teacher = Sees(), MeanTeacher(threshold=0.05)
        witness = watch(norm_method(), two_digits(batches_per_epoch=1), *[sees, teacher][::order])
        assert torch.equal(sees.seen, witness.seen[0][2])


def test_a_module_of_someone_else_learns_from_the_teacher():
    torch.manual_seed(0)
    module, callback = Foreign(), MeanTeacher(threshold=0.05, ramp=False)
    steps, terms = AfterSteps(), Terms()
    fit(module, two_digits(batches_per_epoch=3), callback, steps, terms)
    means = running_means(steps.weights, 0.99)
    assert_equal({n: v.double() for n, v in teacher_of(callback).items()}, means[-1], rtol=1e-4, atol=1e-6)
    assert all(values["train/mean_teacher"] > 0 for values in terms.values)
    assert "training_step" not in vars(module)


def test_class_255_is_a_class_of_images(monkeypatch):
    outputs = LayerOutputs(torch.zeros(2, 4), torch.zeros(2, 300))
    pair = Pair(outputs, outputs, outputs.outputs, torch.zeros(2, 3, 8, 8), {}, 0.0)
    callback = MeanTeacher()
    callback._pseudo = _PseudoLabels(torch.tensor([255, 3]), torch.tensor([1.0, 0.0]))
    module = SimpleNamespace(log=lambda *_, **__: None)
    monkeypatch.setattr(MeanTeacher, "domains", SimpleNamespace(module=module))
    assert callback.loss(pair).item() == pytest.approx(math.log(300) / 2)
