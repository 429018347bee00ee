"""Accel: video segmentation by warped features of an accurate net and corrections of a fast one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recipes._cli import run, run_config

if TYPE_CHECKING:
    from recipes._parser import RecipeCLI

LINKS = {
    "data.num_classes": [
        "model.init_args.net.init_args.reference.init_args.num_classes",
        "model.init_args.net.init_args.update.init_args.num_classes",
    ]
}


def repeat(
    folder: Path = Path("runs/accel_repeat"), num_seeds: int = 3, overrides: tuple[str, ...] = ()
) -> dict[str, float]:
    """Fit with several seeds and print the trade-off of all intervals, averaged.

    A stopped repetition goes on where it was. Leaves ``tradeoff.csv`` and ``tradeoff.png`` of the means in the folder.

    Args:
        folder: Where the runs lie, one folder for each seed.
        num_seeds: How many runs.
        overrides: Further arguments of ``fit`` for all runs, such as ``["--trainer.max_epochs=3"]``.
    """
    from callbacks.tradeoff_report import draw_curve, print_intervals
    from lightning_edge.systems.tradeoff import average_rows, read_rows, write_rows

    runs = []
    for seed in range(num_seeds):
        run_config("accel", [f"--seed_everything={seed}", f"--data.seed={seed}", *overrides], folder / f"seed_{seed}")
        [*_, newest] = sorted((folder / f"seed_{seed}").glob("version_*/tradeoff.csv"), key=lambda p: p.stat().st_mtime)
        runs.append(read_rows(newest))
    print_intervals(runs)
    means = average_rows(runs)
    write_rows(means, folder / "tradeoff.csv")
    draw_curve(means).savefig(folder / "tradeoff.png", dpi=150)
    return {f"{row.net}_miou_n{row.interval}": row.miou for row in means}


def main(args: Sequence[str] | None = None, folder: Path | None = None) -> "RecipeCLI":
    """Run the command line of this recipe."""
    return run("accel", args, commands=[repeat], links=LINKS, folder=folder)


if __name__ == "__main__":
    main()
