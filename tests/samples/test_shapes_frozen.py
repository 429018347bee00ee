"""The pictures on which classifiers are compared stay as they are, and are no task for a linear model.

If a change is meant, raise ``SHAPES_VERSION``; every number measured on them is then out of date.
"""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from lightning_edge.data.cifar_archive import read_cifar
from lightning_edge.samples.cifar import SHAPES_VERSION, sample_cifar

THUMBNAILS = {
    10: [
        [135, 96, 82, 133, 74, 104, 103, 51, 61, 140, 94, 135],
        [101, 65, 97, 99, 104, 77, 114, 104, 100, 113, 93, 84],
    ],
    100: [[144, 102, 102, 97, 44, 34, 114, 59, 82, 133, 77, 124], [99, 61, 74, 122, 121, 104, 85, 79, 74, 103, 82, 95]],
}
"""Of the first two training pictures, 2x2 pixels, RGB."""


def thumbnails(num_classes):
    images, _ = read_cifar(sample_cifar(100, 100, num_classes), num_classes, "train")
    return [cv2.resize(image, (2, 2), interpolation=cv2.INTER_AREA).reshape(-1).tolist() for image in images[:2]]


@pytest.mark.parametrize("num_classes", [10, 100])
def test_the_pictures_are_those_of_this_version(num_classes):
    assert SHAPES_VERSION == 2
    # drawing may differ by a rounding between processors
    assert np.abs(np.subtract(thumbnails(num_classes), THUMBNAILS[num_classes])).max() <= 1


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
