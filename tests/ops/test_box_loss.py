import torch
from torchvision.ops import generalized_box_iou_loss

from lightning_edge.ops.box_loss import generalized_iou_loss


def test_the_loss_and_its_gradient_are_torchvisions():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 200, 4, generator=generator, dtype=torch.float64)
    corners[..., 2:] += corners[..., :2] + 0.01
    corners *= 100  # pixels
    boxes, target = corners[0].requires_grad_(), corners[1]
    losses = generalized_iou_loss(boxes, target), generalized_box_iou_loss(boxes, target)
    torch.testing.assert_close(*losses, rtol=0, atol=1e-6)
    gradients = [torch.autograd.grad(loss.sum(), boxes)[0] for loss in losses]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-5)
    assert (losses[0] > 1).any()  # some do not overlap
    assert generalized_iou_loss(target, target).abs().max() < 1e-4


def test_boxes_without_an_area_give_finite_gradients():
    """Where no object is, the target is (0, 0, 0, 0), and its weight 0 must not meet a NaN."""
    boxes = torch.tensor([[0.0, 0, 0, 0], [3, 3, 3, 3], [-5, -5, 900, 900], [0, 0, 1e-4, 1e-4]], requires_grad=True)
    loss = generalized_iou_loss(boxes, torch.zeros(4, 4))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert boxes.grad.isfinite().all()


def test_any_axes_before_the_sides():
    boxes = torch.tensor([[[0.0, 0, 2, 2]], [[4, 0, 6, 2]]])
    actual = generalized_iou_loss(boxes, torch.tensor([0.0, 0, 2, 2]).expand(2, 1, 4))
    # alike: 0; apart: of a hull of 12, 4 are in neither
    torch.testing.assert_close(actual, torch.tensor([[0.0], [1 + 4 / 12]]))
