"""Unpacking of compressed data up to a limit, because a small file may expand to any size."""

import bz2
import zlib
from pathlib import Path
from typing import Protocol, runtime_checkable

_GZIP = zlib.MAX_WBITS | 16


@runtime_checkable
class _Unpacker(Protocol):
    """What the objects of ``zlib`` and ``bz2`` have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def unpack_gzip(path: Path, packed: bytes, max_bytes: int) -> bytes:
    """The first bytes of a gzip archive. If these are all bytes, its end is checked too.

    Args:
        path: File of the archive, for errors.
        packed: Content of the archive.
        max_bytes: Largest number of bytes to return. If that many are returned, there may be more.

    Raises:
        ValueError: The archive is damaged or truncated, or is followed by other bytes.
    """
    return _unpack(path, packed, max_bytes, zlib.decompressobj(_GZIP))


def unpack_zlib(path: Path, packed: bytes, max_bytes: int) -> bytes:
    """The first bytes of a zlib stream; see :func:`unpack_gzip`."""
    return _unpack(path, packed, max_bytes, zlib.decompressobj())


def unpack_bz2(path: Path, packed: bytes, max_bytes: int) -> bytes:
    """The first bytes of a bzip2 archive; see :func:`unpack_gzip`."""
    return _unpack(path, packed, max_bytes, bz2.BZ2Decompressor())


def _unpack(path: Path, packed: bytes, max_bytes: int, unpacker: _Unpacker) -> bytes:
    try:
        content = unpacker.decompress(packed, max_bytes)
    except (zlib.error, OSError) as error:
        raise ValueError(f"{path}: cannot be unpacked ({error}); copy or download it again") from None
    if len(content) < max_bytes and not unpacker.eof:
        raise ValueError(f"{path}: cannot be unpacked (its end is missing); copy or download it again")
    if unpacker.unused_data:
        raise ValueError(f"{path}: cannot be unpacked (there are bytes after its end); copy or download it again")
    return content
