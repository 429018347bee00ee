"""The command that trains Accel's second stage in several variants."""

from collections.abc import Sequence
from pathlib import Path

from lightning_edge.analysis.tradeoff import newest_rows
from lightning_edge.analysis.tradeoff_tables import at_interval, print_variants
from recipes._experiments.jobs import Backend
from recipes._experiments.study import Study, Variant

_DEARER_UPDATE = ("--model.net.update.encoder=resnet18_half", "--model.net.update.output_stride=16")

_DISTILLED = ("--model.distillation_weight=1",)

VARIANTS = {
    "branches": ("--model.branch_stage_fraction=1",),  # each branch on its own, trained for as long
    "scores": (),
    "features": ("--model.net.fuse_features=true",),
    "by_propagated": ("--model.reference_weight=0",),
    "fusion_only": ("--model.train_branches_jointly=false",),
    "one_distance": ("--data.train_distances=[4]",),
    "short_clips": ("--data.train_distances=[1,2,3,4]",),
    "finer_flow": ("--model.net.flow.preset=medium",),
    "dearer_update": _DEARER_UPDATE,
    "distilled": (),
}
"""Arguments of the second stage for each variant."""

FIRST_STAGES = {"dearer_update": _DEARER_UPDATE, "distilled": _DISTILLED}
"""Arguments of the first stage for the variants that have their own."""


def ablate(
    folder: Path = Path("runs/accel_ablation"),
    num_seeds: int = 3,
    variants: tuple[str, ...] = tuple(VARIANTS),
    first_epochs: int = 15,
    second_epochs: int = 5,
    second_rate: float = 5.7e-4,
    interval: int = 5,
    backend: Backend = "process",
    fit_arguments: tuple[str, ...] = (),
) -> dict[str, float]:
    """Train the second stage in several variants, starting from the same first stage, and print their scores.

    A stopped ablation continues when it is started again, and one with more seeds or variants reuses the existing runs.

    Args:
        folder: Folder of the runs, with a subfolder for each seed.
        num_seeds: Number of runs of each variant.
        variants: The variants to train. ``branches`` trains each branch on its own. ``scores`` and ``features`` name
            what is fused. In ``by_propagated`` the reference branch learns only from its propagated features, whereas
            ``accel/long.yaml`` adds its loss on the labeled frame. ``fusion_only`` freezes the branches.
            ``one_distance`` trains 4 frames from the key frame. ``short_clips`` trains 1 to 4 frames from it, whereas
            ``accel/long.yaml`` has 1 to 9. ``finer_flow`` has a finer optical flow. ``dearer_update`` has a larger
            update branch (``resnet18_half`` at stride 16). In ``distilled`` the update branch learns the scores of the
            reference branch. The last two have their own first stage.
        first_epochs: Number of epochs of the first stage.
        second_epochs: Number of epochs of the second stage.
        second_rate: Initial learning rate of the second stage. The default is what remains of 0.002 after 75 % of the
            steps of a single fit.
        interval: Key-frame interval of the table.
        backend: ``process`` runs the trainings one after the other, ``ray`` in parallel.
        fit_arguments: All other options, for every ``fit``, such as ``-c long.yaml``.
    """
    runs = _two_stages(variants, first_epochs, second_epochs, second_rate)
    study = Study("accel", runs, folder, num_seeds, fit_arguments, backend)
    study.run()
    rows = {name: [newest_rows(run) for run in study.finished_folders(name)] for name in variants}
    print_variants(rows, interval, alone="branches" if "branches" in rows else None)
    return {
        f"{name}_miou": sum(at_interval(of_seed, interval)["accel"].miou for of_seed in of_variant) / num_seeds
        for name, of_variant in rows.items()
    }


def _two_stages(names: Sequence[str], first_epochs: int, second_epochs: int, second_rate: float) -> dict[str, Variant]:
    """The first stages, and the second stages of the named variants."""
    if unknown := [name for name in names if name not in VARIANTS]:
        raise ValueError(f"expected variants among {list(VARIANTS)}, got {unknown}")
    runs = {}
    for name in names:
        first = f"first_stage_{name}" if name in FIRST_STAGES else "first_stage"
        begin = (*_epochs(first_epochs), "--model.branch_stage_fraction=1", *FIRST_STAGES.get(name, ()))
        runs.setdefault(first, Variant(begin))
        go_on = (*_epochs(second_epochs), "--model.branch_stage_fraction=0", f"--model.optimizer.lr={second_rate}")
        # the fusion is not trained in the first stage
        second = Variant((*go_on, *VARIANTS[name]), starts_from=first, reinitialized=("net.fusion",))
        runs[name] = second
    return runs


def _epochs(number: int) -> tuple[str, ...]:
    return (f"--trainer.max_epochs={number}", f"--trainer.check_val_every_n_epoch={number}")
