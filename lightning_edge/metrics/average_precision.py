"""Average precision of detections over all images, by class, and by domain."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed
from faster_coco_eval import COCO, COCOeval_faster
from jaxtyping import Float, Int64
from torch import Tensor

from lightning_edge.contracts import DetectionBatch, Detections
from lightning_edge.ops.names import distinct_keys

SIZES = ("small", "medium", "large")
_FIGURES = (
    "ap", "ap50", "ap75", *(f"ap_{size}" for size in SIZES), "ar1", "ar10", "ar100", *(f"ar_{size}" for size in SIZES),
)  # fmt: skip
"""Names of the figures that COCO's evaluation reports, in its order."""


class ScoredImage(NamedTuple):
    """Detections and labeled objects of an image, on the CPU; boxes are outer edges in pixels of the file."""

    image_id: int
    domain: int | None
    detections: Detections
    boxes_xyxy: Float[Tensor, "boxes 4"]
    label: Int64[Tensor, " boxes"]
    is_ignored: Int64[Tensor, " boxes"]
    """1 for an object whose detection counts neither for nor against the detector, else 0."""


def scored_images(batch: DetectionBatch, detections: Sequence[Detections]) -> list[ScoredImage]:
    """Combine detections with the labels of a batch, both scaled back to pixels of the files.

    Detections are clipped to the image. If ``has_inclusive_edges`` is true in the batch, detections and labels are then
    extended by one pixel to the right and to the bottom, as in the official evaluation of such a data set.
    """
    inclusive = batch.get("has_inclusive_edges")
    images = []
    for index, of_image in enumerate(detections):
        scale = float(batch["scale"][index])
        boxes = _in_file(torch.cat([batch["boxes_xyxy"][index], batch["ignored_xyxy"][index]]), scale)
        labels = torch.cat([batch["label"][index], batch["ignored_label"][index]]).cpu()
        is_ignored = torch.arange(len(labels)) >= len(batch["label"][index])
        height, width = batch["original_size"][index].tolist()
        limit = boxes.new_tensor([width, height, width, height])
        clipped = _in_file(of_image.boxes_xyxy, scale).clamp(min=0).minimum(limit)
        if inclusive is not None and inclusive[index]:
            boxes, clipped = outer_edges(boxes), outer_edges(clipped)
        on_cpu = Detections(clipped, of_image.score.float().cpu(), of_image.label.cpu())
        domain = int(batch["domain"][index]) if "domain" in batch else None
        images.append(ScoredImage(int(batch["image_id"][index]), domain, on_cpu, boxes, labels, is_ignored.long()))
    return images


def _in_file(boxes_xyxy: Float[Tensor, "boxes 4"], scale: float) -> Float[Tensor, "boxes 4"]:
    """Boxes in pixels of the file; rounding errors are removed, so that a box of 32 x 32 pixels counts as small."""
    boxes = boxes_xyxy.cpu().double() / scale
    whole = boxes.round()
    return boxes.where((boxes - whole).abs() > boxes.abs() * torch.finfo(torch.float32).eps, whole).float()


def outer_edges(boxes_xyxy: Float[Tensor, "boxes 4"]) -> Float[Tensor, "boxes 4"]:
    """Outer edges of boxes whose right and lower coordinates are the last pixels inside, in pixels of the file."""
    return boxes_xyxy + boxes_xyxy.new_tensor([0, 0, 1, 1])


def gather_images(images: Sequence[ScoredImage]) -> list[ScoredImage]:
    """Images of all processes, each once; with several processes, some images are evaluated twice."""
    parts = [list(images)]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts = [[] for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather_object(parts, list(images))
    by_id = {image.image_id: image for part in parts for image in part}
    return [by_id[image_id] for image_id in sorted(by_id)]


def class_keys(class_names: Sequence[str]) -> tuple[str, ...]:
    """Part after ``ap_`` in the key of each class; a class with the name of a size gets a suffix, as ``small_class``.

    Raises:
        ValueError: Two classes would have the same key.
    """
    return distinct_keys([str(name) for name in class_names], "class", taken=SIZES)


def average_precision(images: Sequence[ScoredImage], class_names: Sequence[str]) -> dict[str, float]:
    """COCO's twelve figures in [0, 1] by the names under which they are logged (Lin et al., arXiv:1405.0312).

    ``ap`` is the mean over the IoU thresholds 0.5, 0.55, ... 0.95 and over the classes that occur. ``ap50`` and
    ``ap75`` are the means at one threshold. ``ap_small``, ``ap_medium`` and ``ap_large`` are for objects of up to 32^2,
    up to 96^2 and from 96^2 pixels. ``ar1``, ``ar10`` and ``ar100`` are the average recall with at most 1, 10 and 100
    detections of a class in an image, and ``ar_<size>`` is the average recall for objects of a size. There is also
    ``ap_<class>`` for each class that occurs. Figures that are not defined are omitted.

    Raises:
        ValueError: Two classes would have the same key, or a label has no name.
    """
    keys = class_keys(class_names)
    _check_labels(images, len(keys))
    evaluation = _evaluate(images)
    if evaluation is None:
        return {}
    evaluation.summarize()
    scores = dict(zip(_FIGURES, evaluation.stats, strict=True))
    precision = evaluation.eval["precision"][..., 0, -1]  # thresholds, recalls, classes; any size, 100 detections
    for column, label in enumerate(evaluation.params.catIds):
        scores[f"ap_{keys[label]}"] = _defined_mean(precision[..., column])
    return {name: float(value) for name, value in scores.items() if value >= 0}


def ap50_by_domain(images: Sequence[ScoredImage], domain_names: Sequence[str]) -> dict[str, float]:
    """Average precision at an IoU of 0.5, in [0, 1], for each domain that has objects, by the name of the domain."""
    scores = {}
    for domain, name in enumerate(domain_names):
        evaluation = _evaluate([image for image in images if image.domain == domain], iou_thresholds=(0.5,))
        if evaluation is not None:
            scores[name] = float(_defined_mean(evaluation.eval["precision"][..., 0, -1]))
    return scores


def _check_labels(images: Sequence[ScoredImage], num_classes: int) -> None:
    for image in images:
        for label in (image.label, image.detections.label):
            if len(label) and not 0 <= label.min() <= label.max() < num_classes:
                raise ValueError(
                    f"expected labels from 0 to {num_classes - 1}, one for each class name, got {label.tolist()} in "
                    f"image {image.image_id}"
                )


def _evaluate(images: Sequence[ScoredImage], iou_thresholds: Sequence[float] = ()) -> COCOeval_faster | None:
    """COCO's evaluation over the classes that have objects, or ``None`` if no object counts."""
    classes = {label for image in images for label in image.label[image.is_ignored == 0].tolist()}
    if not classes:
        return None
    truth = _annotations((image.boxes_xyxy, image.label, image.is_ignored) for image in images)
    detections = _annotations(
        (image.detections.boxes_xyxy, image.detections.label, image.detections.score) for image in images
    )
    header = {"images": [{"id": number} for number in range(len(images))], "categories": [{"id": c} for c in classes]}
    evaluation = COCOeval_faster(
        COCO(header | {"annotations": truth}), COCO(header | {"annotations": detections}), "bbox"
    )
    if iou_thresholds:
        evaluation.params.iouThrs = np.array(iou_thresholds)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def _annotations(images: Iterable[tuple[Tensor, Tensor, Tensor]]) -> list[dict[str, Any]]:
    """Boxes with their labels and their scores or ignore flags, in the annotation format of COCO.

    Boxes or scores that are NaN are omitted, because they detect nothing.
    """
    annotations = []
    for image, (boxes_xyxy, label, number) in enumerate(images):
        name = "score" if number.is_floating_point() else "iscrowd"
        for box, category, value in zip(boxes_xyxy.tolist(), label.tolist(), number.tolist(), strict=True):
            x1, y1, x2, y2 = box
            if not any(map(math.isnan, (*box, value))):
                entry = {"id": len(annotations) + 1, "image_id": image, "category_id": category, name: value}
                annotations.append(entry | {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)})
    return annotations


def _defined_mean(precision: np.ndarray) -> float:
    """COCO's mean, which excludes -1, the value of classes without objects."""
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else -1.0
