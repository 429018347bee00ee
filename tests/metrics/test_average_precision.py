"""Average precision: in pixels of the files, of all images once, without what is ignored."""

import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from lightning_edge.contracts import Detections
from lightning_edge.metrics.average_precision import (
    ScoredImage,
    ap50_by_domain,
    average_precision,
    gather_images,
    scored_images,
)

NAMES = ("a", "b", "c")


def detections(boxes, scores, labels):
    return Detections(
        torch.tensor(boxes).reshape(-1, 4).float(), torch.tensor(scores).float(), torch.tensor(labels).long()
    )


def image(number, actual, boxes, labels, ignored=(), domain=0):
    is_ignored = torch.tensor([0] * (len(boxes) - len(ignored)) + [1] * len(ignored))
    truth = torch.tensor(boxes).reshape(-1, 4).float()
    return ScoredImage(number, domain, actual, truth, torch.tensor(labels).long(), is_ignored)


def make_batch(size, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def boxes(count):
        corner = 100 * torch.rand(count, 2, generator=generator)
        return torch.cat([corner, corner + 5 + 60 * torch.rand(count, 2, generator=generator)], 1)

    truth = [boxes(6) for _ in range(size)]
    labels = [torch.randint(0, 3, (6,), generator=generator) for _ in range(size)]
    actual = []
    for of_image, of_labels in zip(truth, labels, strict=True):
        noisy = of_image + 4 * torch.randn(6, 4, generator=generator)
        noisy[:, 2:] = noisy[:, 2:].maximum(noisy[:, :2] + 1)
        actual.append(Detections(scale * noisy.clamp(0, 200), torch.rand(6, generator=generator), of_labels))
    batch = {
        "image": torch.zeros(size, 3, 8, 8),
        "boxes_xyxy": [scale * one[:4] for one in truth],
        "label": [one[:4] for one in labels],
        "ignored_xyxy": [scale * one[4:] for one in truth],
        "ignored_label": [one[4:] for one in labels],
        "scale": torch.full((size,), scale),
        "original_size": torch.full((size, 2), 200),
        "image_id": torch.arange(size),
        "domain": torch.arange(size) % 2,
    }
    return batch, actual, truth, labels


@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
def test_scores_are_torchmetrics_in_pixels_of_the_files(scale):
    batch, actual, truth, labels = make_batch(8, scale)
    scores = average_precision(scored_images(batch, actual), NAMES)
    metric = MeanAveragePrecision(
        backend="faster_coco_eval",
        class_metrics=True,
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),  # its own are float32, and some of them too high
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
    )
    metric.update(
        [{"boxes": one.boxes_xyxy / scale, "scores": one.score, "labels": one.label} for one in actual],
        [
            {"boxes": boxes, "labels": of_image, "iscrowd": torch.tensor([0, 0, 0, 0, 1, 1])}
            for boxes, of_image in zip(truth, labels, strict=True)
        ],
    )
    expected = metric.compute()
    names = {"ap": "map", "ap50": "map_50", "ap75": "map_75", "ap_small": "map_small", "ap_medium": "map_medium"}
    names |= {"ar1": "mar_1", "ar10": "mar_10", "ar100": "mar_100", "ar_small": "mar_small", "ar_medium": "mar_medium"}
    for ours, theirs in names.items():
        assert scores[ours] == pytest.approx(float(expected[theirs]), abs=1e-6)
    assert [scores[f"ap_{name}"] for name in NAMES] == pytest.approx(expected["map_per_class"].tolist(), abs=1e-6)
    assert 0.05 < scores["ap"] < 0.95


def test_boxes_are_cut_at_the_border_of_the_file():
    batch, actual, *_ = make_batch(1)
    batch["original_size"] = torch.tensor([[50, 120]])
    (scored,) = scored_images(batch, actual)
    assert scored.detections.boxes_xyxy[:, [0, 2]].max() <= 120
    assert scored.detections.boxes_xyxy[:, [1, 3]].max() <= 50


def test_what_is_found_in_an_ignored_region_is_no_mistake():
    box, region = [10, 10, 30, 30], [50, 50, 90, 90]
    actual = detections([region, [55, 55, 70, 70], box], [0.9, 0.8, 0.5], [0, 0, 0])
    with_region = image(0, actual, [box, region], [0, 0], ignored=[1])
    assert average_precision([with_region], NAMES)["ap"] == pytest.approx(1)
    # of another class it is one
    of_another = image(0, actual, [box, region], [0, 1], ignored=[1])
    assert average_precision([of_another], NAMES)["ap"] == pytest.approx(1 / 3, abs=0.01)


def test_what_no_object_defines_is_left_out():
    only = image(0, detections([[0, 0, 20, 20]], [0.5], [1]), [[0, 0, 20, 20]], [1])
    defined = {"ap", "ap50", "ap75", "ap_small", "ap_b", "ar1", "ar10", "ar100", "ar_small"}
    assert average_precision([only], NAMES) == pytest.approx(dict.fromkeys(defined, 1))
    empty = image(0, detections([], [], []), [], [])
    assert average_precision([empty], NAMES) == {}
    assert ap50_by_domain([empty], ["day"]) == {}


def test_each_domain_is_scored_by_its_own_images():
    box = [0, 0, 20, 20]
    right = detections([box], [0.5], [0])
    wrong = detections([[50, 50, 90, 90]], [0.9], [0])
    images = [image(0, right, [box], [0], domain=0), image(1, wrong, [box], [0], domain=2)]
    assert ap50_by_domain(images, ["day", "dusk", "night"]) == pytest.approx({"day": 1, "night": 0})
    assert 0 < average_precision(images, NAMES)["ap50"] < 1


def test_images_of_all_processes_count_once(monkeypatch):
    own = [image(number, detections([], [], []), [], []) for number in (0, 2, 4)]
    other = [image(number, detections([], [], []), [], []) for number in (1, 3, 0)]  # one was repeated

    def gather(parts, mine):
        assert mine == own
        parts[:] = [mine, other]

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_gather_object", gather)
    assert [one.image_id for one in gather_images(own)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("side", "size"), [(31, "small"), (33, "medium"), (95, "medium"), (97, "large")])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_small_and_large_are_in_pixels_of_the_file(side, size, scale):
    batch, *_ = make_batch(1, scale)
    box = torch.tensor([[10.0, 10, 10 + side, 10 + side]])
    batch |= {"boxes_xyxy": [scale * box], "label": [torch.tensor([0])]}
    batch |= {"ignored_xyxy": [torch.zeros(0, 4)], "ignored_label": [torch.zeros(0).long()]}
    actual = [Detections(scale * box, torch.tensor([0.5]), torch.tensor([0]))]
    scores = average_precision(scored_images(batch, actual), NAMES)
    assert {name for name in scores if name in ("ap_small", "ap_medium", "ap_large")} == {f"ap_{size}"}


def test_each_image_has_its_own_scale_and_number():
    batch, actual, *_ = make_batch(2)
    batch["scale"], batch["image_id"] = torch.tensor([1.0, 0.25]), torch.tensor([7, 3])
    first, second = scored_images(batch, actual)
    assert (first.image_id, second.image_id, first.domain, second.domain) == (7, 3, 0, 1)
    torch.testing.assert_close(first.boxes_xyxy[:4], batch["boxes_xyxy"][0])
    torch.testing.assert_close(second.boxes_xyxy[:4], 4 * batch["boxes_xyxy"][1])
    torch.testing.assert_close(second.boxes_xyxy[4:], 4 * batch["ignored_xyxy"][1])
    torch.testing.assert_close(second.detections.boxes_xyxy, (4 * actual[1].boxes_xyxy).clamp(0, 200))
    assert first.is_ignored.tolist() == [0, 0, 0, 0, 1, 1]
    del batch["domain"]
    assert [one.domain for one in scored_images(batch, actual)] == [None, None]


def test_nothing_at_all_is_no_score():
    assert average_precision([], NAMES) == {}
    assert ap50_by_domain([], ["day"]) == {}
    assert gather_images([]) == []


def test_one_process_counts_an_image_once():
    nothing = detections([], [], [])
    images = [image(number, nothing, [], []) for number in (2, 0, 2, 1)]
    assert [one.image_id for one in gather_images(images)] == [0, 1, 2]


def test_an_image_of_no_domain_counts_for_all_of_them_only():
    box = [0, 0, 20, 20]
    wrong, right = detections([[50, 50, 90, 90]], [0.9], [0]), detections([box], [0.5], [0])
    images = [image(0, right, [box], [0], domain=0), image(1, wrong, [box], [0], domain=None)]
    assert ap50_by_domain(images, ["day", "night"]) == pytest.approx({"day": 1})
    assert average_precision(images, NAMES)["ap50"] < 1


def test_what_is_missed_and_what_is_not_there_both_cost():
    box, other = [0, 0, 20, 20], [50, 50, 90, 90]
    missed = image(0, detections([box], [0.5], [0]), [box, other], [0, 0])
    assert average_precision([missed], NAMES)["ap"] == pytest.approx(0.5, abs=0.01)
    invented = image(0, detections([other, box], [0.9, 0.5], [0, 0]), [box], [0])
    assert average_precision([invented], NAMES)["ap"] == pytest.approx(0.5, abs=0.01)
    wrong_class = image(0, detections([box], [0.9], [1]), [box], [0])
    assert average_precision([wrong_class], NAMES)["ap"] == 0


@pytest.mark.parametrize(("side", "score"), [(12, 1), (9, 0)])
def test_a_domain_is_scored_at_half_of_the_union(side, score):
    """Boxes share 12 / 20 or 9 / 20."""
    one = image(0, detections([[0, 0, side, 20]], [0.5], [0]), [[0, 0, 20, 20]], [0])
    assert ap50_by_domain([one], ["day"])["day"] == pytest.approx(score)


@pytest.mark.parametrize("scale", [0.2, 1 / 3, 0.35])
def test_edges_on_whole_pixels_are_so_again_after_the_letterbox(scale):
    """A rounding of float32 would make a box of 32 x 32 pixels a medium one."""
    batch, *_ = make_batch(1)
    corner = torch.arange(1, 1248).float()
    boxes = torch.stack([corner, corner, corner + 32, corner + 32], 1)
    batch |= {"scale": torch.tensor([scale]), "original_size": torch.tensor([[1280, 1280]])}
    scaled = boxes * batch["scale"]
    batch |= {"boxes_xyxy": [scaled], "label": [torch.zeros(len(boxes)).long()]}
    batch |= {"ignored_xyxy": [torch.zeros(0, 4)], "ignored_label": [torch.zeros(0).long()]}
    (scored,) = scored_images(batch, [Detections(scaled, torch.ones(len(boxes)), batch["label"][0])])
    assert torch.equal(scored.boxes_xyxy, boxes)
    assert torch.equal(scored.detections.boxes_xyxy, boxes)
