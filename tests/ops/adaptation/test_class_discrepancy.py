import inspect
import math

import pytest
import torch
from domain_features import normal, two_domains

from lightning_edge.ops.adaptation.class_discrepancy import contrastive_domain_discrepancy, local_mmd
from lightning_edge.ops.adaptation.mmd import mmd

SOURCE_LABELS, TARGET_LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0]), torch.tensor([0, 1, 2, 2, 1])
OPTIONS = {"multiples": [1.0], "bandwidth": 2.0}


def slow_discrepancy(source, target, source_weights, target_weights):
    """Squared discrepancy of weighted samples, one pair after the other."""

    def mean(first, second, weights, others):
        return sum(
            w * v * math.exp(-((a - b) ** 2).sum() / 2)
            for a, w in zip(first, weights, strict=True)
            for b, v in zip(second, others, strict=True)
        ) / (sum(weights) * sum(others))

    return (
        mean(source, source, source_weights, source_weights)
        + mean(target, target, target_weights, target_weights)
        - 2 * mean(source, target, source_weights, target_weights)
    )


def between(source, target, source_class, target_class):
    weights = SOURCE_LABELS.eq(source_class).double().tolist(), TARGET_LABELS.eq(target_class).double().tolist()
    return slow_discrepancy(source, target, *weights)


def test_contrastive_discrepancy_equals_loops():
    source, target = two_domains()
    result = contrastive_domain_discrepancy(source, target, SOURCE_LABELS, TARGET_LABELS, 3, **OPTIONS)
    within = sum(between(source, target, c, c) for c in range(3)) / 3
    across = sum(between(source, target, c, d) for c in range(3) for d in range(3) if c != d) / 6
    assert result.item() == pytest.approx(float(within - across), rel=1e-12)


def test_contrastive_discrepancy_counts_classes_of_both_domains():
    source, target = two_domains()
    labels = torch.tensor([0, 1, -1, -1, 1])  # class 2 is missing
    result = contrastive_domain_discrepancy(source, target, SOURCE_LABELS, labels, 3, bandwidth=2.0)
    without_2 = SOURCE_LABELS < 2
    expected = contrastive_domain_discrepancy(
        source[without_2], target[labels >= 0], SOURCE_LABELS[without_2], labels[labels >= 0], 2, bandwidth=2.0
    )
    torch.testing.assert_close(result, expected)


def test_contrastive_discrepancy_of_one_class_is_mmd():
    source, target = two_domains()
    zeros = torch.zeros(7, dtype=torch.int64), torch.zeros(5, dtype=torch.int64)
    torch.testing.assert_close(contrastive_domain_discrepancy(source, target, *zeros, 1), mmd(source, target))


def test_contrastive_discrepancy_prefers_the_right_classes():
    means = 4 * torch.eye(3, dtype=torch.float64)
    source, target = means[SOURCE_LABELS] + 0.1 * normal(0, 7, 3), means[TARGET_LABELS] + 0.1 * normal(1, 5, 3)
    right = contrastive_domain_discrepancy(source, target, SOURCE_LABELS, TARGET_LABELS, 3)
    wrong = contrastive_domain_discrepancy(source, target, SOURCE_LABELS, (TARGET_LABELS + 1) % 3, 3)
    assert right < 0 < wrong


def test_without_common_classes_the_loss_and_its_gradients_are_0():
    source, target = (features.requires_grad_() for features in two_domains())
    labels = torch.full((5,), -1)
    loss = contrastive_domain_discrepancy(source, target, SOURCE_LABELS, labels, 3)
    loss.backward()
    assert loss == 0
    assert source.grad.abs().sum() == target.grad.abs().sum() == 0


def test_local_mmd_equals_loops():
    source, target = two_domains()
    probabilities = normal(2, 5, 3).softmax(1)
    result = local_mmd(source, target, SOURCE_LABELS, probabilities, **OPTIONS)
    expected = [
        slow_discrepancy(source, target, SOURCE_LABELS.eq(c).double().tolist(), probabilities[:, c].tolist())
        for c in range(3)
    ]
    assert result.item() == pytest.approx(float(sum(expected) / 3), rel=1e-12)


def test_local_mmd_leaves_out_classes_without_source_samples():
    source, target = two_domains()
    probabilities = normal(2, 5, 4).softmax(1)
    with_one_more = local_mmd(source, target, SOURCE_LABELS, probabilities)
    torch.testing.assert_close(local_mmd(source, target, SOURCE_LABELS, probabilities[:, :3]), with_one_more)


def test_local_mmd_of_equal_sets_is_0():
    source, _ = two_domains()
    labels = torch.nn.functional.one_hot(SOURCE_LABELS).double()
    assert local_mmd(source, source.flip(0), SOURCE_LABELS, labels.flip(0)).abs() < 1e-12


def test_probabilities_get_no_gradient():
    source, target = two_domains()
    probabilities = normal(2, 5, 3).softmax(1).requires_grad_()
    local_mmd(source.requires_grad_(), target, SOURCE_LABELS, probabilities).backward()
    assert probabilities.grad is None


def test_a_batch_with_fewer_samples_than_classes_is_refused():
    source, target = two_domains()
    with pytest.raises(ValueError, match="expected 6 or more samples as target, got 5; enlarge its batch"):
        contrastive_domain_discrepancy(source, target, SOURCE_LABELS, TARGET_LABELS, 6)


def test_missing_labels_are_refused():
    source, target = two_domains()
    with pytest.raises(ValueError, match="expected target_labels of each of 5 samples, got 4"):
        inspect.unwrap(contrastive_domain_discrepancy)(source, target, SOURCE_LABELS, TARGET_LABELS[:4], 3)
    with pytest.raises(ValueError, match="expected target_probabilities of each of 5 samples, got 4"):
        inspect.unwrap(local_mmd)(source, target, SOURCE_LABELS, torch.ones(4, 3))
