"""The domains of Office-Caltech10, and the labeled source images of each split."""

import hashlib
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
from jaxtyping import Float64, Int64

from lightning_edge.data.formats.office_caltech import OfficeCaltechDomain
from lightning_edge.data.office_caltech import OfficeCaltechDataModule

SAMPLE_SIZES = (190, 220, 80, 120)
"""Numbers of generated images, about a fifth of the real ones of the larger domains, so that a run takes a minute."""

NAMES = {name[0].upper(): name for name in get_args(OfficeCaltechDomain)}
"""Domains by their initials."""


class Domain(NamedTuple):
    """All images of a domain."""

    features: Float64[np.ndarray, "images features"]
    labels: Int64[np.ndarray, " images"]

    def at(self, indices: Int64[np.ndarray, " chosen"]) -> "Domain":
        """The images at the given indices."""
        return Domain(self.features[indices], self.labels[indices])


class Pair(NamedTuple):
    """Initials of a source and a target domain."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}>{self.target}"


def parse_pairs(pairs: tuple[str, ...]) -> list[Pair]:
    """Pairs such as ``A-W``, for amazon as the source and webcam as the target.

    Raises:
        ValueError: A pair is not one of two different domains, or is given twice.
    """
    parsed = []
    for text in pairs:
        source, dash, target = text.upper().partition("-")
        if not dash or source == target or not {source, target} <= NAMES.keys():
            raise ValueError(f"expected pairs of two of the initials {sorted(NAMES)}, such as A-W, got {text!r}")
        pair = Pair(source, target)
        if pair in parsed:
            raise ValueError(f"expected each pair once, got {text!r} twice")
        parsed.append(pair)
    return parsed


def read_domains(root: Path | None, kind: str) -> dict[str, Domain]:
    """All domains by their initials, standardized."""
    return {
        initial: Domain(*OfficeCaltechDataModule(name, root, kind, num_samples=SAMPLE_SIZES).arrays())
        for initial, name in NAMES.items()
    }


def draw_labeled(source: Domain, images_per_class: int, split: int) -> Domain:
    """Randomly chosen images of each class; all of them if a class has no more. The split is the seed."""
    rng = np.random.default_rng(split)
    chosen = [
        rng.permutation(np.flatnonzero(source.labels == label))[:images_per_class] for label in np.unique(source.labels)
    ]
    return source.at(np.concatenate(chosen))


def digest(domain: Domain) -> str:
    """A short text that differs for other features or labels."""
    content = hashlib.sha256(domain.features.tobytes())
    content.update(domain.labels.tobytes())
    return content.hexdigest()[:12]
