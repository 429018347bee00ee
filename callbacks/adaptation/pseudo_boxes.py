"""Adaptation of a detector by the boxes that a teacher predicts for the target."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from callbacks._pictures.boxes import are_detections
from callbacks._training.step_random import step_generator
from callbacks.adaptation._layers import NamedLayer
from callbacks.adaptation._loss import AdaptationLoss, progress_of
from callbacks.adaptation._pair import Pair
from callbacks.adaptation._teacher import Teacher
from callbacks.adaptation._two_domains import target_batch_of
from lightning_edge.checks import check_share, check_whole_at_least
from lightning_edge.contracts import DetectionBatch, Detections, Detector
from lightning_edge.module_modes import restored_modes
from lightning_edge.nn.adaptation.appearance import RandomAppearance
from lightning_edge.torch_internals import BatchNorm


class PseudoBoxes(AdaptationLoss):
    """Trains a detector on the boxes that a teacher detects in target images (unbiased teacher, arXiv:2102.09480).

    Until ``start``, the detector learns from the source alone. Then the teacher takes over its weights and becomes
    their running mean. The teacher sees the target images as they are. Its detections are the labels with which the
    detector learns from the same images in changed colors, by the detector's own loss. Detections with scores from
    ``unsure`` to ``threshold`` are ignored regions: they count neither as objects nor as background, if the detector
    supports such regions. So an object that the teacher only suspects is not learned as background.
    A teacher whose detections above ``threshold`` are mostly wrong makes the detector worse, on the source too.

    Other than in the paper, the teacher's boxes are learned too and not only their classes, the images are changed in
    their colors only, and batch norms of the teacher have their own statistics, which only target images update.

    ==================================  ========================================================  =====
    key                                 meaning                                                   unit
    ==================================  ========================================================  =====
    ``train/pseudo_boxes``              the weighted loss with the teacher's boxes                -
    ``train/pseudo_boxes_per_image``    mean number of the teacher's boxes that count             boxes
    ==================================  ========================================================  =====

    Args:
        weight: Factor of the term.
        threshold: Score from which on a detection of the teacher is a label.
        unsure: Score from which on a detection is an ignored region. A value of ``threshold`` ignores none.
        start: Share of the training after which the term starts.
        decay: Share of the teacher's weights that remains in a step.
        appearance: Changes the appearance of the detector's target images; the standard changes if ``None``.
        ramp: Whether the weight rises in the course of training.
        seed: Seed of the changes.
        name: Name of the term.

    Raises:
        ValueError: An argument is out of range. Later: no part of the module is a detector, or the module's ``forward``
            returns no detections.
    """

    def __init__(
        self,
        weight: float = 1.0,
        threshold: float = 0.5,
        unsure: float = 0.1,
        start: float = 0.4,
        decay: float = 0.99,
        appearance: nn.Module | None = None,
        ramp: bool = False,
        seed: int = 0,
        name: str = "pseudo_boxes",
    ) -> None:
        super().__init__(weight, None, ramp, name)
        check_share(threshold=threshold, unsure=unsure, start=start, decay=decay)
        if unsure > threshold:
            raise ValueError(f"expected unsure of at most threshold ({threshold}), got {unsure}")
        check_whole_at_least(0, seed=seed)
        self.threshold = threshold
        self.unsure = unsure
        self.start = start
        self.decay = decay
        self.appearance = RandomAppearance() if appearance is None else appearance
        self.seed = seed
        self._num_steps = 0

    @override
    def choose_layer(self, module: LightningModule, num_classes: int | None) -> NamedLayer:
        for name, part in module.named_modules():
            if isinstance(part, Detector):
                return NamedLayer(name, module.get_submodule(name))
        raise ValueError(
            "expected a module with a detector, which has losses(batch) and detect(image), because PseudoBoxes learns "
            f"from detections, got {type(module).__name__}"
        )

    @override
    def make_nets(self, module: LightningModule, layer: NamedLayer) -> nn.Module:
        return Teacher(module)

    @property
    @override
    def follows_progress(self) -> bool:
        return True

    @override
    def is_active(self, progress: float) -> bool:
        return progress >= self.start

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._num_steps = trainer.global_step  # a resumed run may start between accumulated batches

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.global_step == self._num_steps:  # between accumulated batches
            return
        self._num_steps = trainer.global_step
        if self.is_active(progress_of(trainer, pl_module)):
            self.nets.update(pl_module, self.decay)
        else:
            self.nets.copy(pl_module)

    @override
    def loss(self, pair: Pair) -> Tensor:
        return self._loss_on_target()

    @override
    def _active_term(self, batch: Any, share: float) -> Tensor:
        return self.strength(share) * self._loss_on_target()  # the detector's own loss passes the target

    def _loss_on_target(self) -> Tensor:
        domains = self.domains
        batch, module = target_batch_of(domains.trainer), domains.module
        with restored_modes(module):
            for part in module.modules():  # many detectors detect in evaluation mode only
                part.training = part.training and isinstance(part, BatchNorm)
            detections = self.nets.call(module, lambda teacher: domains.forward(batch, teacher))
        if not are_detections(detections):
            kind = type(detections).__name__
            raise ValueError(f"expected forward of {type(module).__name__} to return a list of Detections, got {kind}")
        images = self.appearance(batch[domains.input_key], step_generator(domains.trainer, self.state_key, self.seed))
        labeled = labeled_batch(images, detections, self.threshold, self.unsure)
        num_boxes = sum(map(len, labeled["label"])) / len(images)
        module.log("train/pseudo_boxes_per_image", num_boxes, batch_size=len(images))
        detector: Any = self.classifier
        changed = {**batch, domains.input_key: images}
        return domains.forward(changed, lambda _: torch.stack([*detector.losses(labeled).values()]).sum())


def labeled_batch(images: Tensor, detections: Sequence[Detections], threshold: float, unsure: float) -> DetectionBatch:
    """Images whose labels are detections.

    Args:
        images: Images in [0, 1], ``[batch, 3, height, width]``.
        detections: Detections in each image.
        threshold: Score from which on a detection is a label.
        unsure: Score from which on any other detection is an ignored region.
    """
    labels: list[Detections] = []
    ignored: list[Detections] = []
    for one in detections:
        has_area = (one.boxes_xyxy[:, 2:] > one.boxes_xyxy[:, :2]).all(1)
        labels.append(_only(one, has_area & (one.score >= threshold)))
        ignored.append(_only(one, has_area & (one.score >= unsure) & (one.score < threshold)))
    return {
        "image": images,
        "boxes_xyxy": [one.boxes_xyxy for one in labels],
        "label": [one.label for one in labels],
        "ignored_xyxy": [one.boxes_xyxy for one in ignored],
        "ignored_label": [one.label for one in ignored],
        "scale": torch.ones(len(images), device=images.device),
        "original_size": torch.tensor(images.shape[-2:], device=images.device).expand(len(images), 2),
        "image_id": torch.arange(len(images), device=images.device),
    }


def _only(detections: Detections, is_kept: Tensor) -> Detections:
    return Detections(*(values[is_kept] for values in detections))
