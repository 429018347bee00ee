"""What a Lightning user will try with any method: accumulation, two processes, compilation, resumption."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from lightning.pytorch import Trainer
from settings import make_accel, make_cityscapes_video
from toys import fit_in_float64

from recipes._cli.run_config import run_config


def test_accumulating_four_batches_of_two_equals_one_of_eight(tmp_path):
    whole, whole_losses = fit_in_float64(tmp_path, batch_size=8)
    parts, part_losses = fit_in_float64(tmp_path, batch_size=2, accumulate_grad_batches=4)
    means = torch.tensor(part_losses, dtype=torch.float64).view(-1, 4).mean(1)
    torch.testing.assert_close(means, torch.tensor(whole_losses, dtype=torch.float64), rtol=1e-6, atol=0)
    for (name, expected), got in zip(whole.named_parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


def test_two_processes_with_four_clips_each_equal_one_with_eight(tmp_path):
    """Through both stages: a parameter that one process leaves out would stop the other."""
    whole, _ = fit_in_float64(tmp_path, batch_size=8)
    shared, _ = fit_in_float64(tmp_path, batch_size=4, devices=2, strategy="ddp_fork")
    for (name, expected), got in zip(whole.named_parameters(), shared.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


def test_compiled_net_gives_the_same_scores():
    method = make_accel(5).eval()
    frames = torch.rand(1, 3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = method(frames)
        torch.testing.assert_close(torch.compile(method.net, backend="eager")(frames), expected)


@pytest.mark.slow
def test_compiled_method_trains(tmp_path):
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        limit_train_batches=1,
        limit_val_batches=1,
        logger=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(torch.compile(make_accel(19)), make_cityscapes_video())
    assert torch.isfinite(trainer.callback_metrics["train/loss"])


SMALL = [
    "--data.sample_size=[64,128]",
    "--data.num_samples=[8,2]",
    "--data.batch_size=2",
    "--data.num_workers=0",
    "--model.net.reference.encoder=resnet10t",
    "--model.branch_stage_fraction=0.5",
    "--trainer.max_epochs=4",
    "--trainer.check_val_every_n_epoch=4",
    "--trainer.callbacks+=callbacks.TradeoffReport",
    "--trainer.callbacks.num_rounds=6",
    "--trainer.accelerator=cpu",
]

RUN = """
import sys
from recipes._cli.run_config import run_config
run_config("accel", sys.argv[2:], sys.argv[1])
"""


@pytest.mark.slow
def test_two_processes_run_the_recipe(tmp_path):
    script = tmp_path / "run.py"  # Lightning starts the second process by calling it again
    script.write_text(RUN)
    subprocess.run(
        [sys.executable, script, tmp_path / "run", *SMALL, "--trainer.devices=2", "--trainer.strategy=ddp"],
        check=True,
        timeout=300,
    )
    assert 0 <= json.loads((tmp_path / "run" / "done.json").read_text())["val/miou"] <= 1
    assert [path.name for path in (tmp_path / "run").glob("version_*")] == ["version_0"]


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_end(tmp_path):
    whole = run_config("accel", SMALL, tmp_path / "whole")
    run = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", RUN, run, *SMALL], env=dict(os.environ, OMP_NUM_THREADS="1"))
    deadline = time.monotonic() + 200
    while not list(run.rglob("last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(run.rglob("last.ckpt")), "expected a checkpoint within 200 s"
    assert not (run / "done.json").exists()
    resumed = run_config("accel", SMALL, run)
    for name in ("train/loss", "val/miou", "val/dff_miou_d3"):
        assert resumed[name] == pytest.approx(whole[name], rel=1e-4), name
