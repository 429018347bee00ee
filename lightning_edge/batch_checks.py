"""The check that a batch matches its type, for tests of data modules."""

from typing import Any, get_args, get_origin, get_type_hints

import torch
from jaxtyping import jaxtyped
from torch import Tensor

from lightning_edge.contracts import IMAGE_KEYS, input_key


def check_batch(batch: Any, batch_type: type) -> None:
    """Raise ``ValueError`` unless ``batch`` matches ``batch_type``.

    This checks keys, types, and shapes (axes of the same name must have the same size in all keys). It also checks that
    lists have one item for each sample, that floating-point tensors are finite, and that images are in [0, 1].
    ``beartype`` does not check the contents of a ``TypedDict``, so this function is needed.
    """
    _check_keys(batch, batch_type)
    name = batch_type.__name__
    hints = {key: hint for key, hint in get_type_hints(batch_type).items() if key in batch}
    lists = [key for key, hint in hints.items() if get_origin(hint) is list]
    # `isinstance` binds the axes in the innermost context; a helper function would have a context of its own in tests
    with jaxtyped("context"):
        for key, hint in hints.items():
            if not isinstance(batch[key], list if key in lists else hint):
                raise _mismatch(batch[key], hint, f"{name}[{key!r}]")
    for key in lists:
        size = len(batch[input_key(batch_type)])
        if len(batch[key]) != size:
            raise ValueError(f"expected {name}[{key!r}] with an item for each sample ({size}), got {len(batch[key])}")
    for sample, items in enumerate(zip(*(batch[key] for key in lists), strict=True)):
        with jaxtyped("context"):  # a sample's items share axes with each other only
            for key, item in zip(lists, items, strict=True):
                (hint,) = get_args(hints[key])
                if not isinstance(item, hint):
                    raise _mismatch(item, hint, f"{name}[{key!r}][{sample}]")
    for key in hints:
        for value in batch[key] if key in lists else [batch[key]]:
            _check_numbers(value, key, f"{name}[{key!r}]")


def _check_keys(batch: Any, batch_type: type) -> None:
    if not isinstance(batch, dict):
        raise ValueError(f"expected a dict with the keys of {batch_type.__name__}, got {type(batch).__name__}")
    required: frozenset[str] = batch_type.__required_keys__  # pyright: ignore[reportAttributeAccessIssue]
    optional: frozenset[str] = batch_type.__optional_keys__  # pyright: ignore[reportAttributeAccessIssue]
    if not required <= batch.keys() <= required | optional:
        keys = f"{sorted(required)}" + (f", optionally {sorted(optional)}" if optional else "")
        raise ValueError(f"expected the keys of {batch_type.__name__}, {keys}, got {list(batch)}")


def _mismatch(value: Any, hint: Any, name: str) -> ValueError:
    got = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.80}"
    expected = getattr(hint, "__name__", hint) if get_origin(hint) is None else hint
    return ValueError(f"expected {name} as {expected}, in agreement with the other keys, got {got}")


def _check_numbers(value: Any, key: str, name: str) -> None:
    if not isinstance(value, Tensor) or value.numel() == 0:
        return
    if not torch.isfinite(value).all():
        raise ValueError(f"expected {name} to be finite, got NaN or infinity")
    if key in IMAGE_KEYS and not 0 <= value.min() <= value.max() <= 1:
        raise ValueError(f"expected {name} within [0, 1], got values from {value.min():.3g} to {value.max():.3g}")
