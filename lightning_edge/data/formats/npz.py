"""Arrays of NumPy archives (``.npz``), whose size is limited."""

import math
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np


def read_array(archive: ZipFile, name: str, kinds: str, num_axes: int | None, max_bytes: int) -> np.ndarray:
    """Read an array. Declared sizes are checked before memory is allocated.

    Args:
        archive: The archive.
        name: Name of the array's file in the archive, such as ``labels.npy``.
        kinds: Allowed kinds of ``numpy.dtype``, such as ``fiu`` for numbers.
        num_axes: Number of axes that the array must have; any if ``None``.
        max_bytes: Size limit of the unpacked array.

    Raises:
        KeyError: The archive has no array of this name.
        ValueError: The array is of another kind or too large, or its file is damaged.
    """
    entry = archive.getinfo(name)
    if entry.file_size > max_bytes or entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError(f"{name} has an unknown compression, or would unpack to {entry.file_size} bytes")
    with archive.open(entry) as file:
        is_first_version = np.lib.format.read_magic(file) == (1, 0)
        read_header = np.lib.format.read_array_header_1_0 if is_first_version else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read_header(file)
        content = file.read()
    if dtype.kind not in kinds or num_axes not in (None, len(shape)):
        raise ValueError(f"{name} is an array of {dtype} and of shape {shape}")
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} declares the shape {shape} but has {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
