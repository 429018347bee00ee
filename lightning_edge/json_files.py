"""Reading JSON files that another process wrote, and that may be damaged or not be regular files."""

import json
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

_MAX_BYTES = 2**24

Record = TypeVar("Record")


def read_object(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file.

    Raises:
        ValueError: The path is not a regular file, the file is larger than 16 MiB, or it does not contain a JSON
            object.
    """
    if not path.is_file():  # reading from a pipe could block forever
        raise ValueError("a path that is not a regular file")
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
    """Read a dataclass that ``json.dump(asdict(record), ...)`` wrote; its fields are plain values or tuples of them.

    Args:
        path: The file.
        kind: The dataclass to create.
        names: Names that the annotations of the dataclass use and its module does not define, with their values.

    Raises:
        ValueError: :func:`read_object` cannot read the file, or a field is missing, unknown, or of the wrong type.
    """
    values, hints = read_object(path), get_type_hints(kind, localns=names)
    wanted = {field.name for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    if values.keys() != wanted:
        raise ValueError(f"fields other than {', '.join(sorted(wanted))}")
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
    return type(value) in kinds  # unlike isinstance, this does not accept a bool as an int
