import math

import pytest
import torch
from domain_features import normal

from lightning_edge.ops.adaptation.class_confusion import class_confusion


def slow_confusion(logits, temperature, entropies=None):
    """The formulas of the paper, one pair of classes after the other."""
    probabilities = (logits / temperature).softmax(1)
    num, classes = probabilities.shape
    entropies = [-sum(p * p.log() for p in row) for row in (probabilities if entropies is None else entropies)]
    total = sum(1 + torch.exp(-value) for value in entropies)
    weights = [num * (1 + torch.exp(-value)) / total for value in entropies]

    def correlation(j, k):
        return sum(weights[i] * probabilities[i, j] * probabilities[i, k] for i in range(num))

    rows = [[correlation(j, k) for k in range(classes)] for j in range(classes)]
    return sum(rows[j][k] / sum(rows[j]) for j in range(classes) for k in range(classes) if j != k) / classes


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_equals_loops(temperature):
    logits = normal(0, 6, 3)
    torch.testing.assert_close(class_confusion(logits, temperature), slow_confusion(logits, temperature))


def test_the_gradient_leaves_out_the_weights():
    logits, same = normal(0, 6, 3).requires_grad_(), normal(0, 6, 3).requires_grad_()
    class_confusion(logits, 1.0).backward()
    slow_confusion(same, 1.0, entropies=same.detach().softmax(1)).backward()
    torch.testing.assert_close(logits.grad, same.grad)


def test_by_hand():
    # equal probabilities: each of 4 classes confuses itself with 3 others in 3 of 4 cases
    assert class_confusion(torch.zeros(5, 4)).item() == pytest.approx(3 / 4)
    assert class_confusion(1000 * torch.eye(4)).item() == pytest.approx(0)


def test_a_class_without_samples_is_no_division_by_0():
    logits = torch.tensor([[1000.0, 0.0, 0.0]], requires_grad=True)
    loss = class_confusion(logits, temperature=1.0)
    loss.backward()
    assert loss == 0
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_is_above_0(temperature):
    with pytest.raises(ValueError, match="expected temperature above 0, got"):
        class_confusion(torch.zeros(5, 4), temperature)


def test_rare_classes_count_in_single_precision_as_in_double():
    logits = torch.full((4, 1000), -40.0)
    logits[:, 0] = 40.0
    single, double = class_confusion(logits, temperature=2.5), class_confusion(logits.double(), temperature=2.5)
    assert double > 0.9
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=0)
