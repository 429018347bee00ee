"""The number of examples of a batch, and parts of it, for batches of any structure."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from torch import Tensor


def batch_size_of(batch: Any) -> int:
    """First dimension of the batch's first tensor.

    Raises:
        ValueError: The batch has no tensor.
    """
    size = first_dimension(batch)
    if size is None:
        raise ValueError(f"expected batches with tensors, got {type(batch).__name__} without")
    return size


def first_dimension(batch: Any) -> int | None:
    """First dimension of the batch's first tensor; ``None`` if there is no tensor."""
    return next((len(tensor) for tensor in _tensors(batch)), None)


def part_of(batch: Any, size: int, start: int, stop: int) -> Any:
    """Select examples ``start`` to ``stop`` of a batch with ``size`` examples.

    Tensors with ``size`` rows and lists with an item for each example are sliced, also inside mappings, lists, tuples
    and data classes. Everything else stays unchanged.
    """

    def part(item: Any) -> Any:
        return item[start:stop] if _has_examples(item, size) else part_of(item, size, start, stop)

    if isinstance(batch, Tensor):
        return batch[start:stop] if batch.ndim and len(batch) == size else batch
    if isinstance(batch, Mapping):
        values = {key: part(value) for key, value in batch.items()}
        return _with(batch, values) if isinstance(batch, MutableMapping) else values
    if _is_record(batch):
        return _with_fields(
            batch, {field.name: part(getattr(batch, field.name)) for field in dataclasses.fields(batch)}
        )
    if not isinstance(batch, list | tuple):
        return batch
    items = map(part, batch)
    return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)  # pyright: ignore


def rows_left_whole(batch: Any, size: int) -> set[int]:
    """First dimensions of the tensors that :func:`part_of` does not split."""
    if isinstance(batch, Tensor):
        return {len(batch)} - {size} if batch.ndim else set()
    return set().union(*(rows_left_whole(item, size) for item in _items(batch) if not _has_examples(item, size)))


def _has_examples(item: Any, size: int) -> bool:
    """Whether an item of a batch is a list with an item for each example, not a list of batches of the same size."""
    if not isinstance(item, list | tuple) or hasattr(item, "_fields") or len(item) != size:
        return False
    return not all(isinstance(one, Tensor) and one.ndim and len(one) == size for one in item)


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield from [batch] if batch.ndim else []
    for item in _items(batch):
        yield from _tensors(item)


def _items(batch: Any) -> list[Any]:
    if isinstance(batch, Mapping):
        return list(batch.values())
    if _is_record(batch):
        return [getattr(batch, field.name) for field in dataclasses.fields(batch)]
    return list(batch) if isinstance(batch, list | tuple) else []


def _is_record(batch: Any) -> bool:
    return dataclasses.is_dataclass(batch) and not isinstance(batch, type)


def _with(mapping: MutableMapping[Any, Any], values: dict[Any, Any]) -> MutableMapping[Any, Any]:
    """A copy of the same type with other values."""
    clone = copy.copy(mapping)
    clone.update(values)
    return clone


def _with_fields(instance: Any, values: dict[str, Any]) -> Any:
    clone = copy.copy(instance)
    for name, value in values.items():
        object.__setattr__(clone, name, value)  # works for frozen data classes too
    return clone
