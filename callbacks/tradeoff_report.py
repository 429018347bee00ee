"""What a video net's key-frame interval buys: accuracy and latency in one table and one figure."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_warn
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from scipy import stats
from torch import Tensor

from lightning_edge.contracts import ComparesVideoNets
from lightning_edge.systems.tradeoff import TradeoffRow, measure, tradeoff_row, write_rows
from lightning_edge.timing import num_samples_needed


class TradeoffReport(Callback):
    """Time the nets that a method compares, interleaved, and set their accuracy beside it.

    At the end of ``fit`` and ``test`` of a method that is ``ComparesVideoNets`` it prints a table, writes
    ``tradeoff.csv`` and ``tradeoff.png`` into the run's folder and logs both to W&B:

    ===================  =====================================================  ====
    key                  meaning                                                unit
    ===================  =====================================================  ====
    tradeoff             table of nets and intervals (W&B)                      -
    tradeoff_curve       figure (W&B)                                           -
    ===================  =====================================================  ====

    Args:
        num_rounds: Timed runs of each net; each gives one key frame and one other frame.
    """

    def __init__(self, num_rounds: int = 20) -> None:
        if num_rounds < (least := num_samples_needed(50)):
            raise ValueError(f"expected num_rounds of at least {least}, which an interval needs, got {num_rounds}")
        self.num_rounds = num_rounds
        self._frames: Tensor | None = None

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep two frames to time the nets on."""
        if self._frames is None and isinstance(pl_module, ComparesVideoNets):
            before_last = max(0, batch["frames"].shape[1] - 2)
            self._frames = batch["frames"][:1, [before_last, -1]].detach()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep two frames to time the nets on."""
        self.on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report on the last validation."""
        self._report(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report on the test."""
        self._report(trainer, pl_module)

    def _report(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.log_dir  # asks all ranks, so before any of them leaves
        if not isinstance(pl_module, ComparesVideoNets):
            rank_zero_warn(f"TradeoffReport has no effect: {type(pl_module).__name__} compares no video nets")
        elif self._frames is None or not pl_module.interval_scores:
            rank_zero_warn("TradeoffReport has no effect: nothing was evaluated")
        elif trainer.is_global_zero:
            rows = self._rows(pl_module, pl_module, self._frames)
            print_table(rows, pl_module.interval)
            figure = draw_curve(rows)
            if folder is not None:
                Path(folder).mkdir(parents=True, exist_ok=True)
                write_rows(rows, Path(folder) / "tradeoff.csv")
                figure.savefig(Path(folder) / "tradeoff.png", dpi=150)
            _log_to_wandb(trainer, rows, figure)
        self._frames = None

    def _rows(self, module: LightningModule, method: ComparesVideoNets, frames: Tensor) -> list[TradeoffRow]:
        modes = {part: part.training for part in module.modules()}
        module.eval()
        with module.trainer.precision_plugin.forward_context():
            latency = measure(method.video_nets(), frames, self.num_rounds)
        for part, is_training in modes.items():
            part.training = is_training
        return [tradeoff_row(score, latency) for score in method.interval_scores]


def print_table(rows: list[TradeoffRow], interval: int) -> None:
    """Print each net at its natural interval: single-frame nets at 1, the others at ``interval``."""
    carrying = {row.net for row in rows if row.interval > 1}
    shown = [row for row in rows if row.interval == (interval if row.net in carrying else 1)]
    table = Table(title=f"Accuracy and latency, one key frame in {interval}", caption=_CAPTION)
    table.add_column("net", no_wrap=True)
    for heading in ("mIoU %", "worst %", "ms/frame", "x reference"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in shown:
        table.add_row(
            DESCRIPTIONS.get(row.net, row.net),
            f"{100 * row.miou:.1f}",
            f"{100 * row.miou_worst:.1f}",
            f"{row.mean_ms:.1f}",
            f"{row.of_reference:.2f} [{row.of_reference_low:.2f}, {row.of_reference_high:.2f}]",
        )
    Console().print(table)


def print_intervals(runs: Sequence[Sequence[TradeoffRow]]) -> None:
    """Print the mean IoU of every net at every interval over runs with different seeds, with its 95 % interval."""
    table = Table(title=f"mIoU % by key-frame interval, mean of {len(runs)} seeds with 95 % interval", show_lines=False)
    nets = list(dict.fromkeys(row.net for row in runs[0]))
    for heading in ("n", *(DESCRIPTIONS.get(net, net) for net in nets)):
        table.add_column(heading, justify="right")
    mious: dict[tuple[str, int], list[float]] = {}
    for row in chain.from_iterable(runs):
        mious.setdefault((row.net, row.interval), []).append(100 * row.miou)
    for interval in sorted({interval for _, interval in mious}):
        table.add_row(str(interval), *(_mean_with_interval(mious.get((net, interval), [])) for net in nets))
    Console().print(table)


def _mean_with_interval(values: Sequence[float]) -> str:
    """Mean and half the width of Student's 95 % interval."""
    if len(values) < 2:
        return "".join(f"{value:.1f}" for value in values)
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{np.mean(values):.1f} ± {half:.1f}"


_CAPTION = "worst: on the last frame before the next key frame. x reference: share of its time, 95 % interval"
DESCRIPTIONS = {
    "reference": "reference, every frame",
    "update": "update net, every frame",
    "copy": "features copied",
    "dff": "Deep Feature Flow",
    "accel": "Accel",
}


def draw_curve(rows: list[TradeoffRow]) -> Figure:
    """Mean IoU over mean latency for every interval, and over the distance from the key frame."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    curve, distance = figure.subplots(1, 2)
    for net in dict.fromkeys(row.net for row in rows):
        points = [row for row in rows if row.net == net]
        label = DESCRIPTIONS.get(net, net)
        # a net of one point is a ring around what may lie under it, such as the others' first points
        style: dict[str, Any] = {"marker": "o", "ms": 4} if len(points) > 1 else {"marker": "o", "ms": 9, "mfc": "none"}
        x, y = [p.mean_ms for p in points], [100 * p.miou for p in points]
        (line,) = curve.plot(x, y, ls="-" if len(points) > 1 else "", label=label, **style)
        for point in points[1:][-1:]:
            at = (point.mean_ms, 100 * point.miou)
            curve.annotate(
                f"n={point.interval}",
                at,
                xytext=(4, -8),
                textcoords="offset points",
                fontsize=7,
                color=line.get_color(),
            )
        if len(points) > 1:
            worst = [100 * p.miou_worst for p in points]
            distance.plot(range(len(points)), worst, label=label, color=line.get_color(), **style)
        else:
            distance.axhline(100 * points[0].miou, ls=":", label=label, color=line.get_color())
    curve.set(xlabel="latency, ms a frame", ylabel="mIoU, %", title="one key frame in n frames")
    curve.set_xlim(left=0)
    distance.set(xlabel="frames since the key frame", ylabel="mIoU, %", title="away from the key frame")
    curve.legend(fontsize=7)
    for axes in (curve, distance):
        axes.grid(alpha=0.3)
    return figure


def _log_to_wandb(trainer: Trainer, rows: list[TradeoffRow], figure: Figure) -> None:
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            import wandb  # takes seconds; only those who log to it pay

            logger.experiment.log(
                {
                    "tradeoff": wandb.Table(columns=list(TradeoffRow._fields), data=[list(row) for row in rows]),
                    "tradeoff_curve": wandb.Image(figure),
                }
            )
