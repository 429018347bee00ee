import inspect
import itertools
import sys

import pytest
import torch
import torch.nn.functional as F
from domain_features import normal, two_domains

from lightning_edge.ops.adaptation.transport import joint_transport_cost

LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0])


def costs(source, target, labels, logits, feature_weight, class_weight):
    distances = torch.stack([torch.stack([(s - t).square().sum() for t in target]) for s in source])
    errors = torch.stack([F.cross_entropy(logits, label.expand(len(logits)), reduction="none") for label in labels])
    return feature_weight * distances + class_weight * errors


def test_equals_pot_in_value_and_gradient():
    ot = pytest.importorskip("ot")
    inputs, same = [[features.requires_grad_() for features in (*two_domains(), normal(2, 5, 3))] for _ in range(2)]
    cost = joint_transport_cost(inputs[0], inputs[1], LABELS, inputs[2], feature_weight=0.3, class_weight=2.0)
    cost.backward()
    matrix = costs(same[0], same[1], LABELS, same[2], 0.3, 2.0)
    uniform = torch.full((7,), 1 / 7, dtype=torch.float64), torch.full((5,), 1 / 5, dtype=torch.float64)
    expected = ot.emd2(*uniform, matrix)
    expected.backward()
    torch.testing.assert_close(cost, expected)
    for leaf, other in zip(inputs, same, strict=True):
        torch.testing.assert_close(leaf.grad, other.grad)


def test_is_the_least_of_all_assignments():
    pytest.importorskip("ot")
    source, target = two_domains(source=5)
    logits = normal(2, 5, 3)
    matrix = costs(source, target, LABELS[:5], logits, 1.0, 1.0)
    expected = min(
        sum(matrix[i, j] for i, j in enumerate(assignment)) / 5 for assignment in itertools.permutations(range(5))
    )
    torch.testing.assert_close(joint_transport_cost(source, target, LABELS[:5], logits), expected)


def test_equal_sets_with_certain_predictions_cost_nothing():
    pytest.importorskip("ot")
    source, _ = two_domains()
    logits = 100 * F.one_hot(LABELS).double()
    assert joint_transport_cost(source, source.flip(0), LABELS, logits.flip(0)).abs() < 1e-12


def test_without_pot_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ImportError, match=r'pip install "lightning-edge\[adaptation\]"'):
        joint_transport_cost(*two_domains(), LABELS, normal(2, 5, 3))


def test_bad_arguments_are_refused():
    source, target = two_domains()
    unchecked = inspect.unwrap(joint_transport_cost)  # the tests check shapes of arguments too
    with pytest.raises(ValueError, match=r"expected feature_weight of at least 0, got -1\.0"):
        joint_transport_cost(source, target, LABELS, normal(2, 5, 3), feature_weight=-1.0)
    with pytest.raises(ValueError, match="take both from the same layer"):
        unchecked(source, target[:, :2], LABELS, normal(2, 5, 3))
    with pytest.raises(ValueError, match="expected source_labels of each of 7 samples, got 6"):
        unchecked(source, target, LABELS[:6], normal(2, 5, 3))
    with pytest.raises(ValueError, match=r"expected source_labels of 0 to 2, got \[-1, 0, 1, -1"):
        joint_transport_cost(source, target, LABELS - 1, normal(2, 5, 3))
    with pytest.raises(ValueError, match="expected target_logits of each of 5 samples, got 4"):
        unchecked(source, target, LABELS, normal(2, 4, 3))
