"""Files of what a frozen encoder sees in each image of a data set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float32

from lightning_edge.contracts import LabelledSplit

Features = Float32[np.ndarray, "images features"]


def write_features(path: Path, features: Mapping[LabelledSplit, tuple[Sequence[str], Features]]) -> None:
    """Write the names and the features of the images of some splits."""
    arrays: dict[str, np.ndarray] = {}
    for split, (names, values) in features.items():
        arrays |= {f"{split}_names": np.array(names, str), f"{split}_features": np.asarray(values, np.float32)}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, allow_pickle=False, **arrays)
    partial.replace(path)


def read_features(path: Path, split: LabelledSplit, names: Sequence[str] | None = None) -> Features:
    """Features of some images of a split in the order of ``names``, of all of them in that of the file if ``None``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no such file, or it lacks the split or an image.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected a file of features of the images, found none: `python -m recipes.ddn embed` writes one"
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found, features = arrays[f"{split}_names"], arrays[f"{split}_features"]
    except KeyError:
        raise ValueError(f"{path}: expected features of the {split} split, got a file without") from None
    except (OSError, ValueError, EOFError, TypeError, BadZipFile) as error:
        raise ValueError(f"{path}: expected a file of features as `recipes.ddn embed` writes it, got {error}") from None
    if names is None:
        return features
    row = {name: index for index, name in enumerate(found.tolist())}
    missing = [name for name in names if name not in row]
    if missing:
        raise ValueError(
            f"{path}: expected features of all {len(names)} images of the {split} split, {len(missing)} are missing, "
            f"such as {missing[0]}: was it written for other data?"
        )
    return features[[row[name] for name in names]]


def num_features(path: Path) -> int:
    """Numbers that describe an image in a file."""
    return read_features(path, "train").shape[1]
