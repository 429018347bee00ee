"""Files of JSON that a process wrote for another one, and that may be damaged or no files at all."""

import json
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

_MAX_BYTES = 2**24

Record = TypeVar("Record")


def read_object(path: Path) -> dict[str, Any]:
    """Values of a file by name.

    Raises:
        ValueError: It is no regular file, is larger than 16 MiB, or holds no JSON object.
    """
    if not path.is_file():  # reading a pipe would never end
        raise ValueError("no regular file")
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"more than {_MAX_BYTES} bytes")
    try:
        content = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError("values that are nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__} in place of an object")
    return content


def read_record(path: Path, kind: type[Record], **names: Any) -> Record:
    """A dataclass of plain values and tuples of them that was written by ``json.dump(asdict(record), ...)``.

    Args:
        path: The file.
        kind: The dataclass.
        names: What its annotations name beyond its module.

    Raises:
        ValueError: As :func:`read_object`, or a value is missing, is one too many, or is of another type.
    """
    values, hints = read_object(path), get_type_hints(kind, localns=names)
    wanted = {field.name for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    if values.keys() != wanted:
        raise ValueError(f"other values than {', '.join(sorted(wanted))}")
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{name} {value!r:.80}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is tuple:
        return isinstance(value, list) and all(_fits(item, parts[0]) for item in value)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    kinds = {float: (float, int), None: (NoneType,)}.get(hint, (hint,))
    return type(value) in kinds  # which takes no bool for an int
