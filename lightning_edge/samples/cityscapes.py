"""Sample data in the layout of Cityscapes, including video snippets."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lightning_edge.checks import check_whole_at_least
from lightning_edge.samples.cache import make_once
from lightning_edge.samples.world.domains import DOMAINS, domain_named
from lightning_edge.samples.world.frames import MIN_SIZE_PX, WORLD_VERSION, render_snippet
from lightning_edge.samples.world.labels import palette
from lightning_edge.samples.writing import run_jobs, write_map, write_rgb

SNIPPET_FRAMES = 30
LABELLED_FRAME = 19
"""Position of the labeled frame in its snippet, the 20th image (Cordts et al., CVPR 2016)."""
CITIES = {"train": ("arborfeld", "brueckstadt", "clarenau"), "val": ("dornwik", "eschental")}
SPLIT_SEED = {"train": 0, "val": 1}


@dataclass(frozen=True)
class _Snippet:
    """One snippet to write; ``frame0`` is the number of its first frame in the file names."""

    split: str
    city: str
    sequence: int
    frame0: int
    world_seed: int
    domain: str


def sample_cityscapes(
    num_train: int = 120,
    num_val: int = 40,
    height: int = 128,
    width: int = 256,
    domains: Sequence[str] = ("day",),
    seed: int = 0,
    sequences: bool = True,
) -> Path:
    """Folder of a data set in the layout of Cityscapes, which is generated on the first call.

    ``gtFine`` and ``leftImg8bit`` contain the labeled frame of every snippet. ``leftImg8bit_sequence`` contains the
    snippets of 30 frames around it, at 17 Hz. Cities of training and validation differ, and every snippet shows another
    world.

    Args:
        num_train: Number of training snippets.
        num_val: Number of validation snippets.
        height: Height of an image, in pixels.
        width: Width of an image, in pixels.
        domains: Names of light and weather conditions from ``lightning_edge.samples.world.domains.DOMAINS``, which the
            snippets of a split have in turn.
        seed: Seed of the worlds.
        sequences: Whether to write the snippets too.

    Raises:
        ValueError: An argument is out of range.
    """
    if not domains:
        raise ValueError(f"expected domains among {list(DOMAINS)}, got none")
    for domain in domains:
        domain_named(domain)
    check_whole_at_least(1, num_train=num_train, num_val=num_val)
    check_whole_at_least(MIN_SIZE_PX, height=height, width=width)
    check_whole_at_least(0, seed=seed)
    arguments = {"num_train": num_train, "num_val": num_val, "height": height, "width": width,
                 "domains": list(domains), "seed": seed, "sequences": sequences}  # fmt: skip
    jobs = [*_snippets("train", num_train, domains, seed), *_snippets("val", num_val, domains, seed)]

    def write(root: Path) -> None:
        work = partial(_write_snippet, root=root, height=height, width=width, sequences=sequences)
        run_jobs(work, jobs, "cityscapes sample")

    return make_once("cityscapes", WORLD_VERSION, arguments, write)


def _snippets(split: str, count: int, domains: Sequence[str], seed: int) -> list[_Snippet]:
    """Snippets, distributed over the cities. Their worlds depend only on the seed, the split and the index."""
    cities = CITIES[split]
    made = []
    for number in range(count):
        state = np.random.SeedSequence([seed, SPLIT_SEED[split], number])
        world_seed = int(state.generate_state(1)[0])
        # as in the real data, the first snippet of every other city does not start at frame 0
        frame0 = 0 if number % len(cities) == 0 else 30 * (number // len(cities)) + 7
        city, domain = cities[number % len(cities)], domains[number % len(domains)]
        made.append(_Snippet(split, city, number // len(cities), frame0, world_seed, domain))
    return made


def _write_snippet(snippet: _Snippet, root: Path, height: int, width: int, sequences: bool) -> None:
    count = SNIPPET_FRAMES if sequences else LABELLED_FRAME + 1
    folder = Path(snippet.split) / snippet.city
    frames = render_snippet(snippet.world_seed, count, height=height, width=width, domain=snippet.domain)
    for index, frame in enumerate(frames):
        stem = f"{snippet.city}_{snippet.sequence:06d}_{snippet.frame0 + index:06d}"
        if sequences:
            write_rgb(root / "leftImg8bit_sequence" / folder / f"{stem}_leftImg8bit.png", frame.image)
        if index == LABELLED_FRAME:
            write_rgb(root / "leftImg8bit" / folder / f"{stem}_leftImg8bit.png", frame.image)
            truth = root / "gtFine" / folder
            write_map(truth / f"{stem}_gtFine_labelIds.png", frame.mask)
            write_map(truth / f"{stem}_gtFine_instanceIds.png", frame.instance.astype(np.uint16))
            write_rgb(truth / f"{stem}_gtFine_color.png", palette()[frame.mask])
