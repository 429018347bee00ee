"""The command that reads off a run what fits a latency budget."""

from pathlib import Path

from rich.console import Console

from lightning_edge.analysis.tradeoff import best_within, newest_rows
from lightning_edge.analysis.tradeoff_tables import describe
from recipes._cli.usage import typed_command


def choose(budget_ms: float, run: Path = Path("runs/accel")) -> dict[str, float | str]:
    """Say which net and key-frame interval of a run are the most accurate within a latency budget.

    Args:
        budget_ms: Time a frame, milliseconds.
        run: Folder of the run, whose machine and size of frames the times are of; of several below it the newest.

    Raises:
        FileNotFoundError: No run below the folder has a table.
        ValueError: The budget is not above 0, or the table is damaged.
    """
    if not budget_ms > 0:
        raise ValueError(f"expected budget_ms above 0, got {budget_ms}")
    try:
        rows = newest_rows(run)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no tradeoff.csv in {run}: run `{typed_command('accel')} fit` first, or name the folder of a run "
            "with --run"
        ) from None
    found: dict[str, float | str] = {}
    for name, meaning in (("on_average", "on average"), ("worst_case", "with the median key frame too")):
        best = best_within(rows, budget_ms, worst_case=name == "worst_case")
        choice = "nothing that was measured" if best is None else describe(best)
        Console(soft_wrap=True).print(f"Within {budget_ms:g} ms {meaning}: {choice}", markup=False)
        if best is not None:
            found |= {
                f"{name}_{field}": getattr(best, field) for field in ("net", "interval", "miou", "mean_ms", "key_ms")
            }
    return found
