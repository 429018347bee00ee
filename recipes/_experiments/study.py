"""Runs of one recipe that belong together: variants, each under several seeds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from recipes._cli.run_record import metrics_of_finished
from recipes._experiments.jobs import Backend, Job
from recipes._experiments.progress import run_with_progress

QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")
"""Arguments of a run that is one of many."""


class Variant(NamedTuple):
    """One kind of run of a study."""

    arguments: tuple[str, ...] = ()
    """Arguments of the command by which it differs from the other kinds."""
    command: str = "fit"
    starts_from: str | None = None
    """Variant whose newest checkpoint it takes: a fit by the callback ``WarmStart``, others as ``--ckpt_path``."""
    reinitialized: tuple[str, ...] = ()
    """Parts of the module that a fit does not take from that checkpoint, such as ``net.fusion``."""
    baseline: str | None = None
    """Variant whose score is subtracted from its own, seed by seed, in a table."""


class Study:
    """Variants of a recipe under several seeds, each run in a folder of its own, ``seed_<number>/<variant>``.

    Finished runs are used, unfinished ones continue: a stopped study goes on when it is started again, and one with
    more seeds or variants uses the runs that are there.

    Args:
        recipe: Name of the recipe.
        variants: All runs of a seed, by name; one that starts from another stands behind it.
        folder: Where the runs lie.
        num_seeds: How many runs of each variant.
        fit_arguments: Arguments of all runs.
        backend: ``process`` runs one after the other, ``ray`` side by side on workers of Ray.

    Raises:
        ValueError: There is no seed.
    """

    def __init__(
        self,
        recipe: str,
        variants: Mapping[str, Variant],
        folder: Path,
        num_seeds: int,
        fit_arguments: Sequence[str] = (),
        backend: Backend = "process",
    ) -> None:
        if num_seeds < 1:
            raise ValueError(f"expected num_seeds of at least 1, got {num_seeds}")
        self.recipe = recipe
        self.variants = variants
        self.folder = folder
        self.num_seeds = num_seeds
        self.fit_arguments = tuple(fit_arguments)
        self.backend: Backend = backend

    def run(self, after_each: Callable[[], None] | None = None) -> None:
        """Run what is not finished, all variants under one seed and then under the next.

        Args:
            after_each: Called after each run, such as to write a table of those that are finished.
        """
        names = {job.folder: f"{job.folder.relative_to(self.folder)}" for job in self._jobs()}
        title = f"{len(names)} runs of {self.recipe}: {', '.join(self.variants)}; {self.num_seeds} seeds"
        for _ in run_with_progress(list(self._jobs()), self.backend, title, lambda job: names[job.folder]):
            if after_each is not None:
                after_each()

    def folder_of(self, variant: str, seed: int) -> Path:
        """Where a run lies."""
        return self.folder / f"seed_{seed}" / variant

    def metrics(self, variant: str) -> list[dict[str, float]]:
        """What the finished runs of a variant returned, seed by seed."""
        found = (metrics_of_finished(self.folder_of(variant, seed)) for seed in range(self.num_seeds))
        return [metrics for metrics in found if metrics is not None]

    def finished_folders(self, variant: str) -> list[Path]:
        """Folders of the finished runs of a variant, seed by seed."""
        folders = (self.folder_of(variant, seed) for seed in range(self.num_seeds))
        return [folder for folder in folders if metrics_of_finished(folder) is not None]

    def _jobs(self) -> Iterator[Job]:
        for seed in range(self.num_seeds):
            of_seed = (f"--seed_everything={seed}", f"--data.seed={seed}")
            for name, variant in self.variants.items():
                yield Job(
                    self.recipe,
                    (*QUIET, *self.fit_arguments, *of_seed, *variant.arguments),
                    self.folder_of(name, seed),
                    variant.command,
                    None if variant.starts_from is None else self.folder_of(variant.starts_from, seed),
                    variant.reinitialized,
                )


def choose_variants(known: Mapping[str, Variant], names: Sequence[str]) -> dict[str, Variant]:
    """Those variants that are named.

    Raises:
        ValueError: One of the names is of no variant, or none is named.
    """
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"expected variants among {list(known)}, got {unknown or 'none'}")
    return {name: known[name] for name in names}


def evaluation_name(variant: str, split: str) -> str:
    """Name of the run that has a variant's scores on a split: the fit itself has those on ``val``."""
    return variant if split == "val" else f"{variant}_test"


def with_evaluations(variants: Mapping[str, Variant], split: str) -> dict[str, Variant]:
    """Variants, each fit of which is followed by its test where the split is ``test``."""
    found: dict[str, Variant] = {}
    for name, variant in variants.items():
        found[name] = variant
        if split == "test" and variant.command == "fit":
            found[evaluation_name(name, split)] = Variant(variant.arguments, "test", starts_from=name)
    return found
