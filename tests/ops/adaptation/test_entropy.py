import math

import numpy as np
import pytest
import torch
from domain_features import normal
from scipy.stats import entropy

from lightning_edge.ops.adaptation.entropy import (
    batch_nuclear_norm,
    class_probabilities,
    entropy_weights,
    mean_entropy,
    mutual_information,
    self_information,
    softmax_entropy,
)


@pytest.mark.parametrize("place", [(), (2, 3)])
def test_entropies_are_those_of_scipy(place):
    logits = normal(0, 4, 5, *place)
    expected = torch.from_numpy(entropy(logits.softmax(1).numpy(), axis=1))
    torch.testing.assert_close(softmax_entropy(logits), expected)
    torch.testing.assert_close(entropy_weights(logits), 1 + torch.exp(-expected))
    torch.testing.assert_close(mean_entropy(logits), expected.mean())


@pytest.mark.parametrize("place", [(), (2, 3)])
def test_mutual_information_is_the_divergence_from_the_mean(place):
    logits = normal(0, 4, 5, *place)
    probabilities = logits.softmax(1).movedim(1, -1).reshape(-1, 5).numpy()
    expected = np.mean([entropy(row, probabilities.mean(0)) for row in probabilities])
    assert mutual_information(logits).item() == pytest.approx(expected, rel=1e-12)


def test_predictions_by_hand():
    same, certain = torch.zeros(4, 4), 100 * torch.eye(4)
    assert mean_entropy(same).item() == pytest.approx(math.log(4))
    assert mean_entropy(certain).item() == pytest.approx(0)
    assert mutual_information(same).item() == pytest.approx(0, abs=1e-6)
    assert mutual_information(certain).item() == pytest.approx(math.log(4))
    assert mutual_information(certain[[0, 0, 0, 0]]).item() == pytest.approx(0, abs=1e-6)
    # all rows 1/4: one singular value of 1; the identity: four of 1
    assert batch_nuclear_norm(same).item() == pytest.approx(1 / 4)
    assert batch_nuclear_norm(certain).item() == pytest.approx(1)


def test_the_nuclear_norm_is_that_of_numpy():
    logits = normal(0, 6, 4)
    expected = np.linalg.norm(logits.softmax(1).numpy(), "nuc") / 6
    assert batch_nuclear_norm(logits).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", [mean_entropy, mutual_information, batch_nuclear_norm])
def test_gradients_of_extreme_logits_are_finite(loss):
    logits = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 1e4]], requires_grad=True)
    loss(logits).backward()
    assert logits.grad.isfinite().all()


def test_weights_have_no_gradient():
    assert not entropy_weights(normal(0, 4, 5).requires_grad_()).requires_grad


@pytest.mark.parametrize("place", [(), (2, 3)])
def test_self_information_adds_up_to_the_normalized_entropy(place):
    logits = normal(0, 4, 5, *place)
    information = self_information(logits)
    expected = torch.from_numpy(entropy(class_probabilities(logits).numpy(), axis=1)) / math.log(5)
    torch.testing.assert_close(information.sum(1), expected)
    first = logits.softmax(1)[0, 0]
    torch.testing.assert_close(information[0, 0], -first * first.log() / math.log(5))


def test_self_information_of_classes_that_do_not_exclude_each_other_is_that_of_two_outcomes():
    logits = normal(0, 4, 3)
    probability = class_probabilities(logits, exclusive=False).numpy()
    expected = entropy(np.stack([probability, 1 - probability]), base=2, axis=0)
    torch.testing.assert_close(self_information(logits, exclusive=False), torch.from_numpy(expected))


@pytest.mark.parametrize("exclusive", [True, False])
def test_self_information_of_certain_predictions_is_0_with_a_finite_gradient(exclusive):
    logits = torch.tensor([[800.0, -800.0]], requires_grad=True)
    information = self_information(logits, exclusive)
    assert information.tolist() == [[0, 0]]
    information.sum().backward()
    assert logits.grad.tolist() == [[0, 0]]
