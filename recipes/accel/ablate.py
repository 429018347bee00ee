"""The command that trains Accel's second stage in several variants."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lightning_edge.analysis.tradeoff import TradeoffRow, newest_rows
from lightning_edge.analysis.tradeoff_tables import at_interval, print_variants
from lightning_edge.checkpoints import last_checkpoint
from recipes._cli.run_config import run_config
from recipes._experiments.seeds import seed_plans


class Variant(NamedTuple):
    """Arguments of ``fit`` by which a variant of the training differs from the default."""

    second_stage: tuple[str, ...] = ()
    first_stage: tuple[str, ...] = ()


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


def ablate(
    folder: Path = Path("runs/accel_ablation"),
    num_seeds: int = 3,
    variants: tuple[str, ...] = tuple(VARIANTS),
    first_epochs: int = 15,
    second_epochs: int = 5,
    second_rate: float = 5.7e-4,
    interval: int = 5,
    overrides: tuple[str, ...] = ("-c", "long.yaml"),
) -> dict[str, float]:
    """Train the second stage in several variants, each from the same first stage, and print what each gives.

    A stopped ablation goes on where it was, and one with more seeds or variants uses those that are there.

    Args:
        folder: Where the runs lie, one folder for each seed.
        num_seeds: How many runs of each variant.
        variants: Which ones: ``branches`` (each goes on alone), ``scores`` or ``features`` are fused, ``by_carried``
            (the reference learns by what it carries alone, where ``accel/long.yaml`` adds the labelled frame),
            ``fusion_only`` (the branches are held), ``one_distance`` (4 frames from the key frame) or
            ``short_clips`` (1 to 4, where ``accel/long.yaml`` has 1 to 9), ``finer_flow``, ``dearer_update``
            (``resnet18_half`` at stride 16), ``distilled`` (the update branch learns the reference's scores). The last
            two have an own first stage.
        first_epochs: Length of the first stage.
        second_epochs: Length of the second stage.
        second_rate: Learning rate with which it begins; by default what a fit in one piece has left of 0.002 after 0.75
            of its steps.
        interval: Key-frame interval of the table.
        overrides: Further arguments of ``fit`` for all runs.
    """
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
) -> list[TradeoffRow]:

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
