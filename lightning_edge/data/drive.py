"""Generated drives with ground truth for every frame, longer than the labeled videos of real data sets."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lightning_edge.checks import check_whole_at_least
from lightning_edge.data.cityscapes import CityscapesDataModule
from lightning_edge.data.formats.bdd100k import LabeledFrame, labeled_frame
from lightning_edge.samples.bdd100k import LIGHT_AND_WEATHER
from lightning_edge.samples.bdd100k_labels import box_labels
from lightning_edge.samples.world.camera import bdd100k_camera
from lightning_edge.samples.world.frames import MIN_SIZE_PX, Frame, render_snippet


def labeled_drive(
    world_seed: int, num_frames: int, height: int = 128, width: int = 256, domain: str = "day"
) -> Iterator[tuple[Float[Tensor, "3 height width"], Int64[Tensor, "height width"]]]:
    """Yield the frames of one drive at 17 Hz, in [0, 1], each with a mask of the 19 classes of Cityscapes.

    Args:
        world_seed: Seed of all random numbers.
        num_frames: Number of frames.
        height: Height of the frames, in pixels.
        width: Width of the frames, in pixels.
        domain: Name of the conditions, one of ``lightning_edge.samples.world.domains.DOMAINS``.

    Raises:
        ValueError: An argument is out of range.
    """
    frames = render_snippet(world_seed, num_frames, height=height, width=width, domain=domain)
    return ((_to_image(frame.image), _to_mask(frame.mask)) for frame in frames)


def boxed_drive(
    world_seed: int, num_frames: int, height: int = 144, width: int = 256, domain: str = "day"
) -> Iterator[tuple[Float[Tensor, "3 height width"], LabeledFrame]]:
    """Yield the frames of one drive at 17 Hz, in [0, 1], as the camera of BDD100K sees them, with boxes and attributes.

    Args:
        world_seed: Seed of all random numbers.
        num_frames: Number of frames.
        height: Height of the frames, in pixels.
        width: Width of the frames, in pixels.
        domain: Name of the conditions, one of ``lightning_edge.samples.bdd100k.LIGHT_AND_WEATHER``.

    Raises:
        ValueError: An argument is out of range.
    """
    if domain not in LIGHT_AND_WEATHER:
        raise ValueError(f"expected domain to be one of {list(LIGHT_AND_WEATHER)}, got {domain!r}")
    check_whole_at_least(MIN_SIZE_PX, height=height, width=width)
    frames = render_snippet(world_seed, num_frames, domain=domain, camera=bdd100k_camera(height, width))
    return _boxed(frames, world_seed, domain)


def _boxed(
    frames: Iterator[Frame], world_seed: int, domain: str
) -> Iterator[tuple[Float[Tensor, "3 height width"], LabeledFrame]]:
    time_of_day, weather = LIGHT_AND_WEATHER[domain]
    attributes = {"timeofday": time_of_day, "weather": weather, "scene": "city street"}
    for number, frame in enumerate(frames):
        labels = {"name": f"{world_seed}_{number:06d}", "attributes": attributes, "labels": box_labels(frame)}
        yield _to_image(frame.image), labeled_frame(labels)


def _to_image(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255


def _to_mask(label_ids: np.ndarray) -> Tensor:
    return torch.from_numpy(CityscapesDataModule.label_table[label_ids]).long()
