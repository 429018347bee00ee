"""Convolutions of several domains at once are those of each image alone."""

import pytest
import torch
import torch.nn.functional as F

from lightning_edge.ops.expert_convolution import (
    convolve_by_domain,
    convolve_by_expert,
    convolve_by_image,
    convolve_each,
    mix_experts,
)

WAYS = {
    "by image": lambda image, experts, gates, row, *settings: convolve_by_image(
        image, mix_experts(gates, experts)[row], *settings
    ),
    "by domain": lambda image, experts, gates, row, *settings: convolve_by_domain(
        image, mix_experts(gates, experts), row, *settings
    ),
    "by expert": lambda image, experts, gates, row, *settings: convolve_by_expert(
        image, experts, gates[row], *settings
    ),
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


def draw(channels, out, kernel, groups, num_domains, batch, side=7, num_experts=3):
    generator = torch.Generator().manual_seed(0)
    shapes = [
        (batch, channels, side, side),
        (num_experts, out, channels // groups, kernel, kernel),
        (num_domains, num_experts),
    ]
    return [torch.rand(shape, dtype=torch.float64, generator=generator, requires_grad=True) for shape in shapes]


def loop(image, experts, gates, row, *settings):
    weights = [sum(gate * expert for gate, expert in zip(gates[domain], experts, strict=True)) for domain in row]
    each = zip(image.split(1), weights, strict=True)
    return torch.cat([F.conv2d(one, weight, None, *settings) for one, weight in each])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("row", [[1, 0, 1, 3, 0], [0, 1, 2, 3, 4], [2], [1, 1, 1]], ids=str)
def test_all_ways_are_a_loop_over_images(way, name, row):
    channels, out, kernel, settings = SETTINGS[name]
    drawn = draw(channels, out, kernel, settings[-1], 5, len(row))
    row = torch.tensor(row)
    ours, theirs = WAYS[way](*drawn, row, *settings), loop(*drawn, row, *settings)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    factor = torch.rand(ours.shape, dtype=torch.float64)
    gradients = [torch.autograd.grad((actual * factor).sum(), drawn) for actual in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


SAME = ((1, 1), (1, 1), (1, 1), 1)
CHOICES = {
    "many weights, few places": (2, [0, 0, 1], SAME, "convolve_by_domain"),
    "few weights, many places": (30, [0, 0, 1], SAME, "convolve_by_image"),
    "no domain twice, many places": (30, [0, 1], SAME, "convolve_by_image"),
    "no domain twice, few places and weights": (4, [0, 1], SAME, "convolve_by_image"),
}
WIDE_CHOICES = {
    "few places, many weights": (4, 4, SAME, "convolve_by_expert"),
    "one expert more": (4, 5, SAME, "convolve_by_image"),
    "one row more": (5, 4, SAME, "convolve_by_image"),
    "few places by the stride": (5, 4, ((2, 2), (1, 1), (1, 1), 1), "convolve_by_expert"),
    "groups": (2, 2, ((1, 1), (1, 1), (1, 1), 2), "convolve_by_image"),
}


@pytest.fixture
def called(monkeypatch):
    """Names of the ways that were taken."""
    called = []
    for name in ("convolve_by_domain", "convolve_by_image", "convolve_by_expert"):
        way = globals()[name]
        monkeypatch.setattr(
            f"lightning_edge.ops.expert_convolution.{name}",
            lambda *args, way=way, name=name: called.append(name) or way(*args),
        )
    return called


@pytest.mark.parametrize("choice", CHOICES)
def test_the_way_follows_from_sizes_and_changes_no_result(choice, called):
    side, row, settings, expected = CHOICES[choice]
    drawn = draw(8, 8, 3, settings[-1], 2, len(row), side)
    row = torch.tensor(row)
    torch.testing.assert_close(convolve_each(*drawn, row, *settings), loop(*drawn, row, *settings))
    assert called == [expected]


@pytest.mark.parametrize("choice", WIDE_CHOICES)
def test_an_image_of_its_own_mixture_meets_all_experts_where_places_are_few(choice, called):
    side, num_experts, settings, expected = WIDE_CHOICES[choice]
    drawn = draw(40, 40, 3, settings[-1], 2, 2, side, num_experts)
    row = torch.tensor([1, 0])
    torch.testing.assert_close(convolve_each(*drawn, row, *settings), loop(*drawn, row, *settings))
    assert called == [expected]


@pytest.mark.parametrize("row", [[0, 0, 1], [0, 1]], ids=str)
def test_beside_a_cpu_nothing_waits_for_numbers(row, called):
    drawn = [tensor.to("meta") for tensor in draw(40, 40, 3, 1, 2, len(row), 2)]
    assert convolve_each(*drawn, torch.tensor(row, device="meta"), (1, 1), (1, 1)).shape == (len(row), 40, 2, 2)
    assert called == ["convolve_by_image"]


def test_mixtures_are_sums_of_experts():
    gates, experts = torch.rand(2, 3), torch.rand(3, 4, 2, 3, 3)
    mixed = mix_experts(gates, experts)
    expected = sum(gates[1, k] * experts[k] for k in range(3))
    torch.testing.assert_close(mixed[1], expected)
    assert mixed.shape == (2, 4, 2, 3, 3)
