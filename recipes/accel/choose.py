"""The command that finds the most accurate net of a run within a latency budget."""

from pathlib import Path

from rich.console import Console

from lightning_edge.analysis.tradeoff import best_within, newest_rows
from lightning_edge.analysis.tradeoff_tables import describe
from recipes._cli.usage import typed_command


def choose(budget_ms: float, run: Path = Path("runs/accel")) -> dict[str, float | str]:
    """Print the most accurate net and key-frame interval of a run within a latency budget.

    Args:
        budget_ms: Latency budget per frame, in milliseconds.
        run: Folder of a run, or a folder with several runs, of which the newest is used. The latencies are those of the
            run's machine and frame size.

    Raises:
        FileNotFoundError: No run in the folder has a table.
        ValueError: The budget is not greater than 0, or the table is damaged.
    """
    if not budget_ms > 0:
        raise ValueError(f"expected budget_ms above 0, got {budget_ms}")
    try:
        rows = newest_rows(run)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no tradeoff.csv in {run}: run `{typed_command('accel')} fit` first, or give the folder of a run "
            "with --run"
        ) from None
    choices: dict[str, float | str] = {}
    for name, meaning in (("on_average", "on average"), ("worst_case", "for the median key frame too")):
        best = best_within(rows, budget_ms, worst_case=name == "worst_case")
        choice = "no measured net is fast enough" if best is None else describe(best)
        Console(soft_wrap=True).print(f"Within {budget_ms:g} ms {meaning}: {choice}", markup=False)
        if best is not None:
            choices |= {
                f"{name}_{field}": getattr(best, field) for field in ("net", "interval", "miou", "mean_ms", "key_ms")
            }
    return choices
