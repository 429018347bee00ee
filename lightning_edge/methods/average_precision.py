"""Average precision of detections, over all images, by class and by domain."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed
from jaxtyping import Float, Int64
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from lightning_edge.contracts import DetectionBatch, Detections
from lightning_edge.ops.names import key_of


class ScoredImage(NamedTuple):
    """What was found in an image and what is there, in pixels of its file, on the CPU."""

    image_id: int
    domain: int | None
    found: Detections
    boxes_xyxy: Float[Tensor, "boxes 4"]
    label: Int64[Tensor, " boxes"]
    is_ignored: Int64[Tensor, " boxes"]
    """1 where finding the object counts neither for nor against the detector."""


def scored_images(batch: DetectionBatch, found: Sequence[Detections]) -> list[ScoredImage]:
    """Detections beside the truth of a batch, both taken back to the pixels of the files."""
    images = []
    for index, detections in enumerate(found):
        scale = batch["scale"][index].float()
        boxes = torch.cat([batch["boxes_xyxy"][index], batch["ignored_xyxy"][index]]).float() / scale
        labels = torch.cat([batch["label"][index], batch["ignored_label"][index]])
        is_ignored = torch.arange(len(labels)) >= len(batch["label"][index])
        height, width = batch["original_size"][index].tolist()
        limit = boxes.new_tensor([width, height, width, height])
        inside = (detections.boxes_xyxy.float() / scale).clamp(min=0).minimum(limit)
        on_cpu = Detections(inside.cpu(), detections.score.float().cpu(), detections.label.cpu())
        domain = int(batch["domain"][index]) if "domain" in batch else None
        images.append(
            ScoredImage(int(batch["image_id"][index]), domain, on_cpu, boxes.cpu(), labels.cpu(), is_ignored.long())
        )
    return images


def gather_images(images: Sequence[ScoredImage]) -> list[ScoredImage]:
    """Those of all processes, each once, for under several of them some are evaluated twice."""
    parts = [list(images)]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts = [[] for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather_object(parts, list(images))
    by_id = {image.image_id: image for part in parts for image in part}
    return [by_id[image_id] for image_id in sorted(by_id)]


def average_precision(images: Sequence[ScoredImage], class_names: Sequence[str]) -> dict[str, float]:
    """COCO's average precision in [0, 1] by the names under which it is logged; what is not defined is left out.

    ``ap`` is the mean over the IoU thresholds 0.5, 0.55, ... 0.95 and the classes that occur, ``ap50`` and ``ap75`` at
    one threshold, ``ap_small``, ``ap_medium`` and ``ap_large`` of objects below 32^2, below 96^2 and from 96^2 pixels,
    ``ap_<class>`` of a class (Lin et al., arXiv:1405.0312).
    """
    if not images:
        return {}
    metric = _metric(class_metrics=True)
    metric.update(*_as_torchmetrics(images))
    found = metric.compute()
    sizes = {f"ap_{size}": found[f"map_{size}"] for size in ("small", "medium", "large")}
    scores = {"ap": found["map"], "ap50": found["map_50"], "ap75": found["map_75"], **sizes}
    classes = zip(found["classes"].flatten().tolist(), found["map_per_class"].flatten(), strict=True)
    scores |= {f"ap_{key_of(str(class_names[label]))}": value for label, value in classes}
    return {name: float(value) for name, value in scores.items() if value >= 0}


def ap50_by_domain(images: Sequence[ScoredImage], domain_names: Sequence[str]) -> dict[str, float]:
    """Average precision at an IoU of 0.5 in [0, 1], of the images of each domain that has objects, by its name."""
    scores = {}
    for domain, name in enumerate(domain_names):
        of_domain = [image for image in images if image.domain == domain]
        if of_domain:
            metric = _metric(iou_thresholds=[0.5])
            metric.update(*_as_torchmetrics(of_domain))
            score = float(metric.compute()["map"])
            scores |= {name: score} if score >= 0 else {}
    return scores


def _metric(class_metrics: bool = False, iou_thresholds: list[float] | None = None) -> MeanAveragePrecision:
    metric = MeanAveragePrecision(
        class_metrics=class_metrics,
        iou_thresholds=iou_thresholds,
        backend="faster_coco_eval",
        sync_on_compute=False,  # one process has the images of all, and the others do not ask
    )
    metric.warn_on_many_detections = False
    return metric


def _as_torchmetrics(images: Sequence[ScoredImage]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    found = [
        {"boxes": image.found.boxes_xyxy, "scores": image.found.score, "labels": image.found.label} for image in images
    ]
    truth = [{"boxes": image.boxes_xyxy, "labels": image.label, "iscrowd": image.is_ignored} for image in images]
    return found, truth
