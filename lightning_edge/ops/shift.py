"""The shift operation: channels move by whole pixels, each in its own direction, without arithmetic.

Source: Wu et al., *Shift: A Zero FLOP, Zero Parameter Alternative to Spatial Convolutions*, arXiv:1711.08141.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake
from torch.autograd import forward_ad

from lightning_edge.ops.shift_cpu import shift_planes

_CACHE_BYTES = 2**21
"""Of shifted samples that are multiplied at once: of 256 KiB to 2 MiB the fastest for most of eight shapes."""


class Shift(NamedTuple):
    """How a number of neighbouring channels moves: ``out[y, x] = image[y + dy_px, x + dx_px]``."""

    num_channels: int
    dy_px: int
    dx_px: int


def grid_shifts(num_channels: int, kernel_size: int = 3, dilation: int = 1) -> tuple[Shift, ...]:
    """The shifts of the paper: equally many channels for each place of a kernel; those left over do not move.

    Args:
        num_channels: Channels of the image.
        kernel_size: Places of the kernel in each direction, odd.
        dilation: Pixels from place to place.

    Raises:
        ValueError: The kernel is even, the dilation is less than a pixel, or there are fewer channels than places.
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"expected an odd kernel_size of at least 1, got {kernel_size}")
    if dilation < 1:
        raise ValueError(f"expected dilation of at least 1, got {dilation}")
    if dilation != int(dilation):
        raise ValueError(f"expected a whole number as dilation, got {dilation}")
    each, left = divmod(num_channels, kernel_size**2)
    if each == 0:
        raise ValueError(f"expected a channel for each of {kernel_size**2} places of the kernel, got {num_channels}")
    # this order lets all of them be one copy in memory, see `shift_cpu`
    steps = [dilation * (kernel_size // 2 - place) for place in range(kernel_size)]
    shifts = tuple(Shift(each, dy, dx) for dx in steps for dy in steps)
    return (*shifts, Shift(left, 0, 0)) if left else shifts


def shifts_of_offsets(offsets: Sequence[tuple[int, int]]) -> tuple[Shift, ...]:
    """Shifts by which each channel reads from an offset of its own, pixels down and right: it moves up and left."""
    return tuple(Shift(len(list(same)), dy, dx) for (dy, dx), same in groupby(offsets))


def shift2d(
    image: Float[Tensor, "batch channels height width"],
    shifts: Sequence[Shift],
    out: Float[Tensor, "batch channels height width"] | None = None,
) -> Float[Tensor, "batch channels height width"]:
    """Move channels by whole pixels; what comes in from outside the picture is zero.

    Exact in every floating-point type: values are copied. The result has the memory format of the image. On a CPU the
    contiguous one is much faster than ``channels_last``. On a GPU the first call for each number of channels and size
    of image compiles a kernel, some tenths of a second, and must come before a CUDA graph is recorded.

    Args:
        image: Contiguous or ``channels_last``; of another layout a contiguous copy is shifted.
        shifts: For all channels in their order, such as ``grid_shifts(channels)``.
        out: Receives the result; it shares no memory with the image, and no gradient flows through it.

    Raises:
        ValueError: The shifts are of another number of channels, or ``out`` does not suit the image.
    """
    num_channels = sum(shift.num_channels for shift in shifts)
    if num_channels != image.shape[1]:
        raise ValueError(f"expected shifts of {image.shape[1]} channels, those of the image, got {num_channels}")
    if out is not None:
        _check_out(image, out)
        return _copy(_dense(image), tuple(shifts), out)
    if forward_ad._current_level >= 0 and (dual := forward_ad.unpack_dual(image)).tangent is not None:
        return forward_ad.make_dual(shift2d(dual.primal, shifts), shift2d(dual.tangent, shifts))  # it is linear
    if _is_watched(image):
        return _shift(image, [value for shift in shifts for value in shift])
    image = _dense(image)
    return _copy(image, tuple(shifts), torch.empty_like(image))


def _is_watched(image: Tensor) -> bool:
    """Whether something looks at what is done with the image: a gradient, a compiler, a transform or a fake tensor."""
    return (
        torch.compiler.is_compiling()
        or (image.requires_grad and torch.is_grad_enabled())
        or torch._C._are_functorch_transforms_active()
        or is_fake(image)
    )


def opposite(shifts: Sequence[Shift]) -> tuple[Shift, ...]:
    """The shifts that bring channels back, which are those of the gradient."""
    return tuple(Shift(num, -dy, -dx) for num, dy, dx in shifts)


@torch.library.custom_op("lightning_edge::shift", mutates_args=())
def _shift(image: Tensor, plan: list[int]) -> Tensor:
    """The shift with a gradient, opaque to ``torch.compile``; the shifts stand in one row of numbers."""
    image = _dense(image)
    return _copy(image, _shifts(plan), torch.empty_like(image))


@_shift.register_fake
def _(image: Tensor, plan: list[int]) -> Tensor:
    return torch.empty_like(_dense(image))


def _keep_plan(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, list[int]], output: Tensor) -> None:
    ctx.plan = inputs[1]  # pyright: ignore[reportAttributeAccessIssue]


def _shift_back(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
    plan: list[int] = ctx.plan  # pyright: ignore[reportAttributeAccessIssue]
    return _shift(gradient, [value for shift in opposite(_shifts(plan)) for value in shift]), None


_shift.register_autograd(_shift_back, setup_context=_keep_plan)


def _shifts(plan: Sequence[int]) -> tuple[Shift, ...]:
    return tuple(Shift(*plan[first : first + 3]) for first in range(0, len(plan), 3))


def _dense(image: Tensor) -> Tensor:
    return image if _is_channels_last(image) else image.contiguous()


def _is_channels_last(image: Tensor) -> bool:
    return not image.is_contiguous() and image.is_contiguous(memory_format=torch.channels_last)


def _check_out(image: Tensor, out: Tensor) -> None:
    """Refuse what cannot be written to without harm."""
    if (out.shape, out.dtype, out.device) != (image.shape, image.dtype, image.device):
        raise ValueError(
            f"expected out like the image ({image.dtype} {tuple(image.shape)} on {image.device}), got "
            f"{out.dtype} {tuple(out.shape)} on {out.device}"
        )
    if out.untyped_storage().data_ptr() == image.untyped_storage().data_ptr():
        raise ValueError("expected out with memory of its own, got one that shares the image's")
    if torch.is_grad_enabled() and (image.requires_grad or out.requires_grad):
        raise ValueError("expected out where no gradient is asked for, got an image or out that requires one")


def _copy(image: Tensor, shifts: tuple[Shift, ...], out: Tensor) -> Tensor:
    """Write the shifted image by the way for its device and layout."""
    if image.stride() == out.stride():
        if image.device.type == "cpu" and image.is_contiguous():
            return shift_planes(image, shifts, out)
        if image.is_cuda and find_spec("triton") is not None:
            from lightning_edge.ops.shift_triton import shift_on_gpu

            return shift_on_gpu(image, shifts, out)
    return shift_by_slices(image, shifts, out)


def shift_by_slices(image: Tensor, shifts: Sequence[Shift], out: Tensor) -> Tensor:
    """The shift as its definition reads, for any layout; the other ways are compared with this one."""
    height, width = image.shape[2:]
    out.zero_()
    first = 0
    for num, dy, dx in shifts:
        channels = slice(first, first + num)
        to, come_from = _inside(height, width, dy, dx), _inside(height, width, -dy, -dx)
        out[:, channels, *to] = image[:, channels, *come_from]
        first += num
    return out


def _inside(height: int, width: int, dy: int, dx: int) -> tuple[slice, slice]:
    """Rows and columns of the pixels that a shift fills from within the picture."""
    rows, columns = (slice(max(0, -step), max(0, size - max(0, step))) for size, step in ((height, dy), (width, dx)))
    return rows, columns


def shift_pointwise(
    image: Float[Tensor, "batch channels height width"],
    shifts: Sequence[Shift],
    weight: Float[Tensor, "filters channels"],
    bias: Float[Tensor, " filters"] | None = None,
) -> Float[Tensor, "batch filters height width"]:
    """A shift and the 1x1 convolution that follows it.

    On a CPU without gradients, a contiguous image is shifted a few samples at a time, which the product then finds in
    the cache; everywhere else the two run one after the other.

    Args:
        image: As for :func:`shift2d`.
        shifts: As for :func:`shift2d`.
        weight: Of the convolution.
        bias: Of the convolution.

    Raises:
        ValueError: The shifts are of another number of channels.
    """
    needs_gradient = torch.is_grad_enabled() and weight.requires_grad
    is_plain = image.device.type == "cpu" and image.is_contiguous() and image.dtype == weight.dtype == torch.float32
    is_mixed = torch.is_autocast_enabled(image.device.type)
    if needs_gradient or is_mixed or not is_plain or _is_watched(image):
        return F.conv2d(shift2d(image, shifts), weight[..., None, None], bias)
    batch, _, height, width = image.shape
    # the product is parallel over samples
    size = max(torch.get_num_threads(), _CACHE_BYTES // max(1, image[0].nbytes)) if batch else 1
    if batch <= size:
        out = torch.matmul(weight, shift2d(image, shifts).flatten(2))
    else:
        out, cache = image.new_empty(batch, len(weight), height * width), torch.empty_like(image[:size])
        for first in range(0, batch, size):
            part = image[first : first + size]
            shifted = shift2d(part, shifts, cache[: len(part)])
            torch.matmul(weight, shifted.flatten(2), out=out[first : first + size])
    if bias is not None:
        out += bias[:, None]
    return out.unflatten(2, (height, width))
