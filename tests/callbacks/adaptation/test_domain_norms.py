"""Batch-norm statistics of source and target that are kept apart."""

import pytest
import torch
from domain_pairs import digits, fit, two_digits
from lightning.pytorch.callbacks import ModelCheckpoint
from norm_runs import (
    Evaluated,
    Inputs,
    assert_close,
    check_evaluated,
    logits_with,
    norm_method,
    of_pass,
    running_statistics,
    source_of,
    statistics_of,
)
from toys import make_trainer

from callbacks.adaptation import DANN, DomainNorms


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_source_and_target_have_running_statistics_of_their_own(momentum, accumulated):
    method, norms, inputs = norm_method(momentum=momentum), DomainNorms(), Inputs()
    options = {"max_epochs": 2, "accumulate_grad_batches": accumulated, "limit_val_batches": 1}
    fit(method, two_digits(batches_per_epoch=4), DANN(), norms, inputs, **options)
    assert [len(values) for values in inputs.inputs.values()] == [16, 16]
    expected = [running_statistics(of_pass(inputs.inputs, first), momentum) for first in (0, 1)]
    assert_close(source_of(norms), expected[0])
    assert_close(statistics_of(method), expected[1])
    assert not torch.allclose(expected[0]["net.body.0.running_mean"], expected[1]["net.body.0.running_mean"], atol=0.05)


def test_the_weights_are_those_of_a_training_without_the_callback():
    """Batch norms normalize by the batch in training."""
    plain, method = norm_method(), norm_method()
    for each, callbacks in ((plain, []), (method, [DomainNorms()])):
        torch.manual_seed(1)
        fit(each, two_digits(batches_per_epoch=3), DANN(), *callbacks, limit_val_batches=1)
    torch.testing.assert_close(dict(method.named_parameters()), dict(plain.named_parameters()), rtol=0, atol=0)


def test_each_domain_is_evaluated_with_its_own_statistics(tmp_path):
    method, norms = norm_method(), DomainNorms()
    keep = ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True)
    callbacks = (DANN(), norms, keep)
    fit(method, two_digits(batches_per_epoch=4), *callbacks, enable_checkpointing=True, limit_val_batches=2)
    source, target = {name: value.clone() for name, value in source_of(norms).items()}, statistics_of(method)

    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert_close({name: checkpoint["state_dict"][name] for name in target}, target, rtol=0, atol=0)
    (state,) = (state for key, state in checkpoint["callbacks"].items() if key.startswith("DomainNorms"))
    assert_close(state["kept"], source, rtol=0, atol=0)

    for run in ("validate", "test"):
        evaluated, loaded = Evaluated(), norm_method(seed=5)  # by a new trainer and a new callback
        trainer = make_trainer(tmp_path, callbacks=[DomainNorms(), evaluated])
        getattr(trainer, run)(loaded, two_digits(), ckpt_path=tmp_path / "last.ckpt", verbose=False)
        check_evaluated(evaluated, method, source, target)
        assert_close(statistics_of(loaded), target, rtol=0, atol=0)

    evaluated = Evaluated()  # by the same callback
    make_trainer(tmp_path, callbacks=[norms, evaluated]).validate(method, two_digits(), verbose=False)
    check_evaluated(evaluated, method, source, target)


def test_validations_within_an_epoch_and_the_sanity_check_disturb_nothing():
    results = []
    for options in ({}, {"num_sanity_val_steps": 2, "val_check_interval": 1, "limit_val_batches": 1}):
        method, norms = norm_method(), DomainNorms()
        torch.manual_seed(1)
        fit(method, two_digits(batches_per_epoch=4), DANN(), norms, **options)
        results.append((statistics_of(method), dict(source_of(norms))))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_a_training_may_follow_an_evaluation():
    """Tensors that are made in inference mode could not be changed later."""
    method, norms, start = norm_method(), DomainNorms(), statistics_of(norm_method())
    make_trainer(None, callbacks=[norms]).validate(method, two_digits(), verbose=False)
    assert_close(statistics_of(method), start, rtol=0, atol=0)
    fit(method, two_digits(batches_per_epoch=2), DANN(), norms)
    for statistics in (source_of(norms), statistics_of(method)):
        assert int(statistics["net.body.0.num_batches_tracked"]) == 2


def test_the_order_of_the_loaders_does_not_matter():
    method, norms = norm_method(), DomainNorms()
    fit(method, two_digits(batches_per_epoch=4), DANN(), norms)
    evaluated = Evaluated()
    data = two_digits(evaluate=("target", "source"))
    make_trainer(None, callbacks=[norms, evaluated]).validate(method, data, verbose=False)
    check_evaluated(evaluated, method, source_of(norms), statistics_of(method))


def test_data_of_one_domain_are_evaluated_with_the_statistics_of_the_target():
    method, norms = norm_method(), DomainNorms()
    fit(method, two_digits(batches_per_epoch=4), DANN(), norms)
    target, seen = statistics_of(method), []
    handle = method.net.register_forward_hook(lambda _, inputs, outputs: seen.append((inputs[0], outputs)))
    make_trainer(None, callbacks=[norms]).validate(method, digits("mnist_m"), verbose=False)
    handle.remove()
    assert seen
    for images, logits in seen:
        torch.testing.assert_close(logits.clone(), logits_with(method, target, images))


def test_another_module_does_not_get_the_statistics_of_the_first():
    norms, fresh = DomainNorms(), DomainNorms()
    fit(norm_method(), two_digits(batches_per_epoch=4), DANN(), norms)
    second, alone = norm_method(seed=5), norm_method(seed=5)
    for method, callback in ((second, norms), (alone, fresh)):
        fit(method, two_digits(batches_per_epoch=2), DANN(), callback)
    assert_close(source_of(norms), source_of(fresh), rtol=0, atol=0)
    assert_close(statistics_of(second), statistics_of(alone), rtol=0, atol=0)
