"""Convolutions of several domains at once are those of each image alone."""

import pytest
import torch
import torch.nn.functional as F

from lightning_edge.ops.expert_convolution import (
    convolve_by_domain,
    convolve_by_image,
    convolve_each,
    mix_experts,
)

WAYS = {
    "by image": lambda image, weight, row, *settings: convolve_by_image(image, weight[row], *settings),
    "by domain": convolve_by_domain,
    "chosen": convolve_each,
}
SETTINGS = {
    "plain": (4, 6, 3, ((1, 1), (1, 1), (1, 1), 1)),
    "strided": (4, 6, 3, ((2, 1), (0, 1), (1, 1), 1)),
    "groups": (4, 6, 3, ((1, 1), (1, 1), (1, 1), 2)),
    "depthwise": (4, 4, 5, ((1, 1), (2, 2), (1, 1), 4)),
    "dilated": (4, 6, 3, ((1, 1), (2, 2), (2, 2), 1)),
    "same": (4, 6, 3, ((1, 1), "same", (1, 1), 1)),
    "pointwise": (4, 6, 1, ((1, 1), (0, 0), (1, 1), 1)),
}


def draw(channels, out, kernel, groups, num_domains, batch, side=7):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(batch, channels, side, side, dtype=torch.float64, generator=generator, requires_grad=True)
    shape = (num_domains, out, channels // groups, kernel, kernel)
    weight = torch.rand(shape, dtype=torch.float64, generator=generator, requires_grad=True)
    return image, weight


def loop(image, weight, row, *settings):
    return torch.cat([F.conv2d(image[i : i + 1], weight[row[i]], None, *settings) for i in range(len(image))])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("row", [[1, 0, 1, 3, 0], [0, 1, 2, 3, 4], [2], [1, 1, 1]], ids=str)
def test_all_ways_are_a_loop_over_images(way, name, row):
    channels, out, kernel, settings = SETTINGS[name]
    image, weight = draw(channels, out, kernel, settings[-1], 5, len(row))
    row = torch.tensor(row)
    ours, theirs = WAYS[way](image, weight, row, *settings), loop(image, weight, row, *settings)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    factor = torch.rand(ours.shape, dtype=torch.float64)
    gradients = [torch.autograd.grad((found * factor).sum(), [image, weight]) for found in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_the_way_follows_from_sizes_and_neither_changes_the_result(monkeypatch):
    called = []
    for name in ("convolve_by_domain", "convolve_by_image"):
        way = globals()[name]
        monkeypatch.setattr(
            f"lightning_edge.ops.expert_convolution.{name}",
            lambda *args, way=way, name=name: called.append(name) or way(*args),
        )
    for side, row in ((2, [0, 0, 1]), (30, [0, 0, 1]), (2, [0, 1])):
        image, weight = draw(8, 8, 3, 1, 2, len(row), side)
        settings = ((1, 1), (1, 1))
        row = torch.tensor(row)
        torch.testing.assert_close(convolve_each(image, weight, row, *settings), loop(image, weight, row, *settings))
    # many weights for few pixels; few for many; no domain twice
    assert called == ["convolve_by_domain", "convolve_by_image", "convolve_by_image"]


def test_mixtures_are_sums_of_experts():
    gates, experts = torch.rand(2, 3), torch.rand(3, 4, 2, 3, 3)
    mixed = mix_experts(gates, experts)
    expected = sum(gates[1, k] * experts[k] for k in range(3))
    torch.testing.assert_close(mixed[1], expected)
    assert mixed.shape == (2, 4, 2, 3, 3)
