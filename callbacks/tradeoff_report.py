"""The trade-off between accuracy and latency over the key-frame interval, as a table and a figure."""

import math
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from callbacks._pictures.point_labels import PointLabel, label_points
from lightning_edge.analysis.tradeoff import TradeoffRow, accuracy_row, steps_to_time, tradeoff_row, write_rows
from lightning_edge.analysis.tradeoff_tables import NET_TITLES, print_accuracy, print_table
from lightning_edge.contracts import ComparesVideoNets
from lightning_edge.module_modes import restored_modes
from lightning_edge.timing import Samples, num_samples_needed, timed_rounds

_WARMUP = 3
"""Number of rounds that do not count."""
_SECONDS_BETWEEN_LINES = 5.0


class TradeoffReport(Callback):
    """Measure the latency of the nets that a method compares, and report it with their accuracy.

    At the end of ``fit`` and ``test`` of a method that is ``ComparesVideoNets``, it prints a table, writes
    ``tradeoff.csv`` and ``tradeoff.png`` to the run's folder and logs both to W&B. The nets are timed in turn, round by
    round. Accuracy is printed and written before that. Ctrl-C ends only the timing, not the run, and the rounds until
    then count. If the data module has several loaders, the accuracy is that of the first.

    ===================  =====================================================  ====
    key                  meaning                                                unit
    ===================  =====================================================  ====
    tradeoff             table of nets and intervals (W&B)                      -
    tradeoff_curve       figure (W&B)                                           -
    ===================  =====================================================  ====

    Args:
        num_rounds: Number of timed rounds. In each round, every net runs on one key frame and one other frame.
        time_limit_s: Time in seconds after which no further round starts. With fewer than 6 rounds, no latency is
            reported.
    """

    def __init__(self, num_rounds: int = 20, time_limit_s: float = 60.0) -> None:
        if num_rounds < (least := num_samples_needed(50)):
            raise ValueError(f"expected num_rounds of at least {least}, to compute an interval, got {num_rounds}")
        if not time_limit_s > 0:
            raise ValueError(f"expected time_limit_s above 0, got {time_limit_s}")
        self.num_rounds = num_rounds
        self.time_limit_s = time_limit_s
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
        """Report the scores of the last validation."""
        self._report(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the scores of the test."""
        self._report(trainer, pl_module)

    def _report(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.log_dir  # its getter communicates with all ranks
        if not isinstance(pl_module, ComparesVideoNets):
            rank_zero_warn(f"TradeoffReport has no effect: {type(pl_module).__name__} does not compare video nets")
        elif self._frames is None or not pl_module.interval_scores:
            rank_zero_warn("TradeoffReport has no effect: no evaluation ran")
        elif trainer.is_global_zero:
            rows = [accuracy_row(score) for score in pl_module.interval_scores]
            print_accuracy(rows, pl_module.interval)
            _write(rows, folder)
            if latency := self._latency(pl_module, pl_module, self._frames):
                rows = [tradeoff_row(score, latency) for score in pl_module.interval_scores]
                print_table(rows, pl_module.interval)
                _write(rows, folder)
                figure = draw_curve(rows)
                if folder is not None:
                    figure.savefig(Path(folder) / "tradeoff.png", dpi=150)
                _log_to_wandb(trainer, rows, figure)
        self._frames = None

    def _latency(self, module: LightningModule, method: ComparesVideoNets, frames: Tensor) -> dict[str, Samples]:
        """Times of each step by name; an empty dict if there are too few."""
        with restored_modes(module), module.trainer.precision_plugin.forward_context():
            module.eval()
            rounds = self._rounds(steps_to_time(method.video_nets(), frames), frames.device)
        if len(rounds) < num_samples_needed(50):
            rank_zero_warn(
                f"No latency is reported because {num_samples_needed(50)} rounds are needed, but only {len(rounds)} "
                f"were measured within time_limit_s={self.time_limit_s:g} of TradeoffReport."
            )
            return {}
        return {name: Samples(tuple(each[name] for each in rounds)) for name in rounds[0]}

    def _rounds(self, steps: Mapping[str, Callable[[], None]], device: torch.device) -> list[dict[str, float]]:
        """Measure rounds until there are enough, the time limit is over, or the user presses Ctrl-C."""
        rounds: list[dict[str, float]] = []
        start_s = last_line_s = monotonic()
        rank_zero_info(f"Measuring latency: {self.num_rounds} rounds, at most {self.time_limit_s:g} s")
        try:
            with closing(timed_rounds(steps, warmup=_WARMUP, device=device)) as all_rounds:
                for done, durations_ms in enumerate(all_rounds, 1 - _WARMUP):
                    rounds += [durations_ms] if done > 0 else []
                    now_s = monotonic()
                    if done == self.num_rounds or now_s - start_s > self.time_limit_s:
                        break
                    if now_s - last_line_s > _SECONDS_BETWEEN_LINES:
                        last_line_s = now_s
                        rank_zero_info(f"Measuring latency: round {max(0, done) + 1} of {self.num_rounds}")
        except KeyboardInterrupt:
            rank_zero_info(f"\nLatency measurement ended by Ctrl-C after {len(rounds)} of {self.num_rounds} rounds.")
        return rounds


def _write(rows: list[TradeoffRow], folder: str | None) -> None:
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_rows(rows, Path(folder) / "tradeoff.csv")


def draw_curve(rows: list[TradeoffRow]) -> Figure:
    """Draw mean IoU over mean latency for all intervals, and over the distance from the key frame."""
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    curve, distance = figure.subplots(1, 2)
    labels: list[PointLabel] = []
    for net in dict.fromkeys(row.net for row in rows):
        points = [row for row in rows if row.net == net]
        label = NET_TITLES.get(net, net)
        # a net with one point is drawn as a ring, so that points below it stay visible
        style: dict[str, Any] = {"marker": "o", "ms": 4} if len(points) > 1 else {"marker": "o", "ms": 9, "mfc": "none"}
        x, y = [p.mean_ms for p in points], [100 * p.miou for p in points]
        (line,) = curve.plot(x, y, ls="-" if len(points) > 1 else "", label=label, **style)
        color = line.get_color()
        labels += [
            PointLabel(f"n={point.interval}", point.mean_ms, 100 * point.miou, color)
            for point in points[1:]
            if point.interval % 5 == 0 or point is points[-1]
        ]
        if len(points) > 1:
            distance.plot(range(len(points)), [100 * p.miou_worst for p in points], color=color, **style)
        else:
            distance.axhline(100 * points[0].miou, ls=":", color=color)
    curve.set(xlabel="latency, ms per frame", ylabel="mIoU, %", title="one key frame in n frames")
    curve.set_xlim(left=0)
    distance.set(xlabel="frames since the key frame", ylabel="mIoU, %", title="accuracy by distance from the key frame")
    distance.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    for axes in (curve, distance):
        axes.grid(alpha=0.3)
        _show_at_least(axes, span_percent=1.0)
    label_points(curve, [label for label in labels if math.isfinite(label.x + label.y)])
    return figure


def _show_at_least(axes: Axes, span_percent: float) -> None:
    """Extend the axis of mIoU to at least ``span_percent``, so that noise does not look large."""
    low, high = axes.get_ylim()
    missing = max(0.0, span_percent - (high - low))
    axes.set_ylim(low - missing / 2, high + missing / 2)


def _log_to_wandb(trainer: Trainer, rows: list[TradeoffRow], figure: Figure) -> None:
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            import wandb  # importing takes seconds, so only runs that use it do

            logger.experiment.log(
                {
                    "tradeoff": wandb.Table(
                        columns=list(TradeoffRow._fields), data=[_without_nan(row) for row in rows]
                    ),
                    "tradeoff_curve": wandb.Image(figure),
                }
            )


def _without_nan(row: TradeoffRow) -> list[Any]:
    """The values of a row, with ``None`` for NaN, which strict JSON does not have."""
    return [None if isinstance(value, float) and math.isnan(value) else value for value in row]
