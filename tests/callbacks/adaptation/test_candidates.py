"""Candidates of detectors, against loops over cells and boxes."""

import math

import pytest
import torch
from domain_pairs import fit
from settings import ENCODER, make_bdd100k, make_detection, make_two_stage_detection
from target_free_runs import SCORES, scores_of
from toys import make_trainer

from callbacks.adaptation import TargetFreeScores
from callbacks.adaptation._candidates import candidates_of
from callbacks.adaptation._layers import find_layer
from lightning_edge.data import AdaptationDataModule
from lightning_edge.methods import Detection
from lightning_edge.metrics.adaptation.target_free_scores import target_free_scores
from lightning_edge.nn import FCOSDetector, TimmBackbone


def make_one_stage_detection(num_classes):
    return Detection(FCOSDetector(TimmBackbone(ENCODER, (4, 8, 16, 32), channels=32), num_classes))


NO_BOXES = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)


def batch_of(boxes, label, ignored=NO_BOXES[0], ignored_label=NO_BOXES[1]):
    return {"boxes_xyxy": [boxes], "label": [label], "ignored_xyxy": [ignored], "ignored_label": [ignored_label]}


def peaks_at(**cells):
    """Logits of two classes in 6 x 8 cells of 4 pixels, -9 except in given cells, and features that number them."""
    logits = torch.full((1, 2, 6, 8), -9.0)
    for name, (row, column, value) in cells.items():
        logits[0, "ab".index(name[0]), row, column] = value
    return torch.arange(48.0).view(1, 1, 6, 8), logits


def test_candidates_are_the_highest_cells_of_their_neighborhoods_in_order():
    features, logits = peaks_at(a=(1, 1, 2.0), a_beside=(1, 2, 1.0), b=(4, 6, 3.0))
    rows = candidates_of(features, logits, None, 24, 2)
    assert rows.features[:2, 0].tolist() == [4 * 8 + 6, 1 * 8 + 1]
    assert rows.logits[:2].tolist() == [[-9, 3, 0], [2, -9, 0]]  # the background last
    assert 1 * 8 + 2 not in rows.features[:, 0].tolist()[:2]
    assert rows.labels.tolist() == [0] * len(rows.logits)
    logits = torch.arange(48.0).view(1, 1, 6, 8)
    assert candidates_of(features, logits, None, 24, 1).features.tolist() == [[47]]  # the only peak
    assert len(candidates_of(features, 0 * logits, None, 24, 1).logits) == 32  # all cells are alike


def test_the_label_is_the_class_of_the_smallest_box_around_the_center_of_the_cell():
    features, logits = peaks_at(a=(1, 1, 2.0), b=(4, 6, 3.0), b_other=(1, 5, 1.0))
    boxes = torch.tensor([[0, 0, 20, 10], [4, 4, 7.0, 7.0], [20, 4, 32, 5.9]])  # centers: (6, 6), (26, 18), (22, 6)
    rows = candidates_of(features, logits, batch_of(boxes, torch.tensor([1, 0, 1])), 24, 2)
    assert rows.labels[:3].tolist() == [2, 0, 2]  # none, the smaller one, and one that ends just above the center
    boxes[2, 3] = 6.1
    rows = candidates_of(features, logits, batch_of(boxes, torch.tensor([1, 0, 1])), 24, 2)
    assert rows.labels[:3].tolist() == [2, 0, 1]


def test_candidates_in_ignored_boxes_alone_are_left_out():
    features, logits = peaks_at(a=(1, 1, 2.0), b=(4, 6, 3.0))
    everywhere = torch.tensor([[0, 0, 32, 24.0]])
    ignored = (everywhere, torch.tensor([0]))
    rows = candidates_of(features, logits, batch_of(*NO_BOXES, *ignored), 24, 2)
    assert len(rows.labels) == len(rows.features) == len(rows.logits) == 0
    rows = candidates_of(features, logits, batch_of(torch.tensor([[4, 4, 8, 8.0]]), torch.tensor([1]), *ignored), 24, 2)
    assert rows.labels.tolist() == [1]
    assert rows.features.tolist() == [[9]]


@pytest.mark.parametrize(("height", "rows"), [(45, 12), (722, 181)])
def test_cells_of_maps_whose_size_was_rounded_up_keep_their_stride(height, rows):
    logits = torch.full((1, 1, rows, 6), -9.0)
    logits[0, 0, -2, 1] = 5
    center = 4 * (rows - 2) + 2
    box = torch.tensor([[5, center - 1, 7, center + 1.0]])
    batch = batch_of(box, torch.tensor([0]))
    assert candidates_of(torch.zeros(1, 3, rows, 6), logits, batch, height, 1).labels[0] == 0


def test_centers_of_cells_are_exact_for_logits_of_half_precision():
    logits = torch.full((1, 1, 4, 320), -9.0, dtype=torch.bfloat16)
    columns = [201, 255, 310]
    for value, column in enumerate(columns):
        logits[0, 0, 2, column] = 9 - value
    boxes = torch.tensor([[4 * column + 1.5, 9, 4 * column + 2.5, 11] for column in columns])
    batch = batch_of(boxes, torch.zeros(3, dtype=torch.long))
    assert candidates_of(torch.zeros(1, 3, 4, 320), logits, batch, 16, 1).labels[:3].tolist() == [0, 0, 0]


def test_nan_is_not_hidden():
    features, logits = peaks_at(a=(1, 1, 2.0))
    logits[0, 1, 4, 4] = math.nan
    assert candidates_of(features, logits, None, 24, 2).logits.isnan().any()


def by_hand(net, batches, is_source):
    """Rows of batches by loops over all cells."""
    features, logits, labels = [], [], []
    for batch in batches:
        with torch.no_grad():
            seen = []
            handle = net.heat[-1].register_forward_hook(lambda _, inputs, __, seen=seen: seen.append(inputs[0]))
            heat = net(batch["image"]).heat
            handle.remove()
        (maps,) = seen
        height, width = heat.shape[-2:]
        for image, scores in enumerate(heat):
            best, cells = scores.amax(0), []
            for y in range(height):
                for x in range(width):
                    near = best[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
                    if best[y, x] >= near.max():
                        cells.append((-float(best[y, x]), y, x))
            for _, y, x in sorted(cells)[:32]:
                around = {
                    key: [
                        ((x2 - x1) * (y2 - y1), kind)
                        for (x1, y1, x2, y2), kind in zip(*(batch[k][image].tolist() for k in keys), strict=True)
                        if x1 <= 4 * x + 2 <= x2 and y1 <= 4 * y + 2 <= y2
                    ]
                    for key, keys in {"box": ("boxes_xyxy", "label"), "no": ("ignored_xyxy", "ignored_label")}.items()
                }
                if is_source and around["no"] and not around["box"]:
                    continue
                label = min(around["box"])[1] if around["box"] else scores.shape[0]
                features.append(maps[image, :, y, x])
                logits.append(torch.cat([scores[:, y, x], torch.zeros(1)]))
                labels.append(label)
    return torch.stack(features), torch.stack(logits), torch.tensor(labels)


def test_scores_of_a_detector_are_those_of_candidates_by_hand(tmp_path):
    data = AdaptationDataModule(make_bdd100k(), make_bdd100k())
    torch.manual_seed(0)
    method = make_detection(data.num_classes).eval()
    trainer = make_trainer(tmp_path, callbacks=[TargetFreeScores()], limit_val_batches=1.0)
    trainer.validate(method, data, verbose=False)
    batches = [list(loader) for loader in data.val_dataloader()]
    batches = [[data.on_after_batch_transfer(batch, 0) for batch in loader] for loader in batches]
    source, target = (by_hand(method.net, loader, not index) for index, loader in enumerate(batches))
    expected = target_free_scores(*source, *target[:2])
    assert scores_of(trainer) == pytest.approx({f"target_free/{key}": v for key, v in expected.items()}, rel=1e-4)
    assert len(source[2].unique()) > 1
    assert set(scores_of(trainer)) == SCORES


@pytest.mark.parametrize(
    ("make", "layer", "message"),
    [
        (make_two_stage_detection, None, "got none: name the layer"),
        (
            make_two_stage_detection,
            "net.detector.roi_heads.box_predictor.cls_score",
            "expected layer as one that gives",
        ),
        (make_detection, "net.sides.1", r"a logit of each of 10 classes .*got outputs of shape \[2, 4, 16, 24\]"),
        (make_detection, "net.smooth.0", r"a logit of each of 10 classes .*got outputs of shape \[2, 16, "),
        (make_one_stage_detection, None, "expected layer as one that runs once in validation_step, .*got 5 runs"),
    ],
)
def test_detectors_without_one_map_of_logits_are_refused(make, layer, message, tmp_path):
    data = AdaptationDataModule(make_bdd100k(), make_bdd100k())
    trainer = make_trainer(tmp_path, callbacks=[TargetFreeScores(layer)], limit_val_batches=1)
    with pytest.raises(ValueError, match=message):
        trainer.validate(make(data.num_classes), data, verbose=False)


def test_the_last_layer_of_a_detector_of_four_classes_is_not_that_of_the_sides():
    assert find_layer(make_detection(4), None, 4).name == "net.heat.1"


def test_a_fit_selects_by_them(tmp_path):
    data = AdaptationDataModule(make_bdd100k(), make_bdd100k(), batches_per_epoch=1)
    trainer = fit(make_detection(data.num_classes), data, TargetFreeScores(), limit_val_batches=1.0)
    assert math.isfinite(float(trainer.callback_metrics["target_free/information"]))
