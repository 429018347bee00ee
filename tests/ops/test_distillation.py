import torch
from torch import nn

from lightning_edge.ops.distillation import distillation_loss


def scores(seed):
    return torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_nothing_is_to_be_learnt_from_oneself():
    assert distillation_loss(scores(0), scores(0) + 3.0).abs() < 1e-12  # a constant changes no probability


def test_equals_torchs_divergence():
    student, teacher = [s.log_softmax(1).permute(0, 2, 3, 1).flatten(0, 2) for s in map(scores, (0, 1))]
    expected = nn.KLDivLoss(reduction="batchmean", log_target=True)(student, teacher)
    torch.testing.assert_close(distillation_loss(scores(0), scores(1)), expected)


def test_the_teacher_does_not_learn():
    student, teacher = scores(0).requires_grad_(), scores(1).requires_grad_()
    distillation_loss(student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
