"""Losses of domain separation networks (DSN)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lightning_edge.ops.adaptation.finite_loss import finite_loss

_LEAST_NORM = 1e-6
"""Norm below which a sample is not scaled up, so that gradients stay finite when all samples are equal."""


@finite_loss
def scale_invariant_mse(
    prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*target_shape"]
) -> Float[Tensor, ""]:
    """Mean over samples of the variance of their errors (DSN, arXiv:1608.06019).

    It is the mean squared error minus the squared mean error, so that an error that is the same in all values of a
    sample costs nothing. The first axis counts the samples.

    Raises:
        ValueError: Shapes differ, there are no samples, or a value is not finite.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"expected prediction and target of one shape, got {list(prediction.shape)} and {list(target.shape)}"
        )
    return (prediction - target).flatten(1).var(1, correction=0).mean()


@finite_loss
def difference_loss(
    shared: Float[Tensor, "shared_batch shared"], private: Float[Tensor, "private_batch private"]
) -> Float[Tensor, ""]:
    """Mean squared correlation of shared and private features, which is 0 if they are orthogonal (DSN).

    Following the code of the paper (arXiv:1608.06019), features are centered over the batch, samples are scaled to norm
    1, and the squared Frobenius norm of the correlations is divided by its number of elements.

    Args:
        shared: Features of the encoder that both domains share.
        private: Features of the encoder of this domain.

    Raises:
        ValueError: The numbers of samples differ or are below two, or a feature is not finite.
    """
    if len(shared) != len(private) or len(shared) < 2:
        raise ValueError(
            f"expected shared and private features of the same samples, two or more, "
            f"got {len(shared)} and {len(private)}"
        )
    shared, private = (
        F.normalize(features - features.mean(0), dim=1, eps=_LEAST_NORM) for features in (shared, private)
    )
    return (shared.T @ private).square().mean()
