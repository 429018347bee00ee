"""What one run to a target loss leaves behind: its losses over steps, examples and seconds, and how it was made."""

import csv
import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from lightning_edge.json_files import read_record
from lightning_edge.ops.batch_scaling import first_hit, smoothed

TABLE, METADATA = "batch_size_scaling.csv", "batch_size_scaling.json"
"""Names of the two files of a run."""

LossSplit = Literal["train", "val"]


class Evaluation(NamedTuple):
    """Losses on the fixed samples after a step, a row of ``batch_size_scaling.csv``."""

    step: int
    """Steps of the optimizer so far."""
    examples: int
    """Examples of all processes so far."""
    epoch: float
    """Passes through the data so far; NaN for data of unknown size."""
    seconds: float
    """Time of training so far, without evaluations and without splitting batches for their gradient noise."""
    train_loss: float
    val_loss: float
    """NaN where there are no validation data."""
    linear_error: float
    """How far the loss after the next step lay from what its gradient foretold, a difference of losses; NaN where it
    was not measured."""
    noise_scale: float
    """Gradient noise scale, examples; NaN where it was not measured or noise hides the gradient."""

    def loss(self, split: LossSplit) -> float:
        """Loss on the samples of a split."""
        return self.train_loss if split == "train" else self.val_loss


@dataclass(frozen=True)
class RunMetadata:
    """How a run was made and how it ended, ``batch_size_scaling.json``."""

    batch_size: int
    """Examples of a step."""
    micro_batch_size: int
    """Examples that are in memory together, of which batch norm takes its statistics; 0 before the first step."""
    num_processes: int
    learning_rate: float
    """Of the first parameter group, before its schedule (``initial_lr``, which that of a warm-up rises to)."""
    split: LossSplit
    """Whose loss has the target."""
    target: float | None
    """Loss that ends the run; its budget alone does if ``None``."""
    window: int
    """Evaluations whose median counts as the loss."""
    outcome: Literal["running", "reached", "budget", "diverged"]
    """How the training ended; ``budget`` means without the target, as a rule by its number of steps."""


@dataclass(frozen=True)
class ScalingRun:
    """A run with all its evaluations, in order."""

    metadata: RunMetadata
    evaluations: tuple[Evaluation, ...]

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """Evaluations by column."""
        values = np.array(self.evaluations, float).reshape(-1, len(Evaluation._fields))
        return dict(zip(Evaluation._fields, values.T, strict=True))

    def time_to_target(self, target: float, split: LossSplit, unit: str = "step") -> float:
        """Steps, or another unit such as ``seconds`` or ``examples``, to a loss; infinite if it is not reached."""
        return first_hit(self.columns[unit], self.columns[f"{split}_loss"], target, self.metadata.window)

    def least_steps(self, target: float, split: LossSplit) -> float:
        """Steps to a loss, or a lower bound: what its evaluations confirm not to reach it; infinite if it diverged."""
        steps = self.time_to_target(target, split)
        if math.isfinite(steps) or self.metadata.outcome == "diverged":
            return steps
        last = len(self.evaluations) - 1 - self.metadata.window // 2  # those after it only confirm
        return float(self.evaluations[max(0, last)].step)

    def lowest(self, split: LossSplit) -> float:
        """The lowest loss that it reached for certain, a median of evaluations as targets are compared with."""
        losses = smoothed(self.columns[f"{split}_loss"], self.metadata.window)
        return float(min(losses[: max(1, len(losses) - self.metadata.window // 2)]))

    @property
    def num_steps(self) -> int:
        """Steps that were done."""
        return self.evaluations[-1].step if self.evaluations else 0

    @property
    def examples_per_s(self) -> float:
        """Examples of training in a second; NaN before the first step."""
        last = self.evaluations[-1] if self.evaluations else None
        return last.examples / last.seconds if last is not None and last.seconds else math.nan


def write_run(run: ScalingRun, folder: Path) -> None:
    """Write both files of a run into a folder, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / f"{TABLE}.partial"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Evaluation._fields)
        writer.writerows(run.evaluations)
    table.replace(folder / TABLE)
    metadata = folder / f"{METADATA}.partial"
    metadata.write_text(json.dumps(asdict(run.metadata), indent=2))
    metadata.replace(folder / METADATA)


def read_run(folder: Path) -> ScalingRun:
    """Read what :func:`write_run` wrote, wherever it lies below a folder.

    Raises:
        FileNotFoundError: There is no such run.
        ValueError: A file is cut short or is none of these.
    """
    found = sorted(folder.rglob(METADATA), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(f"expected {METADATA}, which BatchSizeScaling writes, below {folder}, got none")
    table = found[-1].with_name(TABLE)
    try:
        metadata = read_record(found[-1], RunMetadata)
        with table.open(newline="") as file:
            evaluations = tuple(_evaluation(row) for row in csv.DictReader(file))
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise ValueError(
            f"expected {found[-1]} and {TABLE} beside it as BatchSizeScaling writes them, got {error!r}"
        ) from error
    return ScalingRun(metadata, evaluations)


def _evaluation(row: dict[str, Any]) -> Evaluation:
    step, examples, *others = (row[name] for name in Evaluation._fields)
    return Evaluation(int(step), int(examples), *map(float, others))
