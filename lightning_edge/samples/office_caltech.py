"""Generated features in the layout of Office-Caltech10: four domains of the same ten classes.

Each image is a histogram of 800 visual words, which are drawn from a mixture of topics: one of the looks of its class,
which all domains share, and some of its background, which are those of the place. Besides, each place takes some words
for others, as descriptors of another camera do. Both make the nearest neighbor of another domain a poor guide, and both
leave directions in which the classes of all domains are alike. The domains dslr and webcam show the same office, as in
the real data, and differ in the number of words.
"""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from scipy.io import savemat

from lightning_edge.checks import check_whole_at_least
from lightning_edge.samples.cache import make_once

OFFICE_CALTECH_VERSION = 1
"""Version of the features. It is increased when they change, which invalidates numbers that were measured on them."""

DOMAINS = ("amazon", "Caltech10", "dslr", "webcam")
NUM_IMAGES = (958, 1123, 157, 295)
"""Number of images of each domain in the real data (Gong et al., CVPR 2012)."""

_NUM_CLASSES, _NUM_WORDS = 10, 800
_PLACES = ("studio", "web", "office", "office")
"""Where the images of each domain were taken."""
_CONFUSION = 0.4
"""Share of the words that are taken for others."""
_WORDS_PER_IMAGE = (250, 200, 180, 120)
"""Mean number of words in an image of each domain. Small or blurred images have fewer."""
_LOOKS_PER_CLASS = 4
_CLASS_SHARE = 0.25
"""Mean share of the words of an image that belong to the object."""
_NUM_BACKGROUNDS = 6
_HEADER = b"MATLAB 5.0 MAT-file, generated features of Office-Caltech10".ljust(116)
"""Text instead of the date, so that equal features give equal files."""


def sample_office_caltech(num_images: tuple[int, int, int, int] = NUM_IMAGES, seed: int = 0) -> Path:
    """Folder with ``amazon_SURF_L10.mat`` and so on: ``fts`` [n, 800] of bytes, and ``labels`` [n, 1] from 1 to 10.

    The numbers of images of the classes of a domain differ by at most one.

    Args:
        num_images: Number of images of the domains amazon, Caltech10, dslr and webcam; those of the real data by
            default.
        seed: Seed of the features.

    Raises:
        ValueError: An argument is out of range.
    """
    for domain, count in zip(DOMAINS, num_images, strict=True):
        check_whole_at_least(_NUM_CLASSES, **{f"num_images of {domain}": count})
    check_whole_at_least(0, seed=seed)

    def write(root: Path) -> None:
        for index, (domain, count) in enumerate(zip(DOMAINS, num_images, strict=True)):
            features, labels = _draw(index, count, seed)
            (root / f"{domain}_SURF_L10.mat").write_bytes(_as_mat(features, labels))

    arguments = {"num_images": list(num_images), "seed": seed}
    return make_once("office_caltech", OFFICE_CALTECH_VERSION, arguments, write)


def _draw(domain: int, count: int, seed: int) -> tuple[UInt8[np.ndarray, "images words"], Int64[np.ndarray, " images"]]:
    looks = _topics(np.random.default_rng([seed, 0]), _NUM_CLASSES * _LOOKS_PER_CLASS, 0.05)
    place = np.random.default_rng([seed, 1, _PLACES.index(_PLACES[domain])])
    backgrounds, confused = _topics(place, _NUM_BACKGROUNDS, 0.2), _confusion(place)
    rng = np.random.default_rng([seed, 2, domain])
    labels = rng.permutation(np.arange(count) % _NUM_CLASSES)
    features = np.empty((count, _NUM_WORDS), np.uint8)
    for row, label in zip(features, labels, strict=True):
        share = rng.beta(12 * _CLASS_SHARE, 12 * (1 - _CLASS_SHARE))
        behind = rng.dirichlet(np.full(_NUM_BACKGROUNDS, 0.5)) @ backgrounds
        words = share * looks[_LOOKS_PER_CLASS * label + rng.integers(_LOOKS_PER_CLASS)] + (1 - share) * behind
        varied = rng.gamma(400 * words[confused] + 1e-9)  # no two images of a class have the same mixture
        row[:] = np.minimum(rng.multinomial(rng.poisson(_WORDS_PER_IMAGE[domain]), varied / varied.sum()), 255)
    return features, labels


def _topics(rng: np.random.Generator, num_topics: int, concentration: float) -> Float64[np.ndarray, "topics words"]:
    """Distributions over the words; a small concentration gives each topic few words."""
    return rng.dirichlet(np.full(_NUM_WORDS, concentration), num_topics)


def _confusion(rng: np.random.Generator) -> Int64[np.ndarray, " words"]:
    """For each word, the word that it stands for. A share of the words is permuted."""
    stands_for = np.arange(_NUM_WORDS)
    moved = rng.permutation(_NUM_WORDS)[: round(_CONFUSION * _NUM_WORDS)]
    stands_for[moved] = rng.permutation(moved)
    return stands_for


def _as_mat(features: UInt8[np.ndarray, "images words"], labels: Int64[np.ndarray, " images"]) -> bytes:
    file = io.BytesIO()
    savemat(file, {"fts": features, "labels": labels[:, None] + 1.0}, do_compression=True)
    return _HEADER + file.getvalue()[len(_HEADER) :]
