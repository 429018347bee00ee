"""The pictures on which classifiers are compared stay as they are, and a linear model learns a third of them.

If a change is meant, raise ``SHAPES_VERSION`` and write the golden file anew by running this file as a script; every
number measured on them is then out of date.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from lightning_edge.data.formats.cifar import read_cifar
from lightning_edge.samples.cifar import SHAPES_VERSION, sample_cifar
from lightning_edge.samples.shapes import OUTLINE_NAMES, PATTERN_NAMES, draw_shape

GOLDEN = Path(__file__).parents[1] / "golden" / "sample_shapes.json"


def snapshot():
    """Thumbnails of every outline, every pattern and some pictures of the data sets, 4x4 pixels, RGB."""
    rng = lambda: np.random.default_rng(1)  # noqa: E731
    record = {"version": SHAPES_VERSION}
    record |= {outline: thumbnail(draw_shape(outline, None, rng())) for outline in OUTLINE_NAMES}
    record |= {pattern: thumbnail(draw_shape("square", pattern, rng())) for pattern in PATTERN_NAMES}
    for num_classes in (10, 100):
        images, _ = read_cifar(sample_cifar(100, 100, num_classes), num_classes, "train")
        record |= {f"{num_classes} classes, image {index}": thumbnail(images[index]) for index in (0, 17, 99)}
    return record


def thumbnail(image):
    return cv2.resize(image, (4, 4), interpolation=cv2.INTER_AREA).reshape(-1).tolist()


def test_the_pictures_are_those_of_this_version():
    golden, actual = json.loads(GOLDEN.read_text()), snapshot()
    assert actual.keys() == golden.keys()
    for name, values in golden.items():
        # drawing may differ by a rounding between processors
        assert np.abs(np.subtract(actual[name], values)).max() <= 1, name


def test_a_linear_model_learns_a_third():
    root = sample_cifar()  # the recipes' own
    train, test = (read_cifar(root, 10, split) for split in ("train", "test"))
    mean, deviation = train.images.mean(0), train.images.std(0)
    inputs, held_out = (torch.from_numpy((data.images - mean) / deviation).flatten(1).float() for data in (train, test))
    labels, truth = (torch.from_numpy(data.labels) for data in (train, test))
    torch.manual_seed(0)
    model = nn.Linear(inputs.shape[1], 10)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, weight_decay=1e-3)
    for batch in (batch for _ in range(10) for batch in torch.randperm(len(labels)).split(100)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[batch]), labels[batch]).backward()
        optimizer.step()
    accuracy = (model(held_out).argmax(1) == truth).float().mean().item()
    assert 0.25 < accuracy < 0.45, accuracy


if __name__ == "__main__":
    lines = (f" {json.dumps(name)}: {json.dumps(values)}" for name, values in snapshot().items())
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    sys.stdout.write(f"wrote {GOLDEN}\n")
