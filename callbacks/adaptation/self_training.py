"""Adaptation by the predictions of a teacher for the target, from which the module learns."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from callbacks._training.step_random import step_generator
from callbacks.adaptation._layers import NamedLayer
from callbacks.adaptation._loss import AdaptationLoss
from callbacks.adaptation._pair import Pair
from callbacks.adaptation._teacher import Teacher
from lightning_edge.checks import check_share, check_whole_at_least
from lightning_edge.contracts import IGNORE_INDEX, UNKNOWN_CLASS
from lightning_edge.nn.adaptation.appearance import RandomAppearance
from lightning_edge.ops.adaptation.mixing import class_mix_masks, confident_pseudo_labels, pseudo_masks
from lightning_edge.ops.precision import at_least_float32


class _PseudoLabels(NamedTuple):
    labels: Tensor
    """Class of each sample or pixel."""
    weights: Tensor
    """Weight of each in the loss."""


class MeanTeacher(AdaptationLoss):
    """Trains on predictions of a teacher for the target, where these are confident.

    The teacher is the running mean of the module's weights (arXiv:1703.01780). It sees the target batch as it is, and
    the module sees it with strong changes of its appearance, as in FixMatch (arXiv:2001.07685). Of images with masks,
    all pixels count by the share of confident ones in their image, and with ``mix`` half of the classes of a source
    image are pasted onto each target image, as in DAFormer (arXiv:2111.14887). Other callbacks of this package then see
    the changed target too, because it passes through the module once.

    ============================  ==============================================================  ====
    key                           meaning                                                         unit
    ============================  ==============================================================  ====
    ``train/mean_teacher``        the weighted cross-entropy with the teacher's labels            -
    ``train/confident_share``     mean weight of the teacher's labels, such as the share of       -
                                  samples that count
    ============================  ==============================================================  ====

    Args:
        weight: Factor of the term.
        threshold: Probability above which a prediction of the teacher is confident.
        decay: Share of the teacher's weights that remains in a step.
        appearance: Changes the appearance of the module's target images; ``None`` means ``RandomAppearance()``. Without
            changes, the module learns little from a teacher that sees the same.
        mix: Whether to paste classes of the source, for segmentation of single images only.
        ramp: Whether the weight rises in the course of training.
        seed: Seed of the changes and of the pasted classes.
        name: Name of the term.

    Raises:
        ValueError: An argument is out of range. Later: the batches hold no images, the outputs of the module's
            ``forward`` are not logits of classes, or images to be mixed differ in size.
    """

    def __init__(
        self,
        weight: float = 1.0,
        threshold: float = 0.95,
        decay: float = 0.99,
        appearance: nn.Module | None = None,
        mix: bool = False,
        ramp: bool = True,
        seed: int = 0,
        name: str = "mean_teacher",
    ) -> None:
        super().__init__(weight, None, ramp, name)
        check_share(threshold=threshold, decay=decay)
        check_whole_at_least(0, seed=seed)
        self.threshold = threshold
        self.decay = decay
        self.appearance = RandomAppearance() if appearance is None else appearance
        self.mix = mix
        self.seed = seed
        self._pseudo: _PseudoLabels | None = None
        self._num_steps = 0

    @override
    def make_nets(self, module: LightningModule, layer: NamedLayer) -> nn.Module:
        return Teacher(module)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._num_steps = trainer.global_step  # a resumed run may start between accumulated batches

    @override
    def change_target(self, batch: dict[str, Any], source_batch: Any) -> dict[str, Any]:
        domains, images = self.domains, batch[self.domains.input_key]
        if images.ndim not in (4, 5):
            raise ValueError(
                "expected batches of images [batch, 3, height, width] or of clips [batch, time, 3, height, width] for "
                f"MeanTeacher, got shape {list(images.shape)}"
            )
        logits = self.nets.call(domains.module, lambda teacher: domains.forward(batch, teacher))
        if not isinstance(logits, Tensor) or logits.ndim < 2:
            raise ValueError(
                f"expected forward of {type(domains.module).__name__} to return logits of classes for MeanTeacher, got "
                f"{type(logits).__name__}"
            )
        labels = confident_pseudo_labels if logits.ndim == 2 else pseudo_masks
        self._pseudo = _PseudoLabels(*labels(logits, self.threshold))
        generator = step_generator(domains.trainer, self.state_key, self.seed)
        if self.mix:
            images, self._pseudo = _mixed(images, self._pseudo, source_batch, logits.shape[1], generator)
        return batch | {domains.input_key: self.appearance(images, generator)}

    @override
    def loss(self, pair: Pair) -> Tensor:
        assert self._pseudo is not None
        labels, weights = self._pseudo
        self._pseudo = None
        self.domains.module.log("train/confident_share", weights.mean(), batch_size=len(labels))
        unknown = UNKNOWN_CLASS if labels.ndim == 1 else IGNORE_INDEX
        losses = F.cross_entropy(at_least_float32(pair.target_output), labels, reduction="none", ignore_index=unknown)
        return (weights * losses).mean()

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.global_step != self._num_steps:  # not between accumulated batches
            self._num_steps = trainer.global_step
            self.nets.update(pl_module, self.decay)


def _mixed(
    images: Tensor, pseudo: _PseudoLabels, source_batch: Any, num_classes: int, generator: torch.Generator
) -> tuple[Tensor, _PseudoLabels]:
    """Target images with pasted classes of source images, and their labels."""
    source, masks = source_batch.get("image"), source_batch.get("mask")
    if source is None or masks is None or images.shape[1:] != source.shape[1:] or len(images) > len(source):
        raise ValueError(
            "expected images with masks of one size in source and target, and a source batch of at least the size of "
            f"the target batch, to mix them, got {None if source is None else tuple(source.shape)} and "
            f"{tuple(images.shape)}: use mix=False, or the same crop and batch size for both"
        )
    source, masks = source[: len(images)], masks[: len(images)]
    is_pasted = class_mix_masks(masks, num_classes, generator)
    labels = torch.where(is_pasted, masks, pseudo.labels)
    weights = torch.where(is_pasted, 1.0, pseudo.weights)
    return torch.where(is_pasted[:, None], source, images), _PseudoLabels(labels, weights)
