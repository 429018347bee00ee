"""Check a frame of a stream before it reaches a net."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_THUMBNAIL_PX = 16
"""Height and width of a thumbnail, in pixels."""
_OVERSHOOT = 0.05
"""How far the brightness of a thumbnail may be outside [0, 1], because interpolated frames overshoot a little."""
_PIXEL_OVERSHOOT = 0.5
"""How far a single value of a pixel may be outside [0, 1]; it overshoots more than an average."""


class CheckedFrame(NamedTuple):
    """A valid frame and its thumbnail."""

    image: Float[Tensor, "1 3 height width"]
    thumbnail: Float[Tensor, "1 1 16 16"]
    """Image of mean brightness at a low resolution."""


def check_frame(frame: Tensor, net: Any) -> CheckedFrame:
    """Check a frame of a camera, and make it a batch of one image.

    Args:
        frame: Image ``[3, height, width]`` of floats in [0, 1].
        net: Net that will process the frame. If it has parameters, the frame must have their dtype and be on their
            device.

    Raises:
        ValueError: The frame has another shape, dtype, device or range of values.
    """
    if not isinstance(frame, Tensor):
        raise ValueError(
            f"expected frame as a tensor [3, height, width] in [0, 1], got {type(frame).__name__}; convert an RGB "
            "array of bytes by torch.from_numpy(frame).permute(2, 0, 1) / 255"
        )
    if frame.ndim != 3 or frame.shape[0] != 3 or not frame.numel() or not frame.is_floating_point():
        raise ValueError(
            f"expected frame as floats [3, height, width] in [0, 1], got {frame.dtype} {list(frame.shape)}; "
            "convert bytes [height, width, 3] by frame.permute(2, 0, 1) / 255"
        )
    _check_kind(frame, net)
    image = frame[None]
    thumbnail = F.adaptive_avg_pool2d(image.mean(1, keepdim=True), _THUMBNAIL_PX)
    # in one transfer, because every transfer makes the GPU wait
    darkest, brightest, dimmest, lightest = torch.stack([*image.aminmax(), *thumbnail.aminmax()]).tolist()
    is_within = darkest >= -_PIXEL_OVERSHOOT and brightest <= 1 + _PIXEL_OVERSHOOT  # False for NaN
    if not (is_within and dimmest >= -_OVERSHOOT and lightest <= 1 + _OVERSHOOT):
        remedy = "; scale values up to 255 by frame / 255" if 2 < brightest <= 255 else ""
        raise ValueError(f"expected frame in [0, 1], got values from {darkest:.3g} to {brightest:.3g}{remedy}")
    return CheckedFrame(image, thumbnail)


def _check_kind(frame: Tensor, net: Any) -> None:
    weights = net.parameters() if isinstance(net, nn.Module) else ()
    weight = next((weight for weight in weights if weight.is_floating_point()), None)
    if weight is not None and frame.device != weight.device:
        raise ValueError(
            f"expected frame on the device of the net ({weight.device}), got it on {frame.device}: "
            f'use frame.to("{weight.device}")'
        )
    dtype = torch.float32 if weight is None else weight.dtype
    device = frame.device.type
    is_cast = weight is None or (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device))
    if frame.dtype != dtype and (frame.dtype == torch.float64 or not is_cast):
        raise ValueError(f"expected frame of the net's dtype ({dtype}), got {frame.dtype}: use frame.to({dtype})")
