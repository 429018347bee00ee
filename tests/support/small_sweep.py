"""Sweeps small enough for a test."""

from lightning_edge.analysis.scaling_run import read_run
from recipes.batch_size_scaling._plan import Sweep, read_plan

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
