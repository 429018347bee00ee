"""Images that are reconstructed from features."""

import pytest
import torch
from adaptation_runs import (
    Foreign,
    fit,
    fit_terms,
    make_classification,
    make_digits,
    make_street_clips,
    make_streets,
    same,
    weights,
)
from settings import make_accel, make_segmentation

from callbacks.adaptation import DRCN, DSN

BOTH = pytest.mark.parametrize("callback", [DRCN, DSN])


@BOTH
def test_a_weight_of_0_trains_the_module_as_without_it(callback, tmp_path):
    alone, beside = make_classification(), make_classification()
    fit(alone, make_digits(2), tmp_path)
    fit(beside, make_digits(2), tmp_path, callback(weight=0.0))
    assert same(weights(alone), weights(beside))


def test_drcn_is_the_squared_error_of_the_target_images(tmp_path):
    (term,) = fit_terms(DRCN(weight=0.3), make_classification(), make_digits(1), tmp_path)
    decoded = term.nets(term.pair.target.features)
    torch.testing.assert_close(term.value, 0.3 * (decoded - term.pair.target_input).square().mean())


def test_drcn_trains_the_decoder_and_the_features_of_the_target(tmp_path):
    callback = DRCN()
    (term,) = fit_terms(callback, make_classification(), make_digits(1), tmp_path)
    assert {f"adaptation_drcn.{name}" for name, _ in callback.nets.named_parameters()} < term.reached
    assert "net.net.conv1.weight" in term.reached
    assert not any(name.startswith("net.net.fc") for name in term.reached)


def test_dsn_is_the_error_and_the_difference_of_both_domains(tmp_path):
    callback = DSN(weight=0.3, difference_weight=0.7)
    (term,) = fit_terms(callback, make_classification(), make_digits(1), tmp_path)
    pair, expected = term.pair, 0
    domains = {
        "source": (pair.source.features, pair.batch["image"]),
        "target": (pair.target.features, pair.target_input),
    }
    for name, (shared, images) in domains.items():
        private = term.nets[name](images)
        errors = (term.nets["decoder"](shared + private) - images).flatten(1)
        expected += (errors.square().mean(1) - errors.mean(1).square()).mean()
        centered = [features - features.mean(0) for features in (shared, private)]
        units = [features / features.norm(dim=1, keepdim=True) for features in centered]
        expected += 0.7 * torch.stack([(units[0].T @ units[1]).square().mean()])[0]
    torch.testing.assert_close(term.value, 0.3 * expected)


def test_dsn_trains_its_nets_and_the_features(tmp_path):
    callback = DSN()
    (term,) = fit_terms(callback, make_classification(), make_digits(1), tmp_path)
    assert {f"adaptation_dsn.{name}" for name, _ in callback.nets.named_parameters()} < term.reached
    assert "net.net.conv1.weight" in term.reached
    assert not any(name.startswith("net.net.fc") for name in term.reached)


@BOTH
def test_images_of_any_size_are_reconstructed_and_clips_are_refused(callback, tmp_path):
    torch.manual_seed(0)
    (term,) = fit_terms(callback(), make_segmentation(11), make_streets(), tmp_path)
    assert torch.isfinite(term.value)
    method = make_accel(11)
    method.branch_stage_fraction = 0.0
    with pytest.raises(ValueError, match="expected batches of single images"):
        fit(method, make_street_clips(), tmp_path, callback(), limit_train_batches=1)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="expected difference_weight of at least 0, got -1"):
        DSN(difference_weight=-1)
    with pytest.raises(ValueError, match="expected shared and private features of the same samples, two or more"):
        fit(Foreign(), make_digits(1, batch_size=1), tmp_path, DSN())
