"""Adaptation by source images that get the colors and the lighting of target images, without any training."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.adaptation._matched_images import matched_images
from callbacks.adaptation._two_domains import input_key_of, target_batch_of
from lightning_edge.checks import check_at_least
from lightning_edge.ops.adaptation.fourier import transfer_amplitude


class FDA(Callback):
    """Gives the source images of each training batch the low-frequency amplitudes of target images (arXiv:2004.05498).

    Labels stay valid, because phases hold what is where. Each source image takes the style of one target image; a
    smaller target batch is used again from its start. Target images of another size are resized first. All frames of a
    clip take the style of the last frame of one target clip, so that the style does not flicker.

    The paper also makes the entropy of the predictions for the target small and averages three nets with different
    ``beta``. For the first, add :class:`~callbacks.adaptation.predictions.EntropyMinimization` with
    ``diversity=False``, which has no robust penalty. The callback logs nothing.

    Args:
        beta: Part of the side that the replaced frequencies may have, in [0, 0.5]; 0.01 to 0.09 in the paper. With less
            than one over the side in pixels, only the mean color changes.

    Raises:
        ValueError: ``beta`` is out of range. Later: there is no target data, or the batches hold no images.
    """

    def __init__(self, beta: float = 0.01) -> None:
        check_at_least(0, beta=beta)
        if beta > 0.5:
            raise ValueError(f"expected beta of at most 0.5, got {beta}")
        self.beta = beta

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        target, key = target_batch_of(trainer), input_key_of(trainer)
        if not isinstance(batch, dict) or key not in batch:
            raise ValueError(f"expected source batches as dicts with {key!r}, got {type(batch).__name__}")
        batch[key] = _restyled(batch[key], target[key], self.beta)


def _restyled(source: Tensor, target: Tensor, beta: float) -> Tensor:
    """Source images or clips with the style of target images or clips."""
    style = matched_images(target, source)
    images = source.flatten(0, -4)
    style = style.repeat_interleave(len(images) // len(source), 0)
    return transfer_amplitude(images, style, beta).view_as(source)
