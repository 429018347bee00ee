"""Sweeps small enough for a test."""

import dataclasses
import math
from pathlib import Path

from scaling_runs import make_run, steps_of

from lightning_edge.analysis.scaling_run import read_run, write_run
from recipes.batch_size_scaling._plan import Sweep
from recipes.batch_size_scaling._plan_file import read_plan, write_plan
from recipes.batch_size_scaling._results import read_results

SIZES = (16, 64, 256, 1024)

OVERRIDES = [
    "--model.net.model=ode_resnet4",
    "--model.net.model_options={}",
    "--data.num_samples=[80,20]",
    "--data.num_workers=0",
    "--trainer.logger=[{'class_path':'CSVLogger','init_args':{'save_dir':'runs','name':'x'}}]",
    "--trainer.log_every_n_steps=1",
]


def call(*arguments, overrides=(), recipe="shift"):
    return [
        "sweep",
        f"--recipe={recipe}",
        *OVERRIDES,
        *overrides,
        "--every_n_examples=8",
        "--num_samples=10",
        "--window=1",
        "--max_examples=96",
        "--warmup_examples=10",
        "--base_lr=0.01",
        *arguments,
    ]


def losses_below(folder):
    """Training losses of all runs of a sweep, by their folders."""
    paths = [run.path for run in read_plan(folder).runs()]
    return {str(path): read_run(folder / path).columns["train_loss"] for path in paths}


def small_plan(**changes):
    values = {
        "recipe": "shift",
        "base_size": 64,
        "base_lr": 0.1,
        "lars_lr": 2.0,
        "weight_decay": 5e-4,
        "target": None,
        "split": "train",
        "max_examples": 10_000,
        "warmup_examples": 1000,
        "every_n_examples": 100,
        "num_samples": 10,
        "eval_batch_size": 100,
        "window": 3,
        "micro_batch_size": 256,
        "sizes": (16, 64, 1024),
        "lr_rules": ("fixed", "linear", "sqrt"),
        "tuned_lrs": (),
        "num_seeds": 2,
        "fractions": (1.0,),
    }
    return Sweep(**{**values, **changes})


def results(folder: Path, make=lambda planned: make_run(planned.size, steps_of(planned.size)), skip=(), **changes):
    """Results of a sweep with one seed, whose runs take 100 steps and 20,000 / batch size more."""
    plan = small_plan(
        **{"sizes": SIZES, "lr_rules": ("fixed",), "num_seeds": 1, "target": 1.0, "max_examples": 10**6, **changes}
    )
    write_plan(plan, folder)
    for planned in plan.runs():
        if planned.size in skip:
            continue
        run = make(planned)
        outcome = "reached" if math.isfinite(run.time_to_target(1.0, "train")) else run.metadata.outcome
        facts = dataclasses.replace(run.metadata, learning_rate=planned.setting.learning_rate, outcome=outcome)
        write_run(dataclasses.replace(run, metadata=facts), folder / planned.path)
        (folder / planned.path / "done.json").write_text("{}")
    return read_results(folder)
