import inspect
import math

import pytest
import torch
import torch.nn.functional as F
from domain_features import normal

from lightning_edge.ops.adaptation.adversarial import (
    classifier_discrepancy,
    domain_confusion,
    domain_cross_entropy,
    domain_loss,
    margin_disparity_loss,
    multilinear_map,
    randomized_multilinear_map,
)


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 1, 2, 3)])
@pytest.mark.parametrize("is_source", [True, False])
def test_cross_entropy_is_that_of_torch(shape, is_source):
    logits, weights = normal(0, *shape), torch.arange(6, dtype=torch.float64)
    target = torch.full_like(logits, float(is_source))
    expected = F.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(domain_cross_entropy(logits, is_source), expected)
    repeated = weights.reshape(-1, *[1] * (len(shape) - 1)).expand_as(logits)
    expected = F.binary_cross_entropy_with_logits(logits, target, weight=repeated, reduction="sum") / repeated.sum()
    torch.testing.assert_close(domain_cross_entropy(logits, is_source, weights), expected)


def test_cross_entropy_of_extreme_logits_is_finite():
    logits = torch.tensor([1e4, -1e4], requires_grad=True)
    domain_loss(logits, logits).backward()
    assert logits.grad.isfinite().all()


def test_domains_count_the_same():
    source, target = normal(0, 6), normal(1, 2)
    halves = domain_cross_entropy(source, True) + domain_cross_entropy(target, False)
    torch.testing.assert_close(domain_loss(source, target), halves / 2)
    torch.testing.assert_close(domain_loss(source, target), domain_loss(source, torch.cat([target, target])))


def test_a_scale_of_the_weights_of_a_domain_changes_nothing():
    source, target, weights = normal(0, 6), normal(1, 2), torch.arange(6, dtype=torch.float64)
    torch.testing.assert_close(
        domain_loss(source, target, source_weights=9 * weights), domain_loss(source, target, source_weights=weights)
    )


def test_an_undecided_discriminator_by_hand():
    assert domain_loss(torch.zeros(3), torch.zeros(2)).item() == pytest.approx(math.log(2))
    assert domain_confusion(torch.zeros(3), torch.zeros(2)).item() == pytest.approx(math.log(2))


def test_confusion_is_cross_entropy_with_both_domains_alike():
    source, target = normal(0, 6), normal(1, 2)
    expected = [F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, 0.5)) for logits in (source, target)]
    torch.testing.assert_close(domain_confusion(source, target), sum(expected) / 2)
    assert domain_confusion(source, target) > math.log(2)


def test_weights_are_one_a_sample_and_not_all_0():
    with pytest.raises(ValueError, match="expected weights of each of 6 samples, got 2"):
        domain_cross_entropy(normal(0, 6), True, normal(1, 2).abs())
    with pytest.raises(ValueError, match="expected arguments whose domain_cross_entropy is finite, got nan"):
        domain_cross_entropy(normal(0, 6), True, torch.zeros(6))


def test_the_multilinear_map_is_an_outer_product():
    features, probabilities = normal(0, 4, 3), normal(1, 4, 2).softmax(1)
    expected = torch.stack([torch.outer(p, f).flatten() for f, p in zip(features, probabilities, strict=True)])
    torch.testing.assert_close(multilinear_map(features, probabilities), expected)


def test_the_randomized_map_keeps_inner_products_on_average():
    features, probabilities = normal(0, 2, 3), normal(1, 2, 4).softmax(1)
    exact = multilinear_map(features, probabilities)
    size = 200_000
    random = randomized_multilinear_map(features, probabilities, normal(2, 3, size), normal(3, 4, size))
    torch.testing.assert_close(random @ random.T, exact @ exact.T, rtol=0.05, atol=0.01)


def test_maps_keep_half_precision():
    features, probabilities = normal(0, 4, 3).half(), normal(1, 4, 2).softmax(1).half()
    assert multilinear_map(features, probabilities).dtype == torch.float16
    projected = randomized_multilinear_map(features, probabilities, normal(2, 3, 8).half(), normal(3, 2, 8).half())
    assert projected.dtype == torch.float16


@pytest.mark.parametrize("place", [(), (2, 3)])
def test_classifier_discrepancy_is_the_mean_absolute_difference(place):
    first, second = normal(0, 4, 3, *place), normal(1, 4, 3, *place)
    expected = F.l1_loss(first.softmax(1), second.softmax(1))
    torch.testing.assert_close(classifier_discrepancy(first, second), expected)
    assert classifier_discrepancy(first, first + 5) < 1e-12


def test_classifier_discrepancy_by_hand():
    logits = torch.tensor([[50.0, 0.0]])
    assert classifier_discrepancy(logits, -logits).item() == pytest.approx(1)


@pytest.mark.parametrize("place", [(), (2, 3)])
def test_margin_disparity_equals_a_loop(place):
    source, source_adversary, target, target_adversary = (normal(seed, 4, 3, *place) for seed in range(4))

    def columns(logits):
        return logits.movedim(1, -1).reshape(-1, 3)

    def probabilities(logits, adversary):
        return torch.stack([a.softmax(0)[p.argmax()] for p, a in zip(columns(logits), columns(adversary), strict=True)])

    expected = -4 * probabilities(source, source_adversary).log().mean()
    expected -= (1 - probabilities(target, target_adversary)).log().mean()
    torch.testing.assert_close(margin_disparity_loss(source, source_adversary, target, target_adversary), expected)


def test_margin_disparity_is_finite_for_a_certain_adversary():
    logits = torch.tensor([[200.0, 0.0, -200.0]])
    adversary = logits.clone().requires_grad_()
    loss = margin_disparity_loss(logits, adversary, logits, adversary)
    loss.backward()
    assert loss.item() == pytest.approx(200)  # -log(exp(-200) / 1)
    assert adversary.grad.isfinite().all()


def test_margin_disparity_gives_the_main_classifier_no_gradient():
    main, adversary = normal(0, 4, 3).requires_grad_(), normal(1, 4, 3).requires_grad_()
    margin_disparity_loss(main, adversary, main, adversary).backward()
    assert main.grad is None
    assert adversary.grad.abs().sum() > 0


def test_margin_disparity_needs_two_classes():
    logits = torch.zeros(4, 1)
    with pytest.raises(ValueError, match="expected num_classes of at least 2, got 1"):
        inspect.unwrap(margin_disparity_loss)(logits, logits, logits, logits)
