"""Commands that fit Accel several times: over seeds, and in variants of the training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from recipes._cli import last_checkpoint, run_config
from recipes._seeds import seed_plans

if TYPE_CHECKING:
    from lightning_edge.analysis.tradeoff import TradeoffRow


class Variant(NamedTuple):
    """Arguments of ``fit`` by which a variant of the training differs from the default."""

    second_stage: tuple[str, ...] = ()
    first_stage: tuple[str, ...] = ()


_DEEP_FEATURE_FLOW = ("--model.net.update=null", "--model.net.direct=true")
"""Arguments of ``fit`` that train Deep Feature Flow as itself: without an update branch, through its own warp."""

_DEARER_UPDATE = ("--model.net.update.encoder=resnet18_half", "--model.net.update.output_stride=16")

VARIANTS = {
    "branches": Variant(("--model.branch_share=1",)),  # what each branch alone makes of as long a training
    "scores": Variant(),
    "features": Variant(("--model.net.fuse_features=true",)),
    "by_carried": Variant(("--model.reference_weight=0",)),
    "fusion_only": Variant(("--model.train_branches_jointly=false",)),
    "one_distance": Variant(("--data.train_distances=[4]",)),
    "short_clips": Variant(("--data.train_distances=[1,2,3,4]",)),
    "finer_flow": Variant(("--model.net.flow.preset=medium",)),
    "dearer_update": Variant(_DEARER_UPDATE, first_stage=_DEARER_UPDATE),
    "distilled": Variant(first_stage=("--model.distillation_weight=1",)),
}


def repeat(
    folder: Path = Path("runs/accel_repeat"),
    num_seeds: int = 3,
    split: Literal["val", "test"] = "test",
    overrides: tuple[str, ...] = (),
) -> dict[str, float]:
    """Fit Accel and Deep Feature Flow with several seeds and print the trade-off of all intervals, averaged.

    Both get the same data and steps. Deep Feature Flow learns as itself, through its own warp, beside the one that
    consists of Accel's reference branch and flow. A stopped repetition resumes. ``tradeoff.csv`` and ``tradeoff.png``
    in the folder hold the means.

    Args:
        folder: Where the runs lie, two folders for each seed.
        num_seeds: How many runs of each.
        split: Data on which the nets are compared; settings are chosen on ``val``.
        overrides: Further arguments of ``fit`` for all runs, such as ``["--trainer.max_epochs=3"]``.
    """
    from callbacks.tradeoff_report import draw_curve
    from lightning_edge.analysis.tradeoff import average_rows, write_rows
    from lightning_edge.analysis.tradeoff_tables import print_gain, print_intervals

    runs = []
    for name, plan in seed_plans(num_seeds, overrides).items():
        rows = _fit_and_evaluate(plan, folder / name, split)
        rival = _fit_and_evaluate([*plan, *_DEEP_FEATURE_FLOW], folder / f"{name}_dff", split)
        runs.append(rows + [row._replace(net="trained_dff") for row in rival if row.net == "accel"])
    print_intervals(runs)
    print_gain(runs, "accel", "trained_dff")
    means = average_rows(runs)
    write_rows(means, folder / "tradeoff.csv")
    draw_curve(means).savefig(folder / "tradeoff.png", dpi=150)
    return {f"{row.net}_miou_n{row.interval}": row.miou for row in means}


def _fit_and_evaluate(plan: Sequence[str], run: Path, split: str) -> "list[TradeoffRow]":
    from lightning_edge.analysis.tradeoff import newest_rows

    run_config("accel", plan, run)
    if split == "test":
        plan, run = [*plan, f"--ckpt_path={last_checkpoint(run)}"], run.with_name(f"{run.name}_test")
        run_config("accel", plan, run, command="test")
    return newest_rows(run)


def ablate(
    folder: Path = Path("runs/accel_ablation"),
    num_seeds: int = 3,
    variants: tuple[str, ...] = tuple(VARIANTS),
    first_epochs: int = 15,
    second_epochs: int = 5,
    second_rate: float = 5.7e-4,
    interval: int = 5,
    overrides: tuple[str, ...] = ("-c", "accel_long.yaml"),
) -> dict[str, float]:
    """Train the second stage in several variants, each from the same first stage, and print what each gives.

    A stopped ablation goes on where it was, and one with more seeds or variants uses those that are there.

    Args:
        folder: Where the runs lie, one folder for each seed.
        num_seeds: How many runs of each variant.
        variants: Which ones: ``branches`` (each goes on alone), ``scores`` or ``features`` are fused, ``by_carried``
            (the reference learns by what it carries alone, where ``accel_long.yaml`` adds the labelled frame),
            ``fusion_only`` (the branches are held), ``one_distance`` (4 frames from the key frame) or
            ``short_clips`` (1 to 4, where ``accel_long.yaml`` has 1 to 9), ``finer_flow``, ``dearer_update``
            (``resnet18_half`` at stride 16), ``distilled`` (the update branch learns the reference's scores). The last
            two have an own first stage.
        first_epochs: Length of the first stage.
        second_epochs: Length of the second stage.
        second_rate: Learning rate with which it begins; by default what a fit in one piece has left of 0.002 after 0.75
            of its steps.
        interval: Key-frame interval of the table.
        overrides: Further arguments of ``fit`` for all runs.
    """
    from lightning_edge.analysis.tradeoff_tables import at_interval, print_variants

    if unknown := [name for name in variants if name not in VARIANTS]:
        raise ValueError(f"expected variants among {list(VARIANTS)}, got {unknown}")
    runs: dict[str, list[list[TradeoffRow]]] = {name: [] for name in variants}
    for seed, plan in seed_plans(num_seeds, overrides).items():
        for name, found in runs.items():
            found.append(_fit_variant(name, plan, folder / seed, first_epochs, second_epochs, second_rate))
    print_variants(runs, interval, alone="branches" if "branches" in runs else None)
    return {
        f"{name}_miou": sum(at_interval(rows, interval)["accel"].miou for rows in found) / num_seeds
        for name, found in runs.items()
    }


def _fit_variant(
    name: str, plan: Sequence[str], folder: Path, first_epochs: int, second_epochs: int, second_rate: float
) -> "list[TradeoffRow]":
    from lightning_edge.analysis.tradeoff import newest_rows

    second_stage, first_stage = VARIANTS[name]
    first = folder / (f"first_stage_{name}" if first_stage else "first_stage")
    run_config("accel", [*plan, *_epochs(first_epochs), "--model.branch_share=1", *first_stage], first)
    begin = [
        "--trainer.callbacks+=callbacks.WarmStart",
        f"--trainer.callbacks.checkpoint={last_checkpoint(first)}",
        "--trainer.callbacks.begin_anew=[net.fusion]",  # it does not learn in the first stage
        "--model.branch_share=0",
        f"--model.optimizer.lr={second_rate}",
    ]
    run_config("accel", [*plan, *_epochs(second_epochs), *begin, *second_stage], folder / name)
    return newest_rows(folder / name)


def _epochs(number: int) -> list[str]:
    return [f"--trainer.max_epochs={number}", f"--trainer.check_val_every_n_epoch={number}"]
