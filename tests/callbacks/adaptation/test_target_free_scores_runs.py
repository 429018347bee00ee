"""Scores without labels of the target in whole runs: too few samples, NaN, errors, processes, other callbacks."""

import math

import pytest
import torch
from adaptation_runs import Foreign
from domain_pairs import TinyNet, digits, fit, tiny_method, two_digits, weights_of
from lightning.pytorch import Callback
from target_free_runs import (
    SCORES,
    Collected,
    make_data,
    score_by_hand,
    scores_of,
)
from torch import nn
from toys import make_trainer

from callbacks.adaptation import TENT, DomainNorms, MeanTeacher, TargetFreeScores
from lightning_edge.data import AdaptationDataModule
from lightning_edge.methods import Classification


def test_the_sanity_check_is_not_scored(quick):
    seen = []

    class AtStart(Callback):
        def on_train_start(self, trainer, pl_module):
            seen.extend(scores_of(trainer))

    scores, collected = TargetFreeScores(), Collected()
    options = {"num_sanity_val_steps": 1, "limit_val_batches": 1.0}
    fit(tiny_method(), make_data(), scores, collected, AtStart(), **options)
    assert not seen
    assert collected.scores[0] == {}
    assert set(collected.scores[1]) == SCORES
    (evaluation,) = scores.state_dict()["evaluations"]
    assert set(evaluation) == SCORES | {"epoch", "val_target/accuracy"}


def test_too_few_rows_have_no_scores():
    data = two_digits(batches_per_epoch=1)  # with four images for validation
    with pytest.warns(UserWarning, match="TargetFreeScores needs 5 samples of source and target"):
        trainer = fit(tiny_method(), data, TargetFreeScores(), limit_val_batches=1.0)
    assert set(scores_of(trainer)) == SCORES
    assert all(math.isnan(value) for value in scores_of(trainer).values())


def test_nan_has_no_scores():
    class Breaks(TinyNet):
        def forward(self, image):
            logits = super().forward(image)
            return logits if self.training else self.head(torch.nan * self.body(image))

    with pytest.warns(UserWarning, match="features or logits contain NaN"):
        trainer = fit(Classification(Breaks()), make_data(), TargetFreeScores(), limit_val_batches=1.0)
    assert all(math.isnan(value) for value in scores_of(trainer).values())
    assert trainer.global_step == 2


@pytest.mark.parametrize(
    ("make", "got"),
    [
        (lambda: digits("mnist"), "DigitsDataModule"),
        (lambda: make_data(evaluate=("target",)), "AdaptationDataModule, which evaluates one of them"),
    ],
)
def test_both_domains_are_needed(make, got):
    message = rf"expected a data module that evaluates source and target for TargetFreeScores, .* got {got}$"
    with pytest.raises(ValueError, match=message):
        fit(tiny_method(), make(), TargetFreeScores())


def test_a_layer_that_does_not_run_is_refused():
    class Unused(TinyNet):
        def __init__(self):
            super().__init__()
            self.unused = nn.Linear(8, 10)

    with pytest.raises(ValueError, match="expected layer as a part of Classification that runs in validation_step"):
        fit(Classification(Unused()), make_data(), TargetFreeScores(), limit_val_batches=1)
    with pytest.raises(ValueError, match=r"expected layer as the name of a part of Classification, .* got 'net\.haed'"):
        fit(tiny_method(), make_data(), TargetFreeScores("net.haed"))


def test_another_layer(quick):
    class Reversed(TinyNet):
        def __init__(self):
            super().__init__()
            self.unused = nn.Linear(8, 10)

    results = []
    for method, layer in ((tiny_method(), None), (Classification(Reversed()), "net.head")):
        method.net.load_state_dict(tiny_method().net.state_dict(), strict=False)
        trainer = make_trainer(None, callbacks=[TargetFreeScores(layer)])
        trainer.validate(method, make_data(), verbose=False)
        results.append(scores_of(trainer))
    assert results[0] == results[1]


def test_bad_numbers_of_rows_are_refused():
    with pytest.raises(ValueError, match="expected max_rows of at least 5, got 4"):
        TargetFreeScores(max_rows=4)


class Fails(Callback):
    def on_train_batch_end(self, *args, **kwargs):
        raise RuntimeError("power cut")


def test_training_is_not_changed_and_no_hook_stays(quick):
    plain, method = tiny_method(), tiny_method()
    torch.manual_seed(1)
    fit(plain, make_data(), MeanTeacher(threshold=0.05), limit_val_batches=1.0)
    torch.manual_seed(1)
    scores = TargetFreeScores()
    fit(method, make_data(), MeanTeacher(threshold=0.05), scores, limit_val_batches=1.0)
    torch.testing.assert_close(weights_of(method), weights_of(plain), rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(method, make_data(), scores, Fails())
    assert all(not module._forward_hooks for module in method.modules())
    assert scores._seen is None
    assert scores._rows == {}


def test_a_module_of_someone_else_is_scored(quick):
    class Validates(Foreign):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self(batch["image"])

    torch.manual_seed(0)
    trainer = fit(Validates(), make_data(), TargetFreeScores(), limit_val_batches=1.0)
    assert all(math.isfinite(value) for value in scores_of(trainer).values())


def test_adaptation_at_test_time_and_norms_of_each_domain_take_part(tmp_path):
    class NormNet(TinyNet):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(self.body, nn.BatchNorm1d(8))

    results = []
    for more in ([], [TENT()], [DomainNorms()]):
        torch.manual_seed(0)
        method = Classification(NormNet())
        trainer = make_trainer(tmp_path, callbacks=[*more, TargetFreeScores()])
        trainer.validate(method, make_data(), verbose=False)
        results.append(scores_of(trainer))
    assert results[0] == results[2]
    assert results[0] != results[1]
    assert all(math.isfinite(value) for value in results[1].values())


@pytest.mark.slow
def test_a_compiled_net_is_scored(tmp_path):
    torch.compiler.reset()
    results = []
    for compile_net in (False, True):
        method = tiny_method()
        if compile_net:
            method.net = torch.compile(method.net)
            method.net(torch.rand(4, 3, 32, 32))
        trainer = make_trainer(tmp_path, callbacks=[TargetFreeScores("net._orig_mod.head" if compile_net else None)])
        trainer.validate(method, make_data(), verbose=False)
        results.append(scores_of(trainer))
    assert results[0] == pytest.approx(results[1], rel=1e-3, abs=1e-3)


class SavesRows(Collected):
    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_validation_end(self, trainer, pl_module):
        by_hand = score_by_hand(self.net, self.batches)
        torch.save((by_hand, scores_of(trainer)), self.folder / f"{trainer.global_rank}.pt")


@pytest.mark.slow
def test_processes_log_the_mean_of_the_scores_of_their_shares(tmp_path, capfd):
    source, target = (digits(name, num_samples=(60, 200), eval_batch_size=4) for name in ("mnist", "mnist_m"))
    data = AdaptationDataModule(source, target, batches_per_epoch=2)
    options = {"devices": 2, "strategy": "ddp_fork", "limit_val_batches": 1.0}
    fit(tiny_method(), data, TargetFreeScores(), SavesRows(tmp_path), **options)
    (first, logged), (second, also_logged) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert logged == also_logged
    assert first != second
    assert logged == pytest.approx({key: (first[key] + second[key]) / 2 for key in first}, rel=1e-4, abs=1e-5)
    assert capfd.readouterr().out.count("selected without its labels") == 1
