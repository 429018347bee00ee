"""Statistics of source and target in whole runs: stopped, without a target pass, loaded, in two processes."""

import itertools

import pytest
import torch
from domain_pairs import fit, tiny_method, two_digits, weights_of
from lightning.pytorch import Callback
from norm_runs import (
    Evaluated,
    Inputs,
    NormNet,
    assert_close,
    norm_method,
    of_pass,
    running_statistics,
    source_of,
    statistics_of,
)
from torch import nn

from callbacks import WarmStart
from callbacks.adaptation import ADDA, DANN, DomainNorms
from lightning_edge.methods import Classification


class Fails(Callback):
    def __init__(self, hook):
        setattr(self, hook, self.fail)

    def fail(self, *args, **kwargs):
        raise RuntimeError("power cut")


@pytest.mark.parametrize("hook", ["on_before_optimizer_step", "on_validation_batch_end"])
def test_after_an_error_the_module_has_the_statistics_of_the_target(hook):
    method, norms, inputs = norm_method(), DomainNorms(), Inputs()
    with pytest.raises(RuntimeError, match="power cut"):
        fit(method, two_digits(batches_per_epoch=2), DANN(), norms, inputs, Fails(hook), limit_val_batches=1)
    expected = [running_statistics(of_pass(inputs.inputs, first)) for first in (0, 1)]
    assert len(inputs.inputs["net.body.0"]) == (2 if hook == "on_before_optimizer_step" else 4)
    assert_close(source_of(norms), expected[0])
    assert_close(statistics_of(method), expected[1])


def test_nets_without_batch_norm_are_not_changed():
    plain, method, norms = tiny_method(), tiny_method(), DomainNorms()
    for each, callbacks in ((plain, []), (method, [norms])):
        torch.manual_seed(1)
        fit(each, two_digits(batches_per_epoch=2), DANN(), *callbacks, limit_val_batches=1)
    torch.testing.assert_close(weights_of(method), weights_of(plain), rtol=0, atol=0)
    assert source_of(norms) == {}


def test_norms_without_statistics_are_left_alone():
    method = norm_method()
    method.net.body[0] = nn.BatchNorm2d(3, track_running_stats=False)
    norms = DomainNorms()
    fit(method, two_digits(batches_per_epoch=2), DANN(), norms, limit_val_batches=1)
    assert {name.rpartition(".")[0] for name in source_of(norms)} == {"net.body.4"}


def test_without_a_pass_of_the_target_both_domains_have_the_statistics_of_the_source(tmp_path):
    method, norms, evaluated = norm_method(), DomainNorms(), Evaluated()
    fit(method, two_digits(batches_per_epoch=3), norms, evaluated, limit_val_batches=1)
    plain, expected = norm_method(), Evaluated()
    trainer = fit(plain, two_digits(batches_per_epoch=3), expected, limit_val_batches=1)
    assert_close(statistics_of(method), statistics_of(plain), rtol=0, atol=0)
    torch.testing.assert_close(evaluated.rows, expected.rows, rtol=0, atol=0)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    fit(plain, two_digits(batches_per_epoch=3), norms)
    assert int(plain.net.body[0].num_batches_tracked) == 6


class Saves(Callback):
    """Saves a checkpoint after a step."""

    def __init__(self, path, step):
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


class OfTarget(Inputs):
    """Keeps the inputs of norms while the module sees the target in training."""

    def on_train_start(self, trainer, pl_module):
        self.places = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.places.append(len(self.inputs["net.body.0"]))


@pytest.mark.parametrize("step", [2, 5])
def test_the_statistics_of_the_target_start_with_its_first_pass(step, tmp_path):
    """In the first stage of ADDA, only the source passes; in the second one, the target and the source net pass too."""
    path, results = tmp_path / "at.ckpt", []
    for more, options in (([Saves(path, step)], {}), ([], {"ckpt_path": path})):
        method, norms, inputs = norm_method(seed=len(results)), DomainNorms(), OfTarget()
        torch.manual_seed(1)
        options |= {"max_epochs": 2, "limit_val_batches": 1}
        fit(method, two_digits(batches_per_epoch=3), ADDA(hidden_size=4), norms, inputs, *more, **options)
        results.append((statistics_of(method), source_of(norms), weights_of(method)))
        if not options.get("ckpt_path"):
            assert inputs.places[:3] == [1, 2, 3]
            passes = [list(range(*ends)) for ends in itertools.pairwise(inputs.places[2:])]
            of_target = {name: [values[places[1]] for places in passes] for name, values in inputs.inputs.items()}
            assert_close(results[0][0], running_statistics(of_target))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


class Frozen(Classification):
    """Norms that do not learn statistics."""

    def on_train_batch_start(self, batch, batch_idx):
        self.net.body.eval()


def test_both_domains_start_with_loaded_weights_wherever_the_callback_that_loads_them_is_listed(tmp_path):
    start = norm_method()
    with torch.no_grad():
        start.net.body[0].running_mean += 5
    torch.save({"state_dict": start.state_dict()}, tmp_path / "start.ckpt")
    for order in (1, -1):
        callbacks = [DomainNorms(), WarmStart(tmp_path / "start.ckpt")][::order]
        norms = next(callback for callback in callbacks if isinstance(callback, DomainNorms))
        torch.manual_seed(0)
        method = Frozen(NormNet())
        fit(method, two_digits(batches_per_epoch=2), DANN(), *callbacks)
        for statistics in (source_of(norms), statistics_of(method)):
            torch.testing.assert_close(statistics["net.body.0.running_mean"], torch.full((3,), 5.0))


def test_the_callback_can_be_used_again_with_another_module():
    class Deeper(NormNet):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(self.body, nn.BatchNorm1d(8))

    norms = DomainNorms()
    fit(norm_method(), two_digits(batches_per_epoch=2), DANN(), norms)
    method = Classification(Deeper())
    fit(method, two_digits(batches_per_epoch=3), DANN(), norms, limit_val_batches=1)
    names = {name for name in method.state_dict() if "running" in name or "tracked" in name}
    assert set(source_of(norms)) == names
    assert all(int(source_of(norms)[name]) == 3 for name in names if name.endswith("tracked"))


@pytest.mark.slow
def test_two_processes_use_the_statistics_of_the_first_one(tmp_path):
    """As batch norms do without this callback."""
    method, norms, inputs = norm_method(), DomainNorms(), Inputs(tmp_path)
    options = {"devices": 2, "strategy": "ddp_fork", "limit_val_batches": 1}
    fit(method, two_digits(batches_per_epoch=3), DANN(), norms, inputs, Shares(tmp_path), **options)
    shares = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    sources = [torch.load(tmp_path / f"source_{rank}.pt") for rank in range(2)]
    first = shares[0][0]
    assert [len(values) for values in first.values()] == [6, 6]
    assert not torch.equal(first["net.body.0"][0], shares[1][0]["net.body.0"][0])
    for statistics, first_pass in ((sources, 0), ([share[1] for share in shares], 1)):
        for one in statistics:
            assert_close(one, running_statistics(of_pass(first, first_pass)))


class Shares(Callback):
    """Saves the statistics of the source in each process."""

    def __init__(self, folder):
        self.folder = folder

    def on_fit_end(self, trainer, pl_module):
        norms = next(callback for callback in trainer.callbacks if isinstance(callback, DomainNorms))
        torch.save(source_of(norms), self.folder / f"source_{trainer.global_rank}.pt")
