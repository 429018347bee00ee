"""A sweep small enough for a test."""

from lightning_edge.systems.scaling_run import read_run
from recipes._scaling_plan import read_plan

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
        "--config=null",
        f"--overrides={[*OVERRIDES, *overrides]}",
        "--every_n_examples=8",
        "--num_samples=10",
        "--window=1",
        "--max_examples=96",
        "--base_lr=0.01",
        *arguments,
    ]


def losses_below(folder):
    """Training losses of all runs of a sweep, by their folders."""
    paths = [run.path for run in read_plan(folder).runs()]
    return {str(path): read_run(folder / path).columns["train_loss"] for path in paths}
