import json
import sys

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from lightning_edge.nn import KeyframeIoU
from lightning_edge.ops.cityscapes_labels import LABELS, TRAIN_LABELS
from lightning_edge.ops.iou import class_iou, confusion_matrix, mean_iou


def test_class_iou_by_hand():
    confusion = torch.tensor([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    iou = class_iou(confusion)
    torch.testing.assert_close(iou[:2], torch.tensor([3 / 6, 4 / 7]))
    assert iou[2].isnan()
    torch.testing.assert_close(mean_iou(confusion), torch.tensor((3 / 6 + 4 / 7) / 2))


@pytest.fixture
def official(monkeypatch):
    """The evaluation script of the benchmark; it reads sys.argv on import."""
    monkeypatch.setattr(sys, "argv", ["evaluation"])
    return pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")


def test_equals_the_official_script_over_several_images(official, tmp_path):
    from PIL import Image

    generator = np.random.default_rng(0)
    train_id_of = np.array([label.train_id for label in LABELS])
    label_id_of = {label.train_id: label.label_id for label in TRAIN_LABELS}
    metric = KeyframeIoU(19, 1)
    predictions, truths = [], []
    for index in range(3):
        truth = generator.integers(0, 34, (24, 32)).astype(np.uint8)
        predicted = np.where(
            generator.random((24, 32)) < 0.6, train_id_of[truth] % 19, generator.integers(0, 12, (24, 32))
        )
        truths.append(str(tmp_path / f"truth_{index}.png"))
        predictions.append(str(tmp_path / f"prediction_{index}.png"))
        Image.fromarray(truth).save(truths[-1])
        Image.fromarray(np.vectorize(label_id_of.get)(predicted).astype(np.uint8)).save(predictions[-1])
        metric.update(torch.from_numpy(predicted).long(), torch.from_numpy(train_id_of[truth]).long(), distance=0)
    arguments = official.args
    arguments.evalInstLevelScore = False
    arguments.quiet, arguments.JSONOutput = True, True
    arguments.exportFile = str(tmp_path / "result.json")
    official.evaluateImgLists(predictions, truths, arguments)
    expected = json.loads((tmp_path / "result.json").read_text())["averageScoreClasses"]
    assert metric.compute().by_distance[0] == pytest.approx(expected, abs=1e-6)


def test_intervals_sum_the_distances_before_the_ratio():
    generator = torch.Generator().manual_seed(0)
    metric = KeyframeIoU(4, 3)
    seen = []
    for distance in range(3):
        prediction = torch.randint(0, 4, (2, 8, 8), generator=generator)
        mask = torch.randint(0, 4, (2, 8, 8), generator=generator)
        mask[:, 0] = 255
        metric.update(prediction, mask, distance)
        seen.append((prediction, mask))
    scores = metric.compute()
    for interval in (1, 2, 3):
        reference = MulticlassJaccardIndex(4, ignore_index=255)
        for prediction, mask in seen[:interval]:
            reference.update(prediction, mask)
        assert scores.by_interval[interval - 1] == pytest.approx(reference.compute().item())
    last = MulticlassJaccardIndex(4, ignore_index=255)
    last.update(*seen[2])
    assert scores.by_distance[2] == pytest.approx(last.compute().item())


def test_a_label_that_is_no_class_is_told():
    with pytest.raises(ValueError, match=r"expected labels below num_classes \(3\), got 3"):
        confusion_matrix(torch.tensor([0, 1]), torch.tensor([3, 255]), 3)


@pytest.mark.parametrize(
    ("prediction", "mask", "message"),
    [
        ([0, 3], [0, 1], r"expected predictions below num_classes \(3\), got 3"),
        ([0, -1], [0, 1], r"expected predictions of at least 0, got -1"),
        ([0, 0], [0, -1], r"expected labels of at least 0, got -1"),
    ],
)
def test_what_would_count_in_another_cell_is_refused(prediction, mask, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(torch.tensor(prediction), torch.tensor(mask), 3)
    unlabeled = torch.full((2,), 255)
    assert confusion_matrix(torch.tensor(prediction), unlabeled, 3).sum() == 0
