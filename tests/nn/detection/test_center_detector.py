"""The light detector: what it learns, and what it makes of its maps."""

import pytest
import torch
from detection_batch import make_batch

from lightning_edge.metrics.average_precision import average_precision, scored_images
from lightning_edge.nn.detection.center_detector import CenterDetector, CenterMaps
from lightning_edge.ops.center_targets import cell_centers, center_targets, pad_boxes
from lightning_edge.ops.focal import center_focal_loss

ENCODER = "test_resnet"


@pytest.fixture
def batch():
    """Two images with bright and dark rectangles on gray."""
    image = torch.full((2, 3, 64, 96), 0.5)
    boxes = [torch.tensor([[8.0, 12, 40, 44], [60, 20, 84, 32]]), torch.tensor([[30.0, 4, 50, 60]])]
    labels = [torch.tensor([0, 1]), torch.tensor([1])]
    for picture, of_image, of_labels in zip(image, boxes, labels, strict=True):
        for (x1, y1, x2, y2), label in zip(of_image.int().tolist(), of_labels.tolist(), strict=True):
            picture[:, y1:y2, x1:x2] = float(label)
    return make_batch(image, boxes, labels)


def test_it_learns_a_batch(batch):
    torch.manual_seed(0)
    net = CenterDetector(ENCODER, 2, channels=16)
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        sum(net.losses(batch).values()).backward()
        optimizer.step()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # statistics of this batch
            module.reset_running_stats()
    with torch.no_grad():
        net(batch["image"])
        actual = net.eval().detect(batch["image"])
    scores = average_precision(scored_images(batch, actual), ["dark", "bright"])
    assert scores["ap50"] > 0.9
    assert scores["ap75"] > 0.6


def test_maps_that_say_the_targets_are_decoded_to_the_boxes(batch):
    net = CenterDetector(ENCODER, 2)
    height, width = 16, 24
    targets = center_targets(pad_boxes(batch["boxes_xyxy"], batch["label"]), 2, height, width, 4)
    center = cell_centers(height, width, 4, targets.boxes_xyxy)
    sides = torch.cat([center - targets.boxes_xyxy[..., :2], targets.boxes_xyxy[..., 2:] - center], -1)
    maps = CenterMaps(20 * targets.heat - 10, (sides.clamp(min=1e-3) / 4).log().movedim(-1, 1))
    for actual, boxes, labels in zip(net.decode(maps, 64, 96), batch["boxes_xyxy"], batch["label"], strict=True):
        sure = actual.score > 0.99
        order = actual.label[sure].argsort(stable=True)
        torch.testing.assert_close(actual.boxes_xyxy[sure][order], boxes, rtol=1e-4, atol=1e-3)
        assert actual.label[sure][order].tolist() == labels.tolist()
        assert actual.score.tolist() == sorted(actual.score.tolist(), reverse=True)


def test_ignored_regions_do_not_count(batch):
    torch.manual_seed(0)
    net = CenterDetector(ENCODER, 2, channels=16)
    maps = net(batch["image"])
    objects = pad_boxes(batch["boxes_xyxy"], batch["label"])
    nothing = pad_boxes(batch["ignored_xyxy"], batch["ignored_label"])
    everywhere = pad_boxes([torch.tensor([[0.0, 0, 96, 64]])] * 2, [torch.tensor([0])] * 2)
    heat = maps.heat.detach().clone()
    heat[:, 0] += 3 * (center_targets(objects, 2, 16, 24, 4).heat[:, 0] == 0)  # wrong yeses of class 0
    louder = CenterMaps(heat, maps.sides)
    assert net.losses_of(louder, objects, nothing)["middles"] > 1.1 * net.losses_of(maps, objects, nothing)["middles"]
    torch.testing.assert_close(
        net.losses_of(louder, objects, everywhere)["middles"], net.losses_of(maps, objects, everywhere)["middles"]
    )


@pytest.mark.parametrize("size", [(64, 96), (70, 101), (33, 50)])
def test_images_of_any_size_and_without_boxes(size):
    torch.manual_seed(0)
    net = CenterDetector(ENCODER, 3, channels=8, max_detections=7)
    batch = make_batch(torch.rand(1, 3, *size), [torch.zeros(0, 4)], [torch.zeros(0).long()])
    losses = net.losses(batch)
    assert losses["boxes"] == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in net.parameters())
    with torch.no_grad():
        (actual,) = net.eval().detect(batch["image"])
    assert len(actual.score) <= 7
    assert (actual.boxes_xyxy >= 0).all()
    assert (actual.boxes_xyxy <= torch.tensor([size[1], size[0]] * 2)).all()


def test_at_first_hardly_anything_is_found():
    torch.manual_seed(0)
    net = CenterDetector(ENCODER, 3)
    with torch.no_grad():
        probability = net(torch.rand(2, 3, 64, 64)).heat.sigmoid()
    assert 0.003 < probability.mean() < 0.03


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"expected stride to be one of \[.*\] for test_resnet, got 5"):
        CenterDetector(ENCODER, 3, stride=5)
    with pytest.raises(ValueError, match=r"expected encoder to be a timm model, such as .*, got 'resnet10_quater'"):
        CenterDetector("resnet10_quater", 3)
    wide = CenterDetector("resnet10_quarter", 3, encoder_options={"channels": [8, 8, 8, 24]})
    assert wide.lateral[-1].in_channels == 24


def test_ignored_regions_of_a_batch_reach_the_loss(batch):
    torch.manual_seed(0)
    net = CenterDetector(ENCODER, 2, channels=16).eval()
    torch.nn.init.zeros_(net.heat[-1].bias)  # wrong yeses everywhere
    everywhere = {
        "ignored_xyxy": [torch.tensor([[0.0, 0, 96, 64]] * 2)] * 2,
        "ignored_label": [torch.tensor([0, 1])] * 2,
    }
    counted, uncounted = net.losses(batch), net.losses(batch | everywhere)
    assert uncounted["middles"] < 0.5 * counted["middles"]
    assert uncounted["boxes"] == counted["boxes"]
    # of the first class only: what is left is more
    first = {key: [value[:1] for value in values] for key, values in everywhere.items()}
    assert uncounted["middles"] < net.losses(batch | first)["middles"] < counted["middles"]


def test_every_parameter_learns(batch):
    torch.manual_seed(0)
    net = CenterDetector(ENCODER, 2, channels=8)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)  # timm begins with 0 at the end of a residual, and nothing before learns
    sum(net.losses(batch).values()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_a_loss_is_of_an_object_not_of_an_image(batch):
    """Twice the images, twice the objects: the mean stays."""
    torch.manual_seed(0)
    net = CenterDetector(ENCODER, 2, channels=8).eval()
    twice = {key: torch.cat([value] * 2) if torch.is_tensor(value) else value * 2 for key, value in batch.items()}
    once, doubled = net.losses(batch), net.losses(twice)
    for name in once:
        torch.testing.assert_close(doubled[name], once[name])
    heat = net(batch["image"]).heat
    target = center_targets(pad_boxes(batch["boxes_xyxy"], batch["label"]), 2, 16, 24, 4).heat
    torch.testing.assert_close(once["middles"], center_focal_loss(heat, target, target >= 0) / 3)


def test_an_image_is_found_in_alone_as_in_a_batch(batch):
    torch.manual_seed(0)
    net = CenterDetector(ENCODER, 2, channels=8).eval()
    with torch.no_grad():
        together = net.detect(batch["image"])
        alone = [net.detect(image[None])[0] for image in batch["image"]]
    for ours, theirs in zip(together, alone, strict=True):
        assert len(ours.score) > 0
        for actual, expected in zip(ours, theirs, strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3)


def maps_of(*places, size=(8, 8), classes=2):
    """Maps that are sure of boxes of 2 cells each way at some (class, row, column), a little less with each."""
    heat, sides = torch.full((1, classes, *size), -10.0), torch.zeros(1, 4, *size)
    for number, place in enumerate(places):
        heat[0, *place] = 5 - number
    return CenterMaps(heat, sides)


def test_of_boxes_that_overlap_the_surest_of_a_class_stays():
    net = CenterDetector(ENCODER, 2)
    maps = maps_of((0, 4, 2), (0, 4, 4), (1, 4, 2))
    maps.sides[:] = torch.log(torch.tensor(8.0))  # 16 cells each way: two cells aside, boxes share 7 / 9
    (actual,) = net.decode(maps, 10_000, 10_000)
    sure = actual.score > 0.5
    assert actual.label[sure].tolist() == [0, 1]
    apart = maps_of((0, 4, 1), (0, 4, 6), (1, 4, 1))
    (actual,) = net.decode(apart, 32, 32)
    assert actual.label[actual.score > 0.5].tolist() == [0, 0, 1]
    assert actual.boxes_xyxy[0].tolist() == [2, 14, 10, 22]  # x 1.5 cells, y 4.5 cells, a cell to each side


def test_no_more_boxes_than_asked_and_the_surest():
    net = CenterDetector(ENCODER, 2, max_detections=2)
    (actual,) = net.decode(maps_of((0, 1, 1), (1, 5, 5), (0, 1, 5)), 32, 32)
    assert actual.label.tolist() == [0, 1]
    torch.testing.assert_close(actual.score, torch.tensor([5.0, 4.0]).sigmoid())


def test_a_coarser_map_starts_at_its_stage():
    net = CenterDetector(ENCODER, 2, channels=8, stride=8)
    assert len(net.lateral) == len(CenterDetector(ENCODER, 2).lateral) - 1
    assert net(torch.rand(2, 3, 64, 96)).heat.shape == (2, 2, 8, 12)


def test_only_the_highest_of_neighbors_is_a_middle():
    """Though boxes of two cells each way share a third only, in cells side by side."""
    net = CenterDetector(ENCODER, 2)
    (actual,) = net.decode(maps_of((0, 4, 2), (0, 4, 3), (0, 5, 3), (1, 4, 3)), 32, 32)
    assert (actual.score > 0).all()
    sure = actual.score > 0.5
    assert actual.label[sure].tolist() == [0, 1]
    assert actual.boxes_xyxy[sure].tolist() == [[6, 14, 14, 22], [10, 14, 18, 22]]
