"""What all losses have in common: gradients, precision and refused values."""

from functools import partial

import pytest
import torch
from domain_features import normal, two_domains

from lightning_edge.ops.adaptation.adversarial import (
    classifier_discrepancy,
    domain_cross_entropy,
    margin_disparity_loss,
)
from lightning_edge.ops.adaptation.central_moments import central_moment_discrepancy
from lightning_edge.ops.adaptation.class_confusion import class_confusion
from lightning_edge.ops.adaptation.class_discrepancy import contrastive_domain_discrepancy, local_mmd
from lightning_edge.ops.adaptation.coral import coral, log_coral
from lightning_edge.ops.adaptation.entropy import batch_nuclear_norm, mean_entropy, mutual_information
from lightning_edge.ops.adaptation.finite_loss import finite_loss
from lightning_edge.ops.adaptation.mmd import joint_mmd, linear_time_mmd, mmd
from lightning_edge.ops.adaptation.separation import difference_loss, scale_invariant_mse
from lightning_edge.ops.adaptation.transport import joint_transport_cost

LABELS, PREDICTED = torch.tensor([0, 1, 2, 0, 1, 2, 0]), torch.tensor([0, 1, 2, 2, 1])


def joint(source, target):
    return joint_mmd([source, 2 * source[:, :2]], [target, 2 * target[:, :2]], bandwidth=2.0)


def disparity(logits):
    return margin_disparity_loss(normal(4, 7, 3), logits, normal(5, 7, 3), logits.flip(0))


OF_TWO_DOMAINS = {
    "mmd": partial(mmd, bandwidth=2.0),
    "unbiased mmd": partial(mmd, bandwidth=2.0, is_unbiased=True),
    "linear-time mmd": partial(linear_time_mmd, bandwidth=2.0),
    "joint mmd": joint,
    "coral": coral,
    "log coral": log_coral,
    "central moments": central_moment_discrepancy,
    "contrastive": partial(
        contrastive_domain_discrepancy,
        source_labels=LABELS,
        target_labels=PREDICTED,
        num_classes=3,
        bandwidth=2.0,
    ),
    "local mmd": partial(
        local_mmd, source_labels=LABELS, target_probabilities=normal(3, 5, 3).softmax(1), bandwidth=2.0
    ),
    "transport": partial(joint_transport_cost, source_labels=LABELS, target_logits=normal(3, 5, 3)),
}
OF_ONE_BATCH = {
    "mean entropy": mean_entropy,
    "mutual information": mutual_information,
    "nuclear norm": batch_nuclear_norm,
    "class confusion": class_confusion,
    "domain cross-entropy": partial(domain_cross_entropy, is_source=True, weights=torch.arange(1.0, 8)),
    "classifier discrepancy": partial(classifier_discrepancy, second_logits=normal(4, 7, 3)),
    "margin disparity": disparity,
    "scale-invariant error": partial(scale_invariant_mse, target=normal(4, 7, 3)),
    "difference": partial(difference_loss, private=normal(4, 7, 2)),
}
CASES = [pytest.param(loss, two_domains(), id=name) for name, loss in OF_TWO_DOMAINS.items()]
CASES += [pytest.param(loss, two_domains()[:1], id=name) for name, loss in OF_ONE_BATCH.items()]


@pytest.fixture(autouse=True)
def _transport():
    pytest.importorskip("ot")


def leaves(batches, dtype=torch.float64):
    return [batch.to(dtype, copy=True).requires_grad_() for batch in batches]


def lowered(loss, dtype):
    """The same loss with its options in a precision too."""
    if not isinstance(loss, partial):
        return loss
    options = {
        name: value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for name, value in loss.keywords.items()
    }
    return partial(loss.func, **options)


@pytest.mark.parametrize(("loss", "batches"), [case for case in CASES if case.id != "class confusion"])
def test_gradients_are_those_of_finite_differences(loss, batches):
    assert torch.autograd.gradcheck(loss, leaves(batches))


@pytest.mark.parametrize(("loss", "batches"), CASES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(loss, batches, dtype):
    inputs = leaves(batches, dtype)
    loss = lowered(loss, dtype)
    result = loss(*inputs)
    expected = lowered(loss, torch.float64)(*leaves(inputs))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), expected, rtol=1e-4, atol=1e-5)
    result.backward()
    assert all(leaf.grad.dtype == dtype and leaf.grad.isfinite().all() for leaf in inputs)


@pytest.mark.parametrize(("loss", "batches"), CASES)
def test_autocast_changes_nothing(loss, batches):
    inputs = leaves(batches, torch.float32)
    loss = lowered(loss, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = loss(*inputs)
    torch.testing.assert_close(result, loss(*inputs), rtol=0, atol=0)


@pytest.mark.parametrize(("loss", "batches"), CASES)
def test_gradients_are_finite_where_all_samples_are_equal(loss, batches):
    inputs = leaves([torch.full_like(batch, 0.3) for batch in batches])
    loss(*inputs).backward()
    assert all(leaf.grad.isfinite().all() for leaf in inputs)


@pytest.mark.parametrize(("loss", "batches"), CASES)
def test_nan_is_refused(loss, batches):
    inputs = leaves(batches)
    with torch.no_grad():
        inputs[-1][2, 1] = torch.nan
    with pytest.raises(ValueError, match=r"expected finite values as \w+ of \w+, got [12] of \d+ that are NaN or"):
        loss(*inputs)


@pytest.mark.parametrize("loss", [mmd, coral, log_coral, central_moment_discrepancy])
def test_infinite_features_are_refused(loss):
    source, target = two_domains()
    source[0, 0] = -torch.inf
    with pytest.raises(ValueError, match=r"expected finite values as source of .*, got 1 of 21"):
        loss(source, target)


def test_float64_stays():
    assert mmd(*two_domains()).dtype == torch.float64


def test_an_overflow_is_refused_with_a_remedy():
    large = normal(0, 4, 3, dtype=torch.float32) * 1e30
    with pytest.raises(ValueError, match=r"expected arguments whose coral is finite, got .*; scale the largest"):
        coral(large, large)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match=r"expected one or more values as logits of mean_entropy, got shape \[0, 3\]"):
        mean_entropy(torch.zeros(0, 3))


def test_the_decorated_function_keeps_its_name():
    @finite_loss
    def total(values):
        """Sum."""
        return values.sum()

    assert (total.__name__, total.__doc__) == ("total", "Sum.")
