"""Average precision of detections, over all images, by class and by domain."""

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
"""Names of what COCO's evaluation summarizes, in its order."""


class ScoredImage(NamedTuple):
    """Detections in an image and the objects in it, as outer edges in pixels of its file, on the CPU."""

    image_id: int
    domain: int | None
    found: Detections
    boxes_xyxy: Float[Tensor, "boxes 4"]
    label: Int64[Tensor, " boxes"]
    is_ignored: Int64[Tensor, " boxes"]
    """1 where finding the object counts neither for nor against the detector."""


def scored_images(batch: DetectionBatch, found: Sequence[Detections]) -> list[ScoredImage]:
    """Detections beside the truth of a batch, both taken back to the pixels of the files.

    Detections are clipped to the file. Where the batch says ``has_inclusive_edges``, both then reach one pixel further
    to the right and down, as in the official evaluation of such a data set.
    """
    inclusive = batch.get("has_inclusive_edges")
    images = []
    for index, detections in enumerate(found):
        scale = float(batch["scale"][index])
        boxes = _in_file(torch.cat([batch["boxes_xyxy"][index], batch["ignored_xyxy"][index]]), scale)
        labels = torch.cat([batch["label"][index], batch["ignored_label"][index]]).cpu()
        is_ignored = torch.arange(len(labels)) >= len(batch["label"][index])
        height, width = batch["original_size"][index].tolist()
        limit = boxes.new_tensor([width, height, width, height])
        clipped = _in_file(detections.boxes_xyxy, scale).clamp(min=0).minimum(limit)
        if inclusive is not None and inclusive[index]:
            boxes, clipped = outer_edges(boxes), outer_edges(clipped)
        on_cpu = Detections(clipped, detections.score.float().cpu(), detections.label.cpu())
        domain = int(batch["domain"][index]) if "domain" in batch else None
        images.append(ScoredImage(int(batch["image_id"][index]), domain, on_cpu, boxes, labels, is_ignored.long()))
    return images


def _in_file(boxes_xyxy: Float[Tensor, "boxes 4"], scale: float) -> Float[Tensor, "boxes 4"]:
    """Boxes in pixels of the file. Edges on whole pixels are so again: a box of 32 x 32 pixels is a small one."""
    boxes = boxes_xyxy.cpu().double() / scale
    whole = boxes.round()
    return boxes.where((boxes - whole).abs() > boxes.abs() * torch.finfo(torch.float32).eps, whole).float()


def outer_edges(boxes_xyxy: Float[Tensor, "boxes 4"]) -> Float[Tensor, "boxes 4"]:
    """Boxes, in pixels of the file, whose right and lower edges were the last pixels inside."""
    return boxes_xyxy + boxes_xyxy.new_tensor([0, 0, 1, 1])


def gather_images(images: Sequence[ScoredImage]) -> list[ScoredImage]:
    """Those of all processes, each once, for under several of them some are evaluated twice."""
    parts = [list(images)]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts = [[] for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather_object(parts, list(images))
    by_id = {image.image_id: image for part in parts for image in part}
    return [by_id[image_id] for image_id in sorted(by_id)]


def class_keys(class_names: Sequence[str]) -> tuple[str, ...]:
    """What follows ``ap_`` in the key of each class; a class that is called like a size is ``small_class``.

    Raises:
        ValueError: Two classes would have the same key.
    """
    return distinct_keys([str(name) for name in class_names], "class", taken=SIZES)


def average_precision(images: Sequence[ScoredImage], class_names: Sequence[str]) -> dict[str, float]:
    """COCO's twelve figures in [0, 1] by the names under which they are logged; what is not defined is left out.

    ``ap`` is the mean over the IoU thresholds 0.5, 0.55, ... 0.95 and the classes that occur, ``ap50`` and ``ap75`` at
    one threshold, ``ap_small``, ``ap_medium`` and ``ap_large`` of objects up to 32^2, up to 96^2 and from 96^2 pixels.
    ``ar1``, ``ar10`` and ``ar100`` are the average recall with so many detections of a class in an image, and
    ``ar_<size>`` that of objects of a size. Beside them stands ``ap_<class>`` of each class that occurs
    (Lin et al., arXiv:1405.0312).

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
    """Average precision at an IoU of 0.5 in [0, 1], of the images of each domain that has objects, by its name."""
    scores = {}
    for domain, name in enumerate(domain_names):
        evaluation = _evaluate([image for image in images if image.domain == domain], iou_thresholds=(0.5,))
        if evaluation is not None:
            scores[name] = float(_defined_mean(evaluation.eval["precision"][..., 0, -1]))
    return scores


def _check_labels(images: Sequence[ScoredImage], num_classes: int) -> None:
    for image in images:
        for label in (image.label, image.found.label):
            if len(label) and not 0 <= label.min() <= label.max() < num_classes:
                raise ValueError(
                    f"expected labels from 0 to {num_classes - 1}, one for each class name, got {label.tolist()} in "
                    f"image {image.image_id}"
                )


def _evaluate(images: Sequence[ScoredImage], iou_thresholds: Sequence[float] = ()) -> COCOeval_faster | None:
    """COCO's evaluation over the classes that have an object, or ``None`` if no object counts."""
    classes = {label for image in images for label in image.label[image.is_ignored == 0].tolist()}
    if not classes:
        return None
    truth = _annotations((image.boxes_xyxy, image.label, image.is_ignored) for image in images)
    found = _annotations((image.found.boxes_xyxy, image.found.label, image.found.score) for image in images)
    about = {"images": [{"id": number} for number in range(len(images))], "categories": [{"id": c} for c in classes]}
    evaluation = COCOeval_faster(COCO(about | {"annotations": truth}), COCO(about | {"annotations": found}), "bbox")
    if iou_thresholds:
        evaluation.params.iouThrs = np.array(iou_thresholds)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def _annotations(images: Iterable[tuple[Tensor, Tensor, Tensor]]) -> list[dict[str, Any]]:
    """Boxes of images, their labels, and whether they are ignored or their scores, as COCO lists them.

    What holds NaN is left out: it finds nothing.
    """
    annotations = []
    for image, (boxes_xyxy, label, number) in enumerate(images):
        name = "score" if number.is_floating_point() else "iscrowd"
        for box, category, value in zip(boxes_xyxy.tolist(), label.tolist(), number.tolist(), strict=True):
            x1, y1, x2, y2 = box
            if not any(map(math.isnan, (*box, value))):
                about = {"id": len(annotations) + 1, "image_id": image, "category_id": category, name: value}
                annotations.append(about | {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)})
    return annotations


def _defined_mean(precision: np.ndarray) -> float:
    """COCO's mean, of all but the -1 that stands for what has no object."""
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else -1.0
