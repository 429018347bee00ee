"""Results of one run to a target loss: its losses by steps, examples and seconds, and its settings."""

import csv
import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from lightning_edge.atomic_files import replace_file, replace_table
from lightning_edge.json_files import read_record
from lightning_edge.ops.batch_scaling import first_hit, smoothed

TABLE, METADATA = "batch_size_scaling.csv", "batch_size_scaling.json"
"""Names of the two files that a run writes."""

LossSplit = Literal["train", "val"]


class Evaluation(NamedTuple):
    """Losses on the fixed samples after a step; a row of ``batch_size_scaling.csv``."""

    step: int
    """Number of optimizer steps so far."""
    examples: int
    """Number of training examples so far, over all processes."""
    epoch: float
    """Number of passes through the data so far; NaN for data of unknown size."""
    seconds: float
    """Training time so far, without evaluations and measurements of the gradient noise."""
    train_loss: float
    """Loss on the training samples."""
    val_loss: float
    """Loss on the validation samples; NaN without validation data."""
    linear_error: float
    """Difference between the loss after the next step and the loss predicted from the gradient; NaN if it was not
    measured."""
    noise_scale: float
    """Gradient noise scale, in examples; NaN if it was not measured or the noise hides the gradient."""

    def loss(self, split: LossSplit) -> float:
        """Loss on the samples of a split."""
        return self.train_loss if split == "train" else self.val_loss


@dataclass(frozen=True)
class RunMetadata:
    """Settings and outcome of a run, the content of ``batch_size_scaling.json``."""

    batch_size: int
    """Number of examples in an optimizer step."""
    micro_batch_size: int
    """Number of examples in a forward pass, over which batch norm computes statistics; 0 before the first step."""
    num_processes: int
    learning_rate: float
    """Learning rate of the first parameter group without its schedule (``initial_lr``)."""
    split: LossSplit
    """Split whose loss has the target."""
    target: float | None
    """Loss that ends the run; with ``None``, only the budget ends it."""
    window: int
    """Number of evaluations whose median counts as the loss."""
    outcome: Literal["running", "reached", "budget", "diverged"]
    """How the training ended; ``budget`` means that it did not reach the target, usually because its steps ran out."""


@dataclass(frozen=True)
class ScalingRun:
    """A run with all its evaluations, in temporal order."""

    metadata: RunMetadata
    evaluations: tuple[Evaluation, ...]

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """Evaluations by column."""
        values = np.array(self.evaluations, float).reshape(-1, len(Evaluation._fields))
        return dict(zip(Evaluation._fields, values.T, strict=True))

    def time_to_target(self, target: float, split: LossSplit, unit: str = "step") -> float:
        """Steps, ``seconds`` or ``examples`` until the run reached a loss; infinite if it did not."""
        return first_hit(self.columns[unit], self.columns[f"{split}_loss"], target, self.metadata.window)

    def least_steps(self, target: float, split: LossSplit) -> float:
        """Steps to a loss, or a lower bound of them if the run did not reach it; infinite if the run diverged."""
        steps = self.time_to_target(target, split)
        if math.isfinite(steps) or self.metadata.outcome == "diverged":
            return steps
        last = len(self.evaluations) - 1 - self.metadata.window // 2  # the ones after it only confirm it
        return float(self.evaluations[max(0, last)].step)

    def lowest(self, split: LossSplit) -> float:
        """The lowest smoothed loss of the run; a target is compared with the same median of evaluations."""
        losses = smoothed(self.columns[f"{split}_loss"], self.metadata.window)
        return float(min(losses[: max(1, len(losses) - self.metadata.window // 2)]))

    @property
    def num_steps(self) -> int:
        """Number of completed steps."""
        return self.evaluations[-1].step if self.evaluations else 0

    @property
    def examples_per_s(self) -> float:
        """Training throughput, in examples per second; NaN before the first step."""
        last = self.evaluations[-1] if self.evaluations else None
        return last.examples / last.seconds if last is not None and last.seconds else math.nan


def write_run(run: ScalingRun, folder: Path) -> None:
    """Write both files of a run into a folder, each one atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_table(folder / TABLE, Evaluation._fields, run.evaluations)
    replace_file(folder / METADATA, json.dumps(asdict(run.metadata), indent=2).encode())


def read_run(folder: Path) -> ScalingRun:
    """Read the newest run that :func:`write_run` wrote below a folder.

    Raises:
        FileNotFoundError: There is no run below the folder.
        ValueError: A file is truncated or was not written by :func:`write_run`.
    """
    paths = sorted(folder.rglob(METADATA), key=lambda path: path.stat().st_mtime)
    if not paths:
        raise FileNotFoundError(f"expected {METADATA}, which BatchSizeScaling writes, below {folder}, got none")
    table = paths[-1].with_name(TABLE)
    try:
        metadata = read_record(paths[-1], RunMetadata)
        with table.open(newline="") as file:
            evaluations = tuple(_evaluation(row) for row in csv.DictReader(file))
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise ValueError(
            f"expected {paths[-1]} and {TABLE} next to it, as BatchSizeScaling writes them, got {error!r}"
        ) from error
    return ScalingRun(metadata, evaluations)


def _evaluation(row: dict[str, Any]) -> Evaluation:
    step, examples, *others = (row[name] for name in Evaluation._fields)
    return Evaluation(int(step), int(examples), *map(float, others))
