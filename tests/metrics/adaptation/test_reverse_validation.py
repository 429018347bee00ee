import numpy as np
import pytest
import torch

from lightning_edge.metrics.adaptation.reverse_validation import reverse_accuracy


def blobs(labels, seed=0, noise=0.1):
    """Features around one corner of a square for each class."""
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    generator = torch.Generator().manual_seed(seed)
    return corners[labels] + noise * torch.randn(len(labels), 2, generator=generator)


LABELS = torch.arange(80) % 4


def logits_of(labels):
    return torch.nn.functional.one_hot(labels, 4).float()


def test_right_predictions_for_the_target_give_the_accuracy_of_a_classifier():
    assert reverse_accuracy(blobs(LABELS), LABELS, blobs(LABELS, 1), logits_of(LABELS)) == 1


def test_classes_that_are_exchanged_in_the_target_are_wrong_in_the_source():
    exchanged = torch.tensor([1, 0, 2, 3])[LABELS]
    assert reverse_accuracy(blobs(LABELS), LABELS, blobs(LABELS, 1), logits_of(exchanged)) == 0.5
    rotated = (LABELS + 1) % 4
    assert reverse_accuracy(blobs(LABELS), LABELS, blobs(LABELS, 1), logits_of(rotated)) == 0


def test_it_is_the_accuracy_of_logistic_regression_that_is_fitted_by_gradient_descent():
    predicted = torch.where(torch.arange(80) % 7 == 0, (LABELS + 1) % 4, LABELS)
    source, target = blobs(LABELS, noise=0.5), blobs(LABELS, 1, noise=0.5)
    mean, std = target.double().mean(0), target.double().std(0, correction=0)
    scaled = (target.double() - mean) / std
    weights = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        sum_of_losses = torch.nn.functional.cross_entropy(scaled @ weights + bias, predicted, reduction="sum")
        value = sum_of_losses + weights.square().sum() / 2  # scikit-learn's default penalty
        value.backward()
        return value

    optimizer.step(loss)
    classes = ((source.double() - mean) / std @ weights + bias).argmax(1)
    expected = float((classes == LABELS).double().mean())
    assert 0.4 < expected < 1
    actual = reverse_accuracy(source, LABELS, target, logits_of(predicted))
    assert actual == pytest.approx(expected, abs=1e-12)


def test_scales_and_offsets_of_features_do_not_matter():
    source, target = blobs(LABELS, noise=0.5).double(), blobs(LABELS, 1, noise=0.5).double()
    factors, offset = torch.tensor([100.0, 0.01]), 3.0
    plain = reverse_accuracy(source, LABELS, target, logits_of(LABELS))
    scaled = reverse_accuracy(source * factors + offset, LABELS, target * factors + offset, logits_of(LABELS))
    assert scaled == pytest.approx(plain)


def test_one_predicted_class_gives_its_share():
    labels = torch.tensor([0, 0, 0, 1, 2])
    logits = torch.tensor([[0.0, 0.0, 1.0, 0.0]]).expand(6, 4)
    actual = reverse_accuracy(torch.rand(5, 3), labels, torch.rand(6, 3), logits)
    assert actual == pytest.approx(1 / 5)


def test_classes_that_the_target_lacks_are_wrong():
    target = torch.tensor([0, 1] * 20)
    actual = reverse_accuracy(blobs(LABELS), LABELS, blobs(target, 1), logits_of(target))
    assert actual <= 0.5
    assert actual == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("name", ["source_features", "target_features", "target_logits"])
def test_bad_rows_are_named(name):
    arguments = {
        "source_features": blobs(LABELS),
        "source_labels": LABELS,
        "target_features": blobs(LABELS),
        "target_logits": logits_of(LABELS),
    }
    damaged = arguments[name].clone()
    damaged[3, 0] = np.inf
    with pytest.raises(ValueError, match=f"expected finite values in {name}, .* in 1 of 80 rows"):
        reverse_accuracy(**arguments | {name: damaged})


def test_some_rows_are_needed():
    with pytest.raises(ValueError, match="expected at least 1 rows of source_features, got 0"):
        reverse_accuracy(blobs(LABELS)[:0], LABELS[:0], blobs(LABELS), logits_of(LABELS))
    with pytest.raises(ValueError, match="expected at least 1 rows of target_features, got 0"):
        reverse_accuracy(blobs(LABELS), LABELS, blobs(LABELS)[:0], logits_of(LABELS)[:0])
