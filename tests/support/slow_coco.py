"""COCO's evaluation of detections as a slow loop in float64, written from its definition.

Lin et al., arXiv:1405.0312, and https://cocodataset.org/#detection-eval. Boxes are outer edges (x1, y1, x2, y2).
"""

from typing import NamedTuple

import numpy as np

# the official evaluation rounds its thresholds as NumPy does: the recall 0.35 is 0.35000000000000003
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}


class Truth(NamedTuple):
    box: tuple[float, float, float, float]
    label: int
    is_ignored: bool


class Found(NamedTuple):
    box: tuple[float, float, float, float]
    label: int
    score: float


def area_of(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def overlap(actual, truth):
    """IoU; of an ignored region, the share of the detection that lies in it."""
    width = min(actual.box[2], truth.box[2]) - max(actual.box[0], truth.box[0])
    height = min(actual.box[3], truth.box[3]) - max(actual.box[1], truth.box[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    whole = area_of(actual.box)
    return shared / (whole if truth.is_ignored else whole + area_of(truth.box) - shared)


def judge(truths, founds, threshold, area):
    """Of an image and a class: (score, is_right, counts) of each detection, and the number of objects that count."""

    def is_outside(box):
        return not area[0] <= area_of(box) <= area[1]

    objects = [(truth, truth.is_ignored or is_outside(truth.box)) for truth in truths]
    objects.sort(key=lambda pair: pair[1])  # what counts comes first
    taken = set()
    judged = []
    for actual in founds:
        best, match = threshold - 1e-12, None
        for number, (truth, passed_over) in enumerate(objects):
            if number in taken and not truth.is_ignored:
                continue
            if match is not None and not objects[match][1] and passed_over:
                break  # an object that counts is preferred to any that does not
            if overlap(actual, truth) >= best:
                best, match = overlap(actual, truth), number
        if match is not None:
            taken.add(match)
        counts = not objects[match][1] if match is not None else not is_outside(actual.box)
        judged.append((actual.score, match is not None, counts))
    return judged, sum(not passed_over for _, passed_over in objects)


def curve(images, label, threshold, area, most):
    """Interpolated precision at each recall, and the final recall; ``None`` without an object."""
    judged, num_objects = [], 0
    for truths, founds in images:
        of_class = sorted((f for f in founds if f.label == label), key=lambda f: -f.score)[:100]
        rows, count = judge([t for t in truths if t.label == label], of_class, threshold, area)
        judged += rows[:most]
        num_objects += count
    if not num_objects:
        return None
    judged = [is_right for _, is_right, counts in sorted(judged, key=lambda row: -row[0]) if counts]
    right = np.cumsum(judged) if judged else np.zeros(0)
    recall, precision = right / num_objects, right / np.arange(1, len(judged) + 1)
    interpolated = [max(precision[recall >= wanted], default=0.0) for wanted in RECALLS]
    return np.mean(interpolated), recall[-1] if judged else 0.0


def twelve_figures(images, num_classes):
    """``ap`` to ``ar_large`` and ``ap_<label>``; of images as pairs of lists of Truth and Found."""

    def means(thresholds, area="all", most=100, labels=range(num_classes)):
        curves = [curve(images, label, t, AREAS[area], most) for label in labels for t in thresholds]
        defined = [values for values in curves if values is not None]
        return np.mean(defined, 0) if defined else (None, None)

    figures = {"ap": means(IOU_THRESHOLDS)[0], "ap50": means([0.5])[0], "ap75": means([0.75])[0]}
    figures |= {f"ar{most}": means(IOU_THRESHOLDS, most=most)[1] for most in (1, 10, 100)}
    for size in ("small", "medium", "large"):
        figures[f"ap_{size}"], figures[f"ar_{size}"] = means(IOU_THRESHOLDS, size)
    figures |= {f"ap_{label}": means(IOU_THRESHOLDS, labels=[label])[0] for label in range(num_classes)}
    return {name: float(value) for name, value in figures.items() if value is not None}
