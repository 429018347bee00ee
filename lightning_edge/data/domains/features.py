"""Files with the features of a frozen encoder for each image of a data set."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from jaxtyping import Float32

from lightning_edge.atomic_files import open_replacement
from lightning_edge.contracts import LabeledSplit
from lightning_edge.data.files import open_file
from lightning_edge.data.formats.npz import read_array
from lightning_edge.data.shown import shown_name

Features = Float32[np.ndarray, "images features"]

_REMEDY = "write it with `python -m recipes.ddn embed`"
_MAX_FILE_BYTES = 2**33
_MAX_RATIO = 20
"""Largest allowed ratio of unpacked array to file size. Files that are written here are not compressed."""
_ALWAYS_UNPACKED_BYTES = 2**26
"""Arrays up to this size are unpacked whatever the ratio is."""


def write_features(path: Path, features: Mapping[LabeledSplit, tuple[Sequence[str], Features]]) -> None:
    """Write names and features of the images of several splits. The file is replaced atomically.

    Raises:
        OSError: The file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    for split, (names, values) in features.items():
        arrays |= {f"{split}_names": np.array(names, str), f"{split}_features": np.asarray(values, np.float32)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_replacement(path) as file:
            np.savez(file, allow_pickle=False, **arrays)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"{path}: cannot be written ({reason}); choose another folder or free disk space") from None


def read_features(path: Path, split: LabeledSplit, names: Sequence[str] | None = None) -> Features:
    """Features of the named images of a split, in the order of ``names``; of all images, in file order, if ``None``.

    Raises:
        FileNotFoundError: The file does not exist.
        OSError: The file cannot be opened or read.
        ValueError: The file is not a file of features, or it lacks the split or an image.
    """
    written, features = _read_arrays(path, split)
    _check(path, split, written, features)
    if names is None:
        return features
    row = {name: index for index, name in enumerate(written)}
    missing = [name for name in names if name not in row]
    if missing:
        raise ValueError(
            f"{path}: expected features of all {len(names)} images of the {split} split, {len(missing)} are missing, "
            f"such as {shown_name(missing[0])}: was it written for other data?"
        )
    return features[[row[name] for name in names]]


def num_features(path: Path) -> int:
    """Number of features of each image in a file."""
    return read_features(path, "train").shape[1]


def _read_arrays(path: Path, split: LabeledSplit) -> tuple[list[str], Features]:
    with open_file(path, _MAX_FILE_BYTES, _REMEDY) as file:
        try:
            max_bytes = max(_ALWAYS_UNPACKED_BYTES, _MAX_RATIO * os.fstat(file.fileno()).st_size)
            # values that are too large become infinite and are reported later
            with ZipFile(file) as archive, np.errstate(over="ignore"):
                names = read_array(archive, f"{split}_names.npy", "U", 1, max_bytes)
                features = read_array(archive, f"{split}_features.npy", "fiu", 2, max_bytes)
                return names.tolist(), features.astype(np.float32)
        except KeyError:
            raise ValueError(
                f"{path}: expected features of the {split} split, got a file without them; {_REMEDY}"
            ) from None
        except Exception as error:  # a damaged archive can raise nearly any error
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{path}: expected a file of features of the images, got one that cannot be read ({reason:.200}); "
                f"{_REMEDY}"
            ) from None


def _check(path: Path, split: LabeledSplit, names: Sequence[str], features: Features) -> None:
    if len(names) != len(features) or not features.size:
        raise ValueError(
            f"{path}: expected features of each image of the {split} split, got {len(names)} names and features of "
            f"shape {features.shape}; {_REMEDY}"
        )
    (name, count), *_ = Counter(names).most_common(1)
    if count > 1:
        raise ValueError(
            f"{path}: expected each image of the {split} split once, got {shown_name(name)} twice; {_REMEDY}"
        )
    is_faulty = ~np.isfinite(features).all(1)
    if is_faulty.any():
        raise ValueError(
            f"{path}: expected finite features of the {split} split, got NaN or infinity for {is_faulty.sum()} of "
            f"{len(names)} images, the first is {shown_name(names[int(is_faulty.argmax())])}: are the weights of the "
            f"encoder finite? {_REMEDY}"
        )
