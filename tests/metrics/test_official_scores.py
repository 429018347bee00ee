"""Scores of detections are those of COCO's evaluation, and of BDD100K's on its data."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from slow_coco import Found, Truth, twelve_figures
from torch import nn
from toys import make_trainer

from lightning_edge.contracts import Detections
from lightning_edge.data import BDD100KDataModule
from lightning_edge.data.formats.bdd100k import CLASS_NAMES, OTHER_NAMES
from lightning_edge.methods import Detection
from lightning_edge.metrics.average_precision import ScoredImage, ap50_by_domain, average_precision

FIXTURE = Path(__file__).parent / "invented_bdd100k"
"""Invented labels and predictions in the format of BDD100K, and what pycocotools 2.0.11 gives for them if boxes are
converted as the official evaluation does (scalabel/label/transforms.py, box2d_to_bbox: width = x2 - x1 + 1)."""
NUM_CLASSES = 3


def random_images(seed, whole_pixels, most_found=4):
    """Objects of all sizes and detections near them, with equal scores, ignored regions and empty images."""
    generator = np.random.default_rng(seed)

    def near(box, spread):
        box = box + generator.normal(0, spread * (box[2] - box[0]), 4)
        box[2:] = np.maximum(box[2:], box[:2] + 1)
        return tuple(box.round() if whole_pixels else box)

    images = [([], [])]
    for _ in range(5):
        truths, founds = [], []
        for _ in range(generator.integers(1, 8)):
            corner, size = generator.uniform(0, 400, 2), generator.choice([16, 32, 48, 96, 150], 2)
            truth = Truth(near(np.concatenate([corner, corner + size]), 0), int(generator.integers(3)), False)
            truths.append(truth._replace(is_ignored=bool(generator.random() < 0.2)))
            for _ in range(generator.integers(0, most_found)):
                label = truth.label if generator.random() < 0.8 else int(generator.integers(3))
                score = float(np.float32(round(generator.random(), int(generator.integers(1, 6)))))
                founds.append(Found(near(np.array(truth.box), 0.06), label, score))
        images.append((truths, founds))
    return images


def as_tensors(image_id, truths, founds, domain=0):
    def boxes(items):
        return torch.tensor([item.box for item in items], dtype=torch.float64).reshape(-1, 4)

    def labels(items):
        return torch.tensor([item.label for item in items], dtype=torch.long)

    actual = Detections(boxes(founds), torch.tensor([one.score for one in founds]), labels(founds))
    is_ignored = torch.tensor([int(truth.is_ignored) for truth in truths], dtype=torch.long)
    return ScoredImage(image_id, domain, actual, boxes(truths), labels(truths), is_ignored)


@pytest.mark.parametrize("whole_pixels", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_all_figures_are_those_of_coco(seed, whole_pixels):
    images = random_images(seed, whole_pixels)
    scored = [as_tensors(number, *image) for number, image in enumerate(images)]
    scores = average_precision(scored, ["0", "1", "2"])
    expected = twelve_figures(images, NUM_CLASSES)
    assert len(expected) == 12 + NUM_CLASSES
    assert scores == pytest.approx(expected, abs=1e-9)


def test_a_class_has_a_hundred_detections_in_an_image():
    images = random_images(0, whole_pixels=False, most_found=120)
    assert max(sum(actual.label == 0 for actual in founds) for _, founds in images) > 100
    scored = [as_tensors(number, *image) for number, image in enumerate(images)]
    assert average_precision(scored, ["0", "1", "2"]) == pytest.approx(twelve_figures(images, NUM_CLASSES), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_each_domain_has_the_ap50_of_coco(seed):
    images = random_images(seed, whole_pixels=False)
    scored = [as_tensors(number, *image, domain=number % 2) for number, image in enumerate(images)]
    expected = [twelve_figures(images[domain::2], NUM_CLASSES)["ap50"] for domain in (0, 1)]
    assert ap50_by_domain(scored, ["even", "odd"]) == pytest.approx({"even": expected[0], "odd": expected[1]}, abs=1e-9)


def test_three_of_five_objects():
    """Precision 1 up to the recall 0.6, which is among the thresholds: 61 of 101, and not 60."""
    truth, actual = Truth((0, 0, 50, 50), 0, False), Found((0, 0, 50, 50), 0, 0.5)
    images = [as_tensors(number, [truth], [actual] * (number < 3)) for number in range(5)]
    assert average_precision(images, ["a"])["ap50"] == pytest.approx(61 / 101, abs=1e-12)
    assert ap50_by_domain(images, ["day"])["day"] == pytest.approx(61 / 101, abs=1e-12)


@pytest.mark.parametrize(("width", "num_thresholds"), [(55, 2), (60, 3), (80, 7), (85, 8), (54, 1)])
def test_a_box_at_an_iou_threshold_is_found(width, num_thresholds):
    truth, actual = Truth((0, 0, 100, 100), 0, False), Found((0, 0, width, 100), 0, 0.5)
    assert average_precision([as_tensors(0, [truth], [actual])], ["a"])["ap"] == pytest.approx(num_thresholds / 10)


class Replays(nn.Module):
    """Finds what a file of predictions says, image by image, in the coordinates of its labels."""

    num_classes = len(CLASS_NAMES)

    def __init__(self, frames, scale):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.frames, self.scale, self.next = frames, scale, 0

    def losses(self, batch):
        return {"nothing": 0 * self.weight}

    def detect(self, image):
        frames, self.next = self.frames[self.next : self.next + len(image)], self.next + len(image)
        return [self.detections(frame["labels"]) for frame in frames]

    def detections(self, labels):
        boxes = torch.tensor([[label["box2d"][side] for side in ("x1", "y1", "x2", "y2")] for label in labels])
        names = [OTHER_NAMES.get(label["category"], label["category"]) for label in labels]
        score = torch.tensor([label["score"] for label in labels])
        return Detections(boxes * self.scale, score, torch.tensor([CLASS_NAMES.index(name) for name in names]))


@pytest.fixture(scope="module")
def bdd100k(tmp_path_factory):
    """The fixture's labels beside black images, in both splits."""
    root = tmp_path_factory.mktemp("bdd100k")
    labels = (FIXTURE / "det_val.json").read_text()
    (root / "labels/det_20").mkdir(parents=True)
    for split in ("train", "val"):
        folder = root / "images/100k" / split
        folder.mkdir(parents=True)
        (root / f"labels/det_20/det_{split}.json").write_text(labels)
        for frame in json.loads(labels):
            cv2.imwrite(str(folder / frame["name"]), np.zeros((720, 1280, 3), np.uint8))
    return root


@pytest.mark.parametrize(("stage", "height"), [("val", 720), ("test", 432), ("val", 144)])
def test_bdd100k_has_the_scores_of_its_official_evaluation(stage, height, bdd100k, tmp_path):
    data = BDD100KDataModule(bdd100k, input_size=(height, height * 16 // 9), batch_size=4, num_workers=0)
    method = Detection(Replays(json.loads((FIXTURE / "predictions.json").read_text()), height / 720))
    trainer = make_trainer(tmp_path)
    (trainer.validate if stage == "val" else trainer.test)(method, data, verbose=False)
    logged = {name.removeprefix(f"{stage}/"): float(value) for name, value in trainer.callback_metrics.items()}
    expected = json.loads((FIXTURE / "official.json").read_text())
    assert len(expected) > 12
    assert {name: logged[name] for name in expected} == pytest.approx(expected, abs=1e-4)
    others = logged.keys() - expected.keys()
    assert others, "expected scores of domains"
    assert all(name.startswith("ap50_") for name in others)
