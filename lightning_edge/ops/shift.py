"""The shift operation, which moves each channel by whole pixels in its own direction, without arithmetic.

Source: Wu et al., *Shift: A Zero FLOP, Zero Parameter Alternative to Spatial Convolutions*, arXiv:1711.08141.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import Parameter

from lightning_edge.checks import check_at_least
from lightning_edge.ops.shift_cpu import has_integers_of_its_size, shift_planes
from lightning_edge.ops.shift_operators import shift_by_convolution, shift_by_pads, shift_by_slices
from lightning_edge.torch_internals import has_forward_mode_level, is_in_dispatch_mode, is_in_transform

_CACHE_BYTES = 2**21
"""Size of the shifted samples that are multiplied at once. From 256 KiB to 2 MiB, it is fastest for most shapes."""


class Shift(NamedTuple):
    """Shift of a number of adjacent channels: ``out[y, x] = image[y + dy_px, x + dx_px]``."""

    num_channels: int
    dy_px: int
    dx_px: int


def grid_shifts(num_channels: int, kernel_size: int = 3, dilation: int = 1) -> tuple[Shift, ...]:
    """The shifts of the paper: equally many channels for each position of a kernel. Remaining channels do not move.

    Args:
        num_channels: Number of channels of the image.
        kernel_size: Number of positions of the kernel in each direction. It must be odd.
        dilation: Distance between positions, in pixels.

    Raises:
        ValueError: The kernel size is even, the dilation is less than 1, or there are fewer channels than positions.
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"expected an odd kernel_size of at least 1, got {kernel_size}")
    check_at_least(1, dilation=dilation)
    if dilation != int(dilation):
        raise ValueError(f"expected dilation to be a whole number, got {dilation}")
    each, left = divmod(num_channels, kernel_size**2)
    if each == 0:
        raise ValueError(f"expected num_channels of at least kernel_size**2 ({kernel_size**2}), got {num_channels}")
    # in this order all shifts are one copy in memory, see `shift_cpu`
    steps = [int(dilation) * (kernel_size // 2 - place) for place in range(kernel_size)]
    shifts = tuple(Shift(each, dy, dx) for dx in steps for dy in steps)
    return (*shifts, Shift(left, 0, 0)) if left else shifts


def shifts_of_offsets(offsets: Sequence[tuple[int, int]]) -> tuple[Shift, ...]:
    """Shifts that read each channel from its own offset, in pixels down and right. So the channel moves up and left."""
    return tuple(Shift(len(list(same)), dy, dx) for (dy, dx), same in groupby(offsets))


def shift2d(
    image: Shaped[Tensor, "batch channels height width"],
    shifts: Sequence[Shift],
    out: Shaped[Tensor, "batch channels height width"] | None = None,
) -> Shaped[Tensor, "batch channels height width"]:
    """Move channels by whole pixels, with zeros from outside of the image.

    The shift is exact in every data type, including complex numbers, because values are copied. The result has the
    memory format of the image. On a CPU the contiguous format is much faster than ``channels_last``. On a GPU the first
    call for each number of channels and image size compiles a kernel, which takes some tenths of a second and must
    happen before a CUDA graph is recorded.

    Gradients, forward-mode tangents, transforms of ``torch.func``, ``torch.compile``, ``torch.export`` and
    ``torch.jit.trace`` give the same values. An ONNX graph contains a depthwise convolution with one-hot kernels, which
    is the fastest form for onnxruntime within a net. It gives NaN around an infinite pixel.

    Args:
        image: Contiguous or ``channels_last`` image. With another layout, a contiguous copy is shifted.
        shifts: Shifts of all channels in their order, such as ``grid_shifts(channels)``.
        out: Tensor that receives the result. It must not share memory with the image, and no gradient flows through it.

    Raises:
        ValueError: The shifts are for another number of channels, or ``out`` does not match the image.
    """
    shifts = tuple(shifts)
    _check_channels(image, sum([shift[0] for shift in shifts]))
    if out is not None:
        _check_out(image, out)
    if _is_plain(image, out):
        image = _dense(image)
        return _copy(image, shifts, torch.empty_like(image) if out is None else _check_memory(image, out))
    shifted = _follow(image, shifts)
    return shifted if out is None else out.copy_(shifted)


def _is_plain(*tensors: Tensor | None) -> bool:
    """Whether no gradient, transform or compiler tracks the tensors, so that their memory can be copied directly."""
    if torch.compiler.is_compiling() or _needs_operators() or is_in_dispatch_mode():
        return False
    with_gradients = torch.is_grad_enabled()
    for tensor in tensors:
        if tensor is not None and (
            type(tensor) not in (Tensor, Parameter) or (with_gradients and tensor.requires_grad)
        ):
            return False
    return True


def _needs_operators() -> bool:
    """Whether a forward-mode derivative, a transform, an export or a trace is active, which need torch's operators."""
    return (
        has_forward_mode_level() or is_in_transform() or torch.compiler.is_exporting() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    )


def _follow(image: Tensor, shifts: Sequence[Shift]) -> Tensor:
    """The shift for gradients, transforms and compilers that track the image."""
    if not _needs_operators():
        return _shift(image, [value for shift in shifts for value in shift])
    if torch.onnx.is_in_onnx_export() and image.is_floating_point():
        return shift_by_convolution(image, shifts)
    return shift_by_pads(image, shifts)


def opposite(shifts: Sequence[Shift]) -> tuple[Shift, ...]:
    """The inverse shifts, which are those of the gradient."""
    return tuple(Shift(num, -dy, -dx) for num, dy, dx in shifts)


@torch.library.custom_op("lightning_edge::shift", mutates_args=())
def _shift(image: Tensor, plan: list[int]) -> Tensor:
    """The shift with a gradient, opaque to ``torch.compile``. The shifts are flattened to one list of numbers."""
    image = _dense(image)
    return _copy(image, _shifts(plan), torch.empty_like(image))


@_shift.register_fake
def _(image: Tensor, plan: list[int]) -> Tensor:
    return torch.empty_like(_dense(image))


def _keep_plan(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, list[int]], output: Tensor) -> None:
    ctx.plan = inputs[1]  # pyright: ignore[reportAttributeAccessIssue]


def _shift_back(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
    plan: list[int] = ctx.plan  # pyright: ignore[reportAttributeAccessIssue]
    return _follow(gradient, opposite(_shifts(plan))), None


_shift.register_autograd(_shift_back, setup_context=_keep_plan)


def _shifts(plan: Sequence[int]) -> tuple[Shift, ...]:
    return tuple(Shift(*plan[first : first + 3]) for first in range(0, len(plan), 3))


def _dense(image: Tensor) -> Tensor:
    is_dense = image.is_contiguous() or image.is_contiguous(memory_format=torch.channels_last)
    return image if is_dense else image.contiguous()


def _check_channels(image: Tensor, num_channels: int) -> None:
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return  # in a trace sizes are tensors, and comparing them gives a warning
    if num_channels != image.shape[1]:
        raise ValueError(
            f"expected shifts for the {image.shape[1]} channels of the image, got shifts for {num_channels}"
        )


def _check_out(image: Tensor, out: Tensor) -> None:
    if (out.shape, out.dtype, out.device) != (image.shape, image.dtype, image.device):
        raise ValueError(
            f"expected out like the image ({image.dtype} {tuple(image.shape)} on {image.device}), got "
            f"{out.dtype} {tuple(out.shape)} on {out.device}"
        )
    if torch.is_grad_enabled() and (image.requires_grad or out.requires_grad):
        raise ValueError("expected no gradient to be required with out, got an image or out that requires one")


def _check_memory(image: Tensor, out: Tensor) -> Tensor:
    if out.untyped_storage().data_ptr() == image.untyped_storage().data_ptr():
        raise ValueError("expected out with its own memory, got a tensor that shares memory with the image")
    return out


def _copy(image: Tensor, shifts: tuple[Shift, ...], out: Tensor) -> Tensor:
    """Write the shifted image by the implementation for its device and layout."""
    # torch can delay a conjugation or negation, and then the memory has other values
    is_in_memory = not (image.is_conj() or image.is_neg() or out.is_conj() or out.is_neg())
    if (
        is_in_memory
        and image.is_cpu
        and image.is_contiguous()
        and out.is_contiguous()
        and has_integers_of_its_size(image)
    ):
        return shift_planes(image, shifts, out)
    is_for_triton = is_in_memory and image.is_cuda and image.stride() == out.stride() and not image.is_complex()
    if is_for_triton and find_spec("triton") is not None:
        from lightning_edge.ops.shift_triton import shift_on_gpu

        return shift_on_gpu(image, shifts, out)
    return shift_by_slices(image, shifts, out)


def shift_pointwise(
    image: Float[Tensor, "batch channels height width"],
    shifts: Sequence[Shift],
    weight: Float[Tensor, "filters channels"],
    bias: Float[Tensor, " filters"] | None = None,
) -> Float[Tensor, "batch filters height width"]:
    """A shift followed by a 1x1 convolution.

    On a CPU without gradients, a contiguous image is shifted a few samples at a time, so that the matrix product reads
    them from the cache. In all other cases the two operations run one after the other.

    Args:
        image: See :func:`shift2d`.
        shifts: See :func:`shift2d`.
        weight: Weights of the convolution.
        bias: Bias of the convolution.

    Raises:
        ValueError: The shifts are for another number of channels.
    """
    is_for_cache = image.is_cpu and image.is_contiguous() and image.dtype == weight.dtype == torch.float32
    # torch raises an error if asked for the autocast state of the device "meta"
    if not is_for_cache or torch.is_autocast_enabled("cpu") or not _is_plain(image, weight, bias):
        return F.conv2d(shift2d(image, shifts), weight[..., None, None], bias)
    shifts = tuple(shifts)
    _check_channels(image, sum([shift[0] for shift in shifts]))
    batch, _, height, width = image.shape
    # the matrix product is parallel over samples
    size = max(torch.get_num_threads(), _CACHE_BYTES * batch // max(1, image.nbytes)) if batch else 1
    if batch <= size:
        out = torch.matmul(weight, _copy(image, shifts, torch.empty_like(image)).flatten(2))
    else:
        out, cache = image.new_empty(batch, len(weight), height * width), torch.empty_like(image[:size])
        for first in range(0, batch, size):
            part = image[first : first + size]
            shifted = _copy(part, shifts, cache[: len(part)])
            torch.matmul(weight, shifted.flatten(2), out=out[first : first + size])
    if bias is not None:
        out += bias[:, None]
    return out.unflatten(2, (height, width))
