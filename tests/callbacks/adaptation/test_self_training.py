"""The term of the mean teacher, for classes of images."""

import pytest
import torch
import torch.nn.functional as F
from adaptation_runs import Foreign
from domain_pairs import fit, tiny_method, two_digits, weights_of
from settings import (
    make_office_caltech,
)
from teacher_runs import AfterSteps, Terms, assert_equal, explicit_term, norm_method, running_means, watch
from torch import nn
from torch.func import functional_call

from callbacks.adaptation import MeanTeacher
from lightning_edge.data import AdaptationDataModule


@pytest.mark.parametrize("decay", [0.0, 0.6, 0.999])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_teacher_is_the_running_mean_of_the_weights_after_steps(decay, accumulated):
    steps, callback = AfterSteps(), MeanTeacher(threshold=0.05, decay=decay)
    witness = watch(
        norm_method(),
        two_digits(batches_per_epoch=4),
        steps,
        callback,
        max_epochs=2,
        accumulate_grad_batches=accumulated,
    )
    assert len(witness.teachers) == 8
    assert len(steps.weights) == 8 // accumulated + 1
    means = running_means(steps.weights, decay)
    for batch, teacher in enumerate(witness.teachers, 1):
        expected = means[batch // accumulated]
        assert_equal({name: teacher[name].double() for name in expected}, expected, rtol=1e-4, atol=1e-6)
    if decay == 0.999:  # which has no effect in the first steps
        mean = {name: torch.stack([w[name] for w in steps.weights]).mean(0) for name in steps.weights[0]}
        assert_equal({name: witness.teachers[-1][name] for name in mean}, mean, rtol=1e-4, atol=1e-6)
    if decay == 0.0:
        latest = steps.weights[-1]
        assert_equal({name: witness.teachers[-1][name] for name in latest}, latest, rtol=1e-5, atol=1e-6)


def test_the_teacher_sees_the_target_and_the_module_a_changed_one():
    callback = MeanTeacher(threshold=0.05)
    witness = watch(norm_method(), two_digits(batches_per_epoch=3), callback)
    for (batch, target, *_), seen in zip(witness.batches, witness.seen, strict=True):
        source_pass, teacher_pass, target_pass = seen  # the third one is recorded
        assert torch.equal(source_pass, batch["image"])
        assert torch.equal(teacher_pass, target)
        assert target_pass.shape == target.shape
        assert not torch.allclose(target_pass, target, atol=0.05)


def test_the_term_is_the_cross_entropy_of_confident_labels():
    shares = set()
    for threshold in (0.05, 0.15, 0.17, 0.19, 0.9):
        callback, terms = MeanTeacher(weight=0.7, threshold=threshold, ramp=False), Terms()
        witness = watch(norm_method(), two_digits(batches_per_epoch=3), terms, callback)
        for (_, target, net, state), seen, values in zip(witness.batches, witness.seen, terms.values, strict=True):
            names = callback.nets._names
            expected = 0.7 * float(explicit_term(net, state, names, target, seen[2], threshold))
            assert values["train/mean_teacher"] == pytest.approx(expected, rel=1e-4, abs=1e-6)
            shares.add(values["train/confident_share"])
    assert {0, 1} < shares <= {0, 0.25, 0.5, 0.75, 1}


def test_with_a_threshold_of_1_nothing_is_learned_from_the_target():
    plain, method, terms = tiny_method(), tiny_method(), Terms()
    data = two_digits(batches_per_epoch=3)
    fit(plain, data)
    fit(method, two_digits(batches_per_epoch=3), MeanTeacher(threshold=1.0), terms)
    assert_equal(weights_of(method), weights_of(plain))
    assert all(values["train/mean_teacher"] == 0 for values in terms.values)
    assert all(values["train/confident_share"] == 0 for values in terms.values)


def test_the_ramp_starts_with_0():
    terms = Terms()
    fit(tiny_method(), two_digits(batches_per_epoch=3), MeanTeacher(threshold=0.05), terms)
    values = [value["train/mean_teacher"] for value in terms.values]
    assert values[0] == 0
    assert 0 < values[1] < values[2] + 1


def test_statistics_of_the_teacher_are_its_own():
    callback, method = MeanTeacher(threshold=0.05), norm_method()
    witness = watch(method, two_digits(batches_per_epoch=4), callback)
    mean, count = torch.zeros(8), 0
    for _, target, net, state in witness.batches:
        weights = {name.removeprefix("net."): state[own].clone() for name, own in callback.nets._names.items()}
        features = functional_call(
            net.body[0], {n.removeprefix("body.0."): w for n, w in weights.items() if n.startswith("body.0.")}, target
        )
        mean, count = 0.9 * mean + 0.1 * features.mean(0), count + 1
    teacher = witness.teachers[-1]
    assert_equal(teacher["net.body.1.running_mean"], mean, rtol=1e-4, atol=1e-6)
    assert int(teacher["net.body.1.num_batches_tracked"]) == count == 4
    assert int(method.net.body[1].num_batches_tracked) == 8  # source and changed target
    assert not torch.allclose(method.net.body[1].running_mean, mean, atol=1e-3)


class OfFeatures(Foreign):
    def __init__(self):
        super().__init__()
        self.features = nn.Linear(800, 8)

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch["features"]), batch["label"])


def test_batches_without_images_are_refused():
    data = AdaptationDataModule(make_office_caltech(), make_office_caltech())
    with pytest.raises(ValueError, match=r"expected batches of images .* for MeanTeacher, got shape \[4, 800\]"):
        fit(OfFeatures(), data, MeanTeacher(), limit_train_batches=1)


class ReturnsDict(Foreign):
    def forward(self, images):
        return {"logits": super().forward(images)}

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch["image"])["logits"], batch["label"])


def test_outputs_that_are_no_logits_are_refused():
    message = "expected forward of ReturnsDict to return logits of classes for MeanTeacher, got dict"
    with pytest.raises(ValueError, match=message):
        fit(ReturnsDict(), two_digits(), MeanTeacher(), limit_train_batches=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.1}, r"expected threshold within \[0, 1\], got 1\.1"),
        ({"threshold": float("nan")}, r"expected threshold within \[0, 1\], got nan"),
        ({"decay": -0.1}, r"expected decay within \[0, 1\], got -0\.1"),
        ({"seed": -1}, "expected seed of at least 0, got -1"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MeanTeacher(**options)
