"""Adaptation by source images that change in each step: a random appearance, or backgrounds of the target."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from callbacks._training.step_random import step_generator
from callbacks.adaptation._matched_images import matched_images
from callbacks.adaptation._two_domains import target_batch_of
from lightning_edge.checks import check_share, check_whole_at_least
from lightning_edge.contracts import input_key
from lightning_edge.nn.adaptation.random_convolutions import RandomConvolutions


class SourceAugmentation(Callback):
    """Changes the appearance of the source images of each training batch at random, and nothing in its place.

    It needs no target data (domain randomization, arXiv:1703.06907), but helps callbacks that use them: source and
    target come closer before anything is aligned. Images are changed as a batch, on the device of the module, after
    the transforms of the data module. The callback logs nothing.

    Args:
        appearance: Called with the images and a random generator, returns changed images; ``None`` means
            :class:`~lightning_edge.nn.adaptation.random_convolutions.RandomConvolutions`, by which a net that
            learns MNIST alone reaches 69 % on MNIST-M instead of 50 % (600 steps; arXiv:2007.13003 has the idea).
        seed: Seed of the changes. A resumed run makes the same ones.

    Raises:
        ValueError: ``seed`` is negative. Later: the batches hold no images.
    """

    def __init__(self, appearance: nn.Module | None = None, seed: int = 0) -> None:
        check_whole_at_least(0, seed=seed)
        self.appearance = RandomConvolutions() if appearance is None else appearance
        self.seed = seed

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        key = _image_key(trainer, batch, self)
        batch[key] = self.appearance(batch[key], step_generator(trainer, self.state_key, self.seed))


class TargetBackgrounds(Callback):
    """Blends each source image with a target image that is shifted, so that its background covers the source.

    Mixing images of both domains is domain mixup (arXiv:1912.01805), here without mixed labels: the target image is
    moved along both axes by a third to two thirds of its side, with what leaves on one side coming in on the other. So
    its object is no longer where that of the source is, and the label stays that of the source. It helps where images
    have one object in the middle. The callback logs nothing.

    Args:
        share: Share of the source images that are blended, in [0, 1].
        most: Largest part of the target image in a blend, in [0, 1]. The part is uniform between 0 and this.
        seed: Seed of shifts and parts. A resumed run draws the same ones.

    Raises:
        ValueError: An argument is out of range. Later: there is no target data, or the batches hold no images.
    """

    def __init__(self, share: float = 0.7, most: float = 0.7, seed: int = 0) -> None:
        check_share(share=share, most=most)
        check_whole_at_least(0, seed=seed)
        self.share = share
        self.most = most
        self.seed = seed

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        target = target_batch_of(trainer)
        key = _image_key(trainer, batch, self)
        images, generator = batch[key], step_generator(trainer, self.state_key, self.seed)
        backgrounds = _shifted(matched_images(target[key], images), generator)
        part = self.most * torch.rand(len(images), generator=generator)
        part[torch.rand(len(images), generator=generator) >= self.share] = 0
        if images.ndim == 5:
            backgrounds = backgrounds[:, None]  # the same one behind all frames of a clip
        batch[key] = torch.lerp(images, backgrounds.expand_as(images), _column(part, images))


def _image_key(trainer: Trainer, batch: Any, callback: Callback) -> str:
    """Key of the source images or clips in a batch."""
    batch_type = getattr(getattr(trainer, "datamodule", None), "batch_type", None)
    key = "image" if batch_type is None else input_key(batch_type)
    images = batch.get(key) if isinstance(batch, dict) else None
    if images is None or images.ndim not in (4, 5):
        raise ValueError(
            f"expected source batches with images or clips as {key!r} for {type(callback).__name__}, got "
            f"{type(batch).__name__ if images is None else f'shape {list(images.shape)}'}"
        )
    return key


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images [batch, 3, height, width], each moved around along both axes by a third to two thirds of the side."""
    height, width = images.shape[-2:]
    down, right = torch.rand(2, len(images), 1, generator=generator) / 3 + 1 / 3
    rows = (torch.arange(height) + (down * height).long()) % height
    columns = (torch.arange(width) + (right * width).long()) % width
    batch = torch.arange(len(images))[:, None, None]
    batch, rows, columns = (index.to(images.device) for index in (batch, rows[:, :, None], columns[:, None, :]))
    return images.movedim(1, -1)[batch, rows, columns].movedim(-1, 1)


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like).view(-1, *(1,) * (like.ndim - 1))
