"""Targets of an anchor-free detector against a loop over cells."""

import math

import pytest
import torch

from lightning_edge.ops.center_targets import (
    REACH,
    PaddedBoxes,
    cell_centers,
    cells_within,
    center_targets,
    pad_boxes,
)
from lightning_edge.ops.focal import center_focal_loss

HEIGHT, WIDTH, STRIDE, CLASSES = 12, 16, 4, 3


def by_loop(boxes, labels):
    """Heat, boxes and weights of one image, cell by cell."""
    heat = torch.zeros(CLASSES, HEIGHT, WIDTH)
    owner = {}
    bumps = {}
    for index, ((x1, y1, x2, y2), label) in enumerate(zip(boxes.tolist(), labels.tolist(), strict=True)):
        x1, y1, x2, y2 = (side / STRIDE for side in (x1, y1, x2, y2))
        column = min(max(math.floor((x1 + x2) / 2), 0), WIDTH - 1)
        row = min(max(math.floor((y1 + y2) / 2), 0), HEIGHT - 1)
        reach_x, reach_y = math.floor(REACH / 2 * (x2 - x1)), math.floor(REACH / 2 * (y2 - y1))
        for y in range(HEIGHT):
            for x in range(WIDTH):
                if abs(x - column) > reach_x or abs(y - row) > reach_y:
                    continue
                spread = [(2 * reach + 1) / 6 for reach in (reach_x, reach_y)]
                bump = math.exp(-((x - column) ** 2) / (2 * spread[0] ** 2) - (y - row) ** 2 / (2 * spread[1] ** 2))
                bumps[index, y, x] = bump
                heat[label, y, x] = max(heat[label, y, x].item(), bump)
                area = (x2 - x1) * (y2 - y1)
                if (y, x) not in owner or area < owner[y, x][0]:
                    owner[y, x] = (area, index)
    target, weight = torch.zeros(HEIGHT, WIDTH, 4), torch.zeros(HEIGHT, WIDTH)
    sums = {}
    for (y, x), (_, index) in owner.items():
        sums[index] = sums.get(index, 0) + bumps[index, y, x]
    for (y, x), (_, index) in owner.items():
        target[y, x] = boxes[index]
        weight[y, x] = bumps[index, y, x] / sums[index]
    return heat, target, weight


def draw(counts, seed=0):
    generator = torch.Generator().manual_seed(seed)
    boxes = []
    for count in counts:
        corner = torch.rand(count, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT]) * STRIDE * 0.8
        boxes.append(torch.cat([corner, corner + 1 + 40 * torch.rand(count, 2, generator=generator)], 1))
    return boxes, [torch.randint(0, CLASSES, (count,), generator=generator) for count in counts]


@pytest.mark.parametrize("seed", range(4))
def test_targets_are_those_of_a_loop(seed):
    boxes, labels = draw((6, 0, 1), seed)
    actual = center_targets(pad_boxes(boxes, labels), CLASSES, HEIGHT, WIDTH, STRIDE)
    for image in range(3):
        heat, target, weight = by_loop(boxes[image], labels[image])
        torch.testing.assert_close(actual.heat[image], heat)
        torch.testing.assert_close(actual.boxes_xyxy[image], target)
        torch.testing.assert_close(actual.weight[image], weight)


def test_each_object_that_is_seen_weighs_one():
    boxes, labels = draw((5,), 1)
    actual = center_targets(pad_boxes(boxes, labels), CLASSES, HEIGHT, WIDTH, STRIDE)
    num_seen = len(actual.boxes_xyxy[actual.weight > 0].unique(dim=0))
    assert actual.weight.sum().item() == pytest.approx(num_seen, rel=1e-4)


def test_the_smaller_of_two_objects_has_the_cell():
    boxes = [torch.tensor([[0.0, 0, 60, 44], [24, 16, 36, 28]])]
    actual = center_targets(pad_boxes(boxes, [torch.tensor([0, 1])]), CLASSES, HEIGHT, WIDTH, STRIDE)
    assert actual.boxes_xyxy[0, 5, 7].tolist() == [24, 16, 36, 28]
    assert actual.boxes_xyxy[0, 5, 4].tolist() == [0, 0, 60, 44]


def test_an_object_of_less_than_a_cell_has_one():
    actual = center_targets(
        pad_boxes([torch.tensor([[9.0, 9, 10, 10]])], [torch.tensor([2])]), CLASSES, HEIGHT, WIDTH, STRIDE
    )
    assert actual.heat[0, 2].nonzero().tolist() == [[2, 2]]
    assert actual.weight[0, 2, 2] == 1


def test_cells_within_boxes_are_of_their_class():
    boxes = pad_boxes([torch.tensor([[4.0, 4, 12, 8]]), torch.zeros(0, 4)], [torch.tensor([1]), torch.zeros(0).long()])
    actual = cells_within(boxes, CLASSES, HEIGHT, WIDTH, STRIDE)
    assert actual.nonzero().tolist() == [[0, 1, 1, 1], [0, 1, 1, 2]]


def test_boxes_are_padded_to_one_at_least():
    padded = pad_boxes([torch.zeros(0, 4)] * 2, [torch.zeros(0).long()] * 2)
    assert isinstance(padded, PaddedBoxes)
    assert padded.boxes_xyxy.shape == (2, 1, 4)
    assert not padded.is_box.any()


def test_centers_are_middles_of_cells():
    centers = cell_centers(2, 3, 8, torch.zeros(1))
    assert centers[1, 2].tolist() == [20, 12]


def test_focal_loss_is_its_formula():
    generator = torch.Generator().manual_seed(0)
    scores, target = torch.randn(1, 2, 3, 4, generator=generator), torch.rand(1, 2, 3, 4, generator=generator)
    target[0, 0, 1, 1] = 1
    counts = torch.rand(1, 2, 3, 4, generator=generator) > 0.3
    expected = 0.0
    for score, goal, is_counted in zip(scores.flatten(), target.flatten(), counts.flatten(), strict=True):
        p = score.sigmoid()
        if goal == 1:
            expected -= (1 - p) ** 2 * p.log()
        elif is_counted:
            expected -= (1 - goal) ** 4 * p**2 * (1 - p).log()
    torch.testing.assert_close(center_focal_loss(scores, target, counts), expected)
    extreme = center_focal_loss(100 * torch.sign(scores), target, counts)
    assert extreme.isfinite()


def test_a_middle_counts_even_where_it_is_ignored():
    """An object in an ignored region is still to be found."""
    scores, target = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 0]]]])
    nothing = torch.zeros(1, 1, 1, 2, dtype=torch.bool)
    expected = 0.25 * math.log(2)  # (1 - p)^2 log(1 / p) at p = 1 / 2
    assert center_focal_loss(scores, target, nothing).item() == pytest.approx(expected)
    assert center_focal_loss(scores, target, ~nothing).item() == pytest.approx(2 * expected)


def test_an_object_that_smaller_ones_hide_is_in_the_heat_only():
    boxes = [torch.tensor([[8.0, 8, 12, 12], [9.0, 9, 11, 11]])]
    actual = center_targets(pad_boxes(boxes, [torch.tensor([0, 1])]), CLASSES, HEIGHT, WIDTH, STRIDE)
    assert actual.heat[0, :, 2, 2].tolist() == [1, 1, 0]
    assert actual.boxes_xyxy[0, 2, 2].tolist() == [9, 9, 11, 11]
    assert actual.weight.sum() == 1
