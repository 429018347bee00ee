"""Generated drives with a mask for every frame: longer video than any real data set has labels for."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lightning_edge.data.cityscapes import CityscapesVideoDataModule
from lightning_edge.samples.frames import render_snippet


def labelled_drive(
    world_seed: int, num_frames: int, height: int = 128, width: int = 256, domain: str = "day"
) -> Iterator[tuple[Float[Tensor, "3 height width"], Int64[Tensor, "height width"]]]:
    """Frames of one drive at 17 Hz, in [0, 1], each with the 19 classes of Cityscapes, one after the other.

    Args:
        world_seed: Of everything that is drawn by chance.
        num_frames: How many.
        height: Rows.
        width: Columns.
        domain: One of ``lightning_edge.samples.domains.DOMAINS``.

    Raises:
        ValueError: An argument is out of range.
    """
    for frame in render_snippet(world_seed, num_frames, height=height, width=width, domain=domain):
        mask = CityscapesVideoDataModule.label_table[frame.mask]
        yield torch.from_numpy(frame.image).permute(2, 0, 1).float() / 255, torch.from_numpy(mask).long()
