"""Numeric arrays of MATLAB files of version 5 (``save -v6`` and ``-v7``).

Source of the format: *MAT-File Format*, The MathWorks. The files are not read by scipy, because it reserves as much
memory as a file declares, and unpacks as much as a file contains. Here both are limited.
"""

import math
import struct
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Num

from lightning_edge.data.files import read_file
from lightning_edge.data.formats.unpacking import unpack_zlib

_HEADER_BYTES = 128
_VERSION_AND_ORDER = b"\x00\x01IM"
"""End of the header: version 5, little-endian."""
_COMPRESSED, _MATRIX = 15, 14
_DTYPES = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
"""Types in which values are stored. They may be smaller than the type of the array in MATLAB."""
_NUMERIC_CLASSES = range(6, 16)
"""Classes of arrays of floats and integers; the others are cells, structures, objects, texts and sparse arrays."""
_IS_COMPLEX = 0x800
_MAX_AXES = 32


class _Element(NamedTuple):
    kind: int
    content: memoryview


def read_mat(path: Path, names: Collection[str], max_bytes: int, remedy: str) -> dict[str, Num[np.ndarray, "..."]]:
    """Read arrays by name. They have the type in which they are stored, such as ``uint8`` for small whole numbers.

    Args:
        path: The file.
        names: Names of the arrays. Other variables of the file are skipped.
        max_bytes: Size limit of the file, and of its unpacked content.
        remedy: Advice for errors, such as where to download the file.

    Raises:
        FileNotFoundError: The file does not exist.
        OSError: The system does not open or read the file.
        ValueError: The file is too large, damaged, of another format, or lacks one of the arrays.
    """
    content = read_file(path, max_bytes, remedy)
    if len(content) < _HEADER_BYTES or content[_HEADER_BYTES - 4 : _HEADER_BYTES] != _VERSION_AND_ORDER:
        raise ValueError(f"{path}: expected a little-endian MATLAB file of version 5 to 7, got another file; {remedy}")
    arrays: dict[str, np.ndarray] = {}
    left = max_bytes
    try:
        for element in _elements(memoryview(content)[_HEADER_BYTES:]):
            if element.kind == _COMPRESSED:
                unpacked = unpack_zlib(path, bytes(element.content), left + 1)
                left -= len(unpacked)
                if left < 0:
                    raise ValueError(f"{path}: expected at most {max_bytes} bytes when it is unpacked, got more")
                element = next(_elements(memoryview(unpacked)), _Element(0, memoryview(b"")))
            if element.kind == _MATRIX:
                arrays |= _array(path, element.content, names)
    except struct.error:
        raise _damaged(path) from None
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"{path}: expected the arrays {list(names)}, got no {missing[0]}; {remedy}")
    return arrays


def _elements(content: memoryview) -> Iterator[_Element]:
    """The elements one after another. Raises ``struct.error`` if the content ends within one."""
    position = 0
    while position < len(content):
        kind, size = struct.unpack_from("<II", content, position)
        if is_small := kind >> 16:  # type, size and up to four bytes in eight bytes
            kind, size = kind & 0xFFFF, kind >> 16
        begin = position + (4 if is_small else 8)
        if begin + size > len(content) or (is_small and size > 4):
            raise struct.error
        yield _Element(kind, content[begin : begin + size])
        padding = 0 if kind == _COMPRESSED else -size % 8
        position += 8 if is_small else 8 + size + padding


def _array(path: Path, matrix: memoryview, names: Collection[str]) -> dict[str, np.ndarray]:
    """A wanted array by its name; nothing if the variable is not wanted."""
    head = list(islice(_elements(matrix), 4))
    if len(head) < 3:
        raise _damaged(path)
    flags, sizes, name = head[:3]
    name = bytes(name.content).decode("ascii", errors="replace")
    if name not in names:
        return {}
    (flags,) = struct.unpack_from("<I", flags.content)
    shape = np.frombuffer(sizes.content, "<i4").tolist() if len(sizes.content) % 4 == 0 else []
    if flags & 0xFF not in _NUMERIC_CLASSES or flags & _IS_COMPLEX or len(head) < 4 or head[3].kind not in _DTYPES:
        raise ValueError(f"{path}: expected {name} to be an array of real numbers, got a variable of another kind")
    values, dtype = head[3].content, np.dtype(_DTYPES[head[3].kind])
    if not 2 <= len(shape) <= _MAX_AXES or min(shape) < 0 or math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError(
            f"{path}: expected the bytes of {name} to match its shape {tuple(shape)}, got {len(values)}; copy or "
            "download it again"
        )
    return {name: np.frombuffer(values, dtype).reshape(shape, order="F")}


def _damaged(path: Path) -> ValueError:
    return ValueError(f"{path}: ends within an element; copy or download it again")
