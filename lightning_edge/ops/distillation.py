"""Learning from the scores of another net."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def distillation_loss(
    scores: Float[Tensor, "batch classes *place"],
    teacher: Float[Tensor, "batch classes *place"],
    temperature: float = 1.0,
) -> Float[Tensor, ""]:
    """Mean divergence (Kullback-Leibler, nats) of the classes by ``scores`` from those by ``teacher``.

    Hinton et al. 2015, arXiv:1503.02531, with their factor ``temperature ** 2``, which keeps gradients as large as they
    are at temperature 1. No label is needed, and no gradient reaches the teacher.
    """
    log_student = F.log_softmax(scores / temperature, dim=1)
    log_teacher = F.log_softmax(teacher.detach() / temperature, dim=1)
    divergence = (log_teacher.exp() * (log_teacher - log_student)).sum(1)
    return divergence.mean() * temperature**2
