"""The command that takes Accel to onnxruntime."""

from pathlib import Path

import pytest
import torch
from small_run import SMALL as SMALL_RUN

from recipes import accel

pytest.importorskip("onnxscript")

SMALL = [*SMALL_RUN, "--trainer.callbacks=null"]


@pytest.fixture
def checkpoint():
    cli = accel.main(["validate", *SMALL, "--model.max_interval=1", "--model.interval=1"])
    torch.nn.init.constant_(cli.model.net.fusion.bias, 1.0)
    cli.trainer.save_checkpoint("trained.ckpt")
    return "trained.ckpt"


@pytest.mark.parametrize("flow", [[], ["--model.net.flow=FlowNetS", "--model.net.flow.width=0.125"]])
def test_exported_net_agrees_and_no_run_is_left(flow, capsys, tmp_path):
    actual = accel.main(["export", *SMALL, *flow, "--num_clips=1"]).metrics
    assert actual["largest_difference"] < 1e-4
    assert actual["share_equal"] >= 0.999
    assert "5 frames: the scores differ by at most" in capsys.readouterr().out
    assert Path("runs/accel_export/keyframe.onnx").is_file()
    assert Path("runs/accel_export/flow.onnx").is_file() is bool(flow)
    assert {path.name for path in Path("runs").iterdir()} == {"accel_export", "accel"}
    assert not list(Path("runs/accel").iterdir())


def test_weights_are_those_of_the_checkpoint(checkpoint):
    accel.main(["export", *SMALL, f"--ckpt_path={checkpoint}", "--num_clips=1", "--model.interval=1"])
    model = accel.main(["export", *SMALL, f"--ckpt_path={checkpoint}", "--num_clips=1"]).model
    assert (model.net.fusion.bias == 1).all()


def test_other_weights_are_refused(checkpoint):
    with pytest.raises(ValueError, match="expected ckpt_path to contain the weights of the configured model"):
        accel.main(["export", *SMALL, f"--ckpt_path={checkpoint}", "--model.net.update.encoder=resnet10t"])
    torch.save({"weights": {}}, "foreign.ckpt")
    with pytest.raises(ValueError, match=r"a checkpoint with a state_dict, got foreign\.ckpt"):
        accel.main(["export", *SMALL, "--ckpt_path=foreign.ckpt"])


def test_some_clips_are_needed():
    with pytest.raises(ValueError, match="expected num_clips of at least 1, got 0"):
        accel.main(["export", *SMALL, "--num_clips=0"])
