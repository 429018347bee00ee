"""Files of Office-Caltech10: features of the images of four domains with the same ten classes.

Source: Gong, Shi, Sha and Grauman, *Geodesic flow kernel for unsupervised domain adaptation*, CVPR 2012. Each domain
has a file such as ``amazon_SURF_L10.mat`` with ``fts``, one row for each image, and ``labels`` [n, 1] from 1 to 10.
Files of MATLAB 5 to 7, those of MATLAB 7.3, which are HDF5 and have their axes in reverse order, and ``.npz`` files are
read.
"""

from pathlib import Path
from typing import Literal, NamedTuple
from zipfile import ZipFile

import numpy as np
from jaxtyping import Float64, Int64, Num

from lightning_edge.data.files import names_in, open_file
from lightning_edge.data.formats.hdf5 import read_hdf5
from lightning_edge.data.formats.mat import read_mat
from lightning_edge.data.formats.npz import read_array

OfficeCaltechDomain = Literal["amazon", "Caltech10", "dslr", "webcam"]
"""The domains, as they are named in the files."""

CLASS_NAMES = (
    "backpack", "bike", "calculator", "headphones", "keyboard", "laptop", "monitor", "mouse", "mug", "projector",
)  # fmt: skip
"""Names of the classes 1 to 10, which are in alphabetical order as in Office-31."""

NUM_CLASSES = len(CLASS_NAMES)
_MAX_BYTES = 2**27
"""Size limit of a file and of its unpacked content, three times that of 4096 features of type ``float64``."""
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HDF5_BEGINS = (0, 512)
"""Where HDF5 begins in files of h5py, and in those of MATLAB, which have a header of their own before it."""
_REMEDY = "the features are in the CORAL repository, https://github.com/VisionLearningGroup/CORAL"


class LabeledFeatures(NamedTuple):
    """Features of images, and the class of each."""

    features: Float64[np.ndarray, "images features"]
    labels: Int64[np.ndarray, " images"]
    """Classes from 0 to 9."""


def read_office_caltech(root: Path, domain: OfficeCaltechDomain, kind: str = "SURF_L10") -> LabeledFeatures:
    """Read the features of a domain as they are in the file.

    Args:
        root: Folder that contains ``amazon_SURF_L10.mat`` or ``amazon_SURF_L10.npz``, and so on.
        domain: Domain to read.
        kind: Kind of the features, the end of the names of the files. Any number of features is allowed.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: The file is one of MATLAB 7.3, and the extra ``adaptation`` is not installed.
        ValueError: The file is damaged, or its content is not that of Office-Caltech10.
    """
    path = _path(root, f"{domain}_{kind}")
    features, labels = _read_arrays(path)
    if features.ndim != 2 or features.shape[0] < 2 or features.shape[1] < 1:
        raise ValueError(f"{path}: expected fts with a row for each of two images or more, got shape {features.shape}")
    if labels.size != len(features):
        raise ValueError(f"{path}: expected a class in labels for each of {len(features)} images, got {labels.size}")
    features = features.astype(np.float64)
    if not np.isfinite(features).all():
        raise ValueError(f"{path}: expected fts to be finite, got NaN or infinity")
    labels = labels.reshape(-1)
    wrong = labels[~np.isin(labels, np.arange(1, NUM_CLASSES + 1))]
    if len(wrong):
        raise ValueError(f"{path}: expected whole numbers from 1 to {NUM_CLASSES} in labels, got {wrong[0]}")
    return LabeledFeatures(features, labels.astype(np.int64) - 1)


def _path(root: Path, stem: str) -> Path:
    present = names_in(root)
    for name in (f"{stem}.mat", f"{stem}.npz"):
        if name in present:
            return root / name
    raise FileNotFoundError(f"{root}: expected {stem}.mat or {stem}.npz, got neither; {_REMEDY}")


def _read_arrays(path: Path) -> tuple[Num[np.ndarray, "..."], Num[np.ndarray, "..."]]:
    if path.suffix == ".npz":
        return _read_npz(path)
    if _is_hdf5(path):
        features, labels = read_hdf5(path, ("fts", "labels"), _MAX_BYTES, _REMEDY)
        return features.T, labels
    arrays = read_mat(path, ("fts", "labels"), _MAX_BYTES, _REMEDY)
    return arrays["fts"], arrays["labels"]


def _is_hdf5(path: Path) -> bool:
    with open_file(path, _MAX_BYTES, _REMEDY) as file:
        head = file.read(max(_HDF5_BEGINS) + len(_HDF5_SIGNATURE))
    return any(head[begin : begin + len(_HDF5_SIGNATURE)] == _HDF5_SIGNATURE for begin in _HDF5_BEGINS)


def _read_npz(path: Path) -> tuple[Num[np.ndarray, "..."], Num[np.ndarray, "..."]]:
    with open_file(path, _MAX_BYTES, _REMEDY) as file:
        try:
            with ZipFile(file) as archive:
                features = read_array(archive, "fts.npy", "fiu", None, _MAX_BYTES)
                return features, read_array(archive, "labels.npy", "fiu", None, _MAX_BYTES)
        except KeyError as error:
            raise ValueError(f"{path}: expected the arrays fts and labels ({error.args[0]}); {_REMEDY}") from None
        except Exception as error:  # a damaged archive can raise nearly any error
            reason = " ".join(str(error).split())
            raise ValueError(f"{path}: cannot be read as a NumPy archive ({reason:.200}); {_REMEDY}") from None
