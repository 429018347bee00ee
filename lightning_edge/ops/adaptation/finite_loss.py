"""Losses in single precision at least, also under autocast, that are refused when they are not finite."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec

import torch
from torch import Tensor

from lightning_edge.ops.precision import at_least_float32

Parameters = ParamSpec("Parameters")


class NotFiniteError(FloatingPointError, ValueError):
    """A loss is not finite: its arguments are wrong, or a training diverged, which many runs count as a result."""


def finite_loss(loss: Callable[Parameters, Tensor]) -> Callable[Parameters, Tensor]:
    """Decorator that computes a scalar loss in float32 at least and refuses one that is not finite.

    Arguments in float16 or bfloat16 become float32, float64 stays as it is, and autocast is off inside. NaN in
    an argument reaches the loss, and so do most infinite values. Hence only the loss is inspected, which waits for the
    device once, and the arguments are searched when the loss is not finite. A compiled graph is not inspected.

    Args:
        loss: Function whose arguments are tensors, sequences of tensors and options.

    Returns:
        The function, which raises :class:`NotFiniteError` instead of returning a loss that is not finite.
    """
    compute: Callable[..., Tensor] = loss

    @functools.wraps(loss)
    def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Tensor:
        device = next((tensor.device.type for tensor in _tensors((args, kwargs))), "cpu")
        widened_args, widened_kwargs = _widen_all(args), _widen_all(kwargs)
        with torch.autocast(device, enabled=False):
            try:
                value = compute(*widened_args, **widened_kwargs)
            except torch.linalg.LinAlgError as error:  # pyright: ignore[reportPrivateImportUsage]
                raise _refusal(loss, torch.tensor(torch.nan), args, kwargs) from error
        if not torch.compiler.is_compiling() and not torch.isfinite(value):
            raise _refusal(loss, value, args, kwargs)
        return value

    return checked


def _refusal(loss: Callable, value: Tensor, args: Any, kwargs: Any) -> ValueError:
    name = loss.__name__
    for argument, given in inspect.signature(loss).bind(*args, **kwargs).arguments.items():
        for tensor in _tensors(given):
            if not tensor.numel():
                return ValueError(
                    f"expected one or more values as {argument} of {name}, got shape {list(tensor.shape)}"
                )
            if bad := int((~torch.isfinite(tensor)).sum()):
                return NotFiniteError(
                    f"expected finite values as {argument} of {name}, "
                    f"got {bad} of {tensor.numel()} that are NaN or infinite"
                )
    return NotFiniteError(
        f"expected arguments whose {name} is finite, got {value.item()}; scale the largest values down"
    )


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for element in value:
            yield from _tensors(element)


def _widen_all(value: Any) -> Any:
    if isinstance(value, Tensor):
        return at_least_float32(value) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _widen_all(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_widen_all(element) for element in value)
    return value
