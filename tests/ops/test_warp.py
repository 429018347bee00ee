import pytest
import torch
from torch.nn import functional as F

from lightning_edge.ops.resize import resize_flow
from lightning_edge.ops.warp import warp


def _features(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _constant_flow(features, right, down):
    flow = features.new_zeros(len(features), 2, *features.shape[-2:])
    flow[:, 0], flow[:, 1] = right, down
    return flow


def test_zero_flow_changes_nothing():
    features = _features(2, 3, 5, 7)
    torch.testing.assert_close(warp(features, _constant_flow(features, 0, 0)), features, rtol=0, atol=1e-12)


def test_integer_flow_is_a_roll_inside_and_zero_outside():
    features = _features(2, 3, 6, 8)
    warped = warp(features, _constant_flow(features, 2, -1))
    torch.testing.assert_close(warped[..., 1:, :-2], features[..., :-1, 2:])
    outside = torch.cat((warped[..., 0, :].flatten(), warped[..., -2:].flatten()))
    torch.testing.assert_close(outside, torch.zeros_like(outside), rtol=0, atol=1e-12)


def test_equals_a_slow_loop_over_pixels():
    features = _features(1, 2, 5, 6)
    flow = 3 * _features(1, 2, 5, 6)
    expected = torch.zeros_like(features)
    for i in range(5):
        for j in range(6):
            x, y = j + flow[0, 0, i, j].item(), i + flow[0, 1, i, j].item()
            for row in range(5):
                for column in range(6):
                    weight = max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
                    expected[0, :, i, j] += weight * features[0, :, row, column]
    torch.testing.assert_close(warp(features, flow), expected)


def test_gradient_is_exact():
    features = _features(1, 2, 4, 5).requires_grad_()
    flow = (0.3 * _features(1, 2, 4, 5)).requires_grad_()
    assert torch.autograd.gradcheck(warp, (features, flow))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_places(dtype):
    features = _features(1, 2, 8, 300).to(dtype)
    warped = warp(features, _constant_flow(features, 1, 0))
    assert warped.dtype == dtype
    torch.testing.assert_close(warped[..., :-1], features[..., 1:], rtol=0.01, atol=0.01)


def test_an_axis_of_one_cell_moves_like_any_other():
    features = _features(1, 2, 1, 4)
    torch.testing.assert_close(warp(features, _constant_flow(features, 0, 0)), features)
    torch.testing.assert_close(warp(features, _constant_flow(features, 0, 0.25)), 0.75 * features)
    torch.testing.assert_close(warp(features, _constant_flow(features, 0, 3)), torch.zeros_like(features))


def test_resized_flow_moves_by_as_many_image_widths():
    flow = _constant_flow(torch.zeros(1, 1, 32, 64), 8.0, 4.0)
    small = resize_flow(flow, torch.zeros(4, 16))
    assert small.shape == (1, 2, 4, 16)
    torch.testing.assert_close(small[:, 0], torch.full((1, 4, 16), 2.0))
    torch.testing.assert_close(small[:, 1], torch.full((1, 4, 16), 0.5))
    torch.testing.assert_close(resize_flow(small, flow), flow)


def test_shrinking_averages_the_pixels_of_a_cell():
    flow = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(resize_flow(flow, torch.zeros(2, 2)), F.avg_pool2d(flow, 2) / 2)
