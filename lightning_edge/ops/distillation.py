"""Learning from the logits of another net."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def distillation_loss(
    logits: Float[Tensor, "batch classes *place"],
    teacher: Float[Tensor, "batch classes *place"],
) -> Float[Tensor, ""]:
    """Mean Kullback-Leibler divergence, in nats, of the student's class probabilities from the teacher's.

    Both arguments are logits. The source is Hinton et al. 2015, arXiv:1503.02531, at temperature 1. No labels are
    needed, and no gradient reaches the teacher.
    """
    log_student, log_teacher = F.log_softmax(logits, dim=1), F.log_softmax(teacher.detach(), dim=1)
    return (log_teacher.exp() * (log_teacher - log_student)).sum(1).mean()
