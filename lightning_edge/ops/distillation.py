"""Learning from the scores of another net."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def distillation_loss(
    scores: Float[Tensor, "batch classes *place"],
    teacher: Float[Tensor, "batch classes *place"],
) -> Float[Tensor, ""]:
    """Mean divergence (Kullback-Leibler, nats) of the classes by ``scores`` from those by ``teacher``.

    Hinton et al. 2015, arXiv:1503.02531, at temperature 1. No label is needed, and no gradient reaches the teacher.
    """
    log_student, log_teacher = F.log_softmax(scores, dim=1), F.log_softmax(teacher.detach(), dim=1)
    return (log_teacher.exp() * (log_teacher - log_student)).sum(1).mean()
