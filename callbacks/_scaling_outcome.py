"""How a run of a sweep over batch sizes ended."""

import math
from dataclasses import replace

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lightning_edge.analysis.scaling_run import ScalingRun


def with_outcome(run: ScalingRun) -> ScalingRun:
    """The run, with the outcome ``diverged`` or ``reached`` if its evaluations show one of them."""
    metadata = run.metadata
    if not math.isfinite(run.evaluations[-1].loss(metadata.split)):
        outcome = "diverged"
    elif metadata.target is not None and math.isfinite(run.time_to_target(metadata.target, metadata.split)):
        outcome = "reached"
    else:
        return run
    return ScalingRun(replace(metadata, outcome=outcome), run.evaluations)


def report_outcome(run: ScalingRun) -> None:
    """Say whether the loss reached its target; a run without a target says nothing unless it diverged."""
    metadata, last = run.metadata, run.evaluations[-1]
    start = f"batch size {metadata.batch_size}: the"
    if metadata.outcome == "diverged":
        rank_zero_warn(f"{start} loss is not finite from step {last.step} on, so the run ends")
    elif metadata.target is None:
        return
    elif metadata.outcome == "reached":
        step = math.ceil(run.time_to_target(metadata.target, metadata.split))
        rank_zero_info(f"{start} {metadata.split} loss reached {metadata.target:g} after {step} steps")
    else:
        rank_zero_warn(
            f"{start} {metadata.split} loss did not reach {metadata.target:g} in {last.step} steps "
            f"({last.examples} examples); the last was {last.loss(metadata.split):.4g}"
        )
