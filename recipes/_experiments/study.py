"""A study: variants of one recipe, each run with several seeds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lightning_edge.checks import check_at_least
from recipes._cli.run_record import metrics_of_finished
from recipes._experiments.jobs import Backend, Job
from recipes._experiments.progress import run_with_progress

QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")
"""Arguments that suppress the output of a run that is one of many."""


class Variant(NamedTuple):
    """One kind of run of a study."""

    arguments: tuple[str, ...] = ()
    """Arguments of the command that the other variants do not have."""
    command: str = "fit"
    starts_from: str | None = None
    """Variant whose checkpoint it loads: a fit with the callback ``WarmStart``, others by ``--ckpt_path``."""
    checkpoint: str | None = None
    """Name of that checkpoint, such as ``best``; the newest one if ``None``."""
    reinitialized: tuple[str, ...] = ()
    """Parts of the module that a fit does not load from that checkpoint, such as ``net.fusion``."""
    baseline: str | None = None
    """Variant whose score with the same seed is subtracted in a table."""


class Study:
    """Variants of a recipe with several seeds, each run in its own folder, ``seed_<number>/<variant>``.

    Finished runs are reused, and unfinished runs continue. So a stopped study continues when it is started again, and a
    study with more seeds or variants reuses the existing runs.

    Args:
        recipe: Name of the recipe.
        variants: All runs of a seed, by name. A variant that starts from another one must come after it.
        folder: Folder of the runs.
        num_seeds: Number of runs of each variant.
        fit_arguments: Arguments of all runs.
        backend: ``process`` runs them one after the other, ``ray`` in parallel on workers of Ray.

    Raises:
        ValueError: ``num_seeds`` is less than 1.
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
        check_at_least(1, num_seeds=num_seeds)
        self.recipe = recipe
        self.variants = variants
        self.folder = folder
        self.num_seeds = num_seeds
        self.fit_arguments = tuple(fit_arguments)
        self.backend: Backend = backend

    def run(self, after_each: Callable[[], None] | None = None) -> None:
        """Run what is not finished: all variants with one seed, then with the next one.

        Args:
            after_each: Called after each run, for example to write a table of the finished runs.
        """
        names = {job.folder: f"{job.folder.relative_to(self.folder)}" for job in self._jobs()}
        title = f"{len(names)} runs of {self.recipe}: {', '.join(self.variants)}; {self.num_seeds} seeds"
        for _ in run_with_progress(list(self._jobs()), self.backend, title, lambda job: names[job.folder]):
            if after_each is not None:
                after_each()

    def folder_of(self, variant: str, seed: int) -> Path:
        """Folder of a run."""
        return self.folder / f"seed_{seed}" / variant

    def metrics(self, variant: str) -> list[dict[str, float]]:
        """The metrics of the finished runs of a variant, seed by seed."""
        runs = (metrics_of_finished(self.folder_of(variant, seed)) for seed in range(self.num_seeds))
        return [metrics for metrics in runs if metrics is not None]

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
                    variant.checkpoint,
                )


def choose_variants(known: Mapping[str, Variant], names: Sequence[str]) -> dict[str, Variant]:
    """The variants with the given names.

    Raises:
        ValueError: A name is unknown, or there are no names.
    """
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"expected variants among {list(known)}, got {unknown or 'none'}")
    return {name: known[name] for name in names}


def evaluation_name(variant: str, split: str) -> str:
    """Name of the run with a variant's scores on a split. The scores on ``val`` are those of the fit itself."""
    return variant if split == "val" else f"{variant}_test"


def with_evaluations(variants: Mapping[str, Variant], split: str) -> dict[str, Variant]:
    """Add a test run after each fit if the split is ``test``."""
    runs: dict[str, Variant] = {}
    for name, variant in variants.items():
        runs[name] = variant
        if split == "test" and variant.command == "fit":
            runs[evaluation_name(name, split)] = Variant(variant.arguments, "test", starts_from=name)
    return runs
