"""Runs to a target loss whose steps are known."""

import dataclasses
import math

import numpy as np

from lightning_edge.analysis.scaling_run import Evaluation, RunMetadata, ScalingRun
from lightning_edge.ops.batch_scaling import StepsBySize

TRUTH = StepsBySize(min_steps=100.0, min_examples=20_000.0)
SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048)


def steps_of(size):
    return float(TRUTH.steps(np.array([float(size)]))[0])


def make_run(size, steps, budget=math.inf, rate=0.1, every=None):
    """A run whose loss falls evenly from 2 and is 1 after so many steps."""
    every = every or max(1, int(steps / 40))
    last = int(min(budget, 1.2 * steps))
    evaluations = tuple(
        Evaluation(
            step, step * size, step * size / 1e4, step * 0.01, 2 - step / steps, 2.1 - step / steps, 0.01 * size, 300.0
        )
        for step in range(0, last + 1, every)
    )
    facts = RunMetadata(size, size, 1, rate, "train", 1.0, 3, "budget")
    return ScalingRun(facts, evaluations)


def diverged(run):
    facts = dataclasses.replace(run.metadata, outcome="diverged")
    return ScalingRun(facts, (*run.evaluations[:3], run.evaluations[3]._replace(train_loss=math.nan)))
