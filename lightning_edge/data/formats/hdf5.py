"""Arrays of HDF5 files, whose size is limited. Needs the extra ``adaptation``."""

import math
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from lightning_edge.data.files import open_file

_DEFLATE, _SHUFFLE, _CHECKSUM = 1, 2, 3
"""Filters that every HDF5 library has. They are named by numbers in the format."""


def read_hdf5(path: Path, names: tuple[str, ...], max_bytes: int, remedy: str) -> tuple[Num[np.ndarray, "..."], ...]:
    """Read arrays by name.

    Args:
        path: The file.
        names: Names such as ``train/data``.
        max_bytes: Size limit of the file, and of each array and each of its pieces when it is unpacked.
        remedy: Advice for errors, such as where to download the file.

    Raises:
        FileNotFoundError: The file does not exist.
        OSError: The system does not open or read the file.
        ImportError: The extra is not installed.
        ValueError: The file is too large, damaged, of another format, or lacks one of the arrays.
    """
    try:
        import h5py
    except ImportError:
        raise ImportError(f'{path} needs h5py; install it with `pip install "lightning-edge[adaptation]"`') from None
    with open_file(path, max_bytes, remedy) as file:
        try:
            with h5py.File(file, "r") as content:
                datasets = [_dataset(path, content, name, remedy) for name in names]
                for dataset in datasets:
                    _check_size(path, dataset, max_bytes)
                return tuple(dataset[()] for dataset in datasets)
        # h5py raises these for damaged files, each at some place
        except (OSError, RuntimeError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: cannot be read as HDF5 ({error}); {remedy}") from None


def _dataset(path: Path, content: Any, name: str, remedy: str) -> Any:
    """The dataset of a name, which must be in this file and not in one that a link names."""
    import h5py

    item: Any = content
    for part in name.split("/"):
        is_group = isinstance(item, h5py.Group) and part in item
        if not (is_group and isinstance(item.get(part, getlink=True), h5py.HardLink)):
            raise ValueError(f"{path}: expected the array {name}, got none; {remedy}")
        item = item[part]
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu" or item.is_virtual or item.external:
        raise ValueError(f"{path}: expected {name} as an array of numbers within the file, got another item; {remedy}")
    return item


def _check_size(path: Path, dataset: Any, max_bytes: int) -> None:
    """Raise a ``ValueError`` if an array or a compressed piece of it would take too much memory."""
    item_bytes = dataset.dtype.itemsize
    sizes = [math.prod(shape) * item_bytes for shape in (dataset.shape, dataset.chunks or ())]
    if max(sizes) > max_bytes:
        raise ValueError(
            f"{path}: expected {dataset.name} of at most {max_bytes} bytes, got a file that declares {max(sizes)}"
        )
    if dataset.chunks is None:
        return
    settings = dataset.id.get_create_plist()
    filters = [settings.get_filter(index)[0] for index in range(settings.get_nfilters())]
    if not set(filters) <= {_DEFLATE, _SHUFFLE, _CHECKSUM} or filters.count(_DEFLATE) > 1:
        raise ValueError(f"{path}: expected {dataset.name} without compression or with gzip, got filters {filters}")
    if _DEFLATE in filters:
        for index in range(dataset.id.get_num_chunks()):
            # the library unpacks a piece whatever its size becomes
            _, packed = dataset.id.read_direct_chunk(dataset.id.get_chunk_info(index).chunk_offset)
            _check_piece(path, packed, sizes[1])


def _check_piece(path: Path, packed: bytes, num_bytes: int) -> None:
    unpacker = zlib.decompressobj()
    with suppress(zlib.error):  # the library reports damage
        if len(unpacker.decompress(packed, num_bytes + 1)) > num_bytes:
            raise ValueError(f"{path}: expected pieces of {num_bytes} bytes when they are unpacked, got more")
