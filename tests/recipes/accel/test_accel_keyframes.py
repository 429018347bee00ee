"""The command that compares key-frame policies."""

import pytest
import torch
from small_run import SMALL as SMALL_RUN

from lightning_edge.samples.world.frames import standing_share
from recipes import accel
from recipes.accel.keyframes import _worlds

SMALL = [*SMALL_RUN, "--trainer.callbacks=null"]
CAMVID = [
    "--data=CamVidVideoDataModule",
    "--data.sample_size=[48,64]",
    "--data.num_samples=[10,10]",
    "--data.num_workers=0",
    "--trainer.logger=false",
    "--trainer.callbacks=null",
]
FEW = ["--intervals=[4]", "--num_drives=6", "--drive_frames=16", "--size=[32,64]"]


def test_policies_are_compared_on_the_drives_that_are_asked_for(capsys):
    cli = accel.main(["validate", *SMALL, "--model.max_interval=1", "--model.interval=1"])
    cli.trainer.save_checkpoint("random.ckpt")
    with torch.no_grad():
        for branch in (cli.model.net.reference, cli.model.net.update):
            branch.head[-1].bias[0] += 100  # road everywhere, from key frames and from all others
    cli.trainer.save_checkpoint("road.ckpt")

    actual, again, elsewhere, road = (
        accel.main(["keyframes", *SMALL, *FEW, *arguments]).metrics
        for arguments in (
            ["--ckpt_path=random.ckpt"],
            ["--ckpt_path=random.ckpt"],
            ["--ckpt_path=random.ckpt", "--first_world=7"],
            ["--ckpt_path=road.ckpt"],
        )
    )
    names = ("fixed_3", "fixed_4", "fixed_6", "adaptive_4")
    assert set(actual) == {f"{name}_{kind}" for name in names for kind in ("miou", "keyframe_share")} | {
        "adaptive_4_gain",
        "adaptive_4_saving",
    }
    assert -1 < actual["adaptive_4_saving"] < 1
    assert actual == again != elsewhere
    assert actual["fixed_4_keyframe_share"] == pytest.approx(1 / 4)
    assert actual["fixed_6_keyframe_share"] <= actual["adaptive_4_keyframe_share"] <= actual["fixed_3_keyframe_share"]
    assert len({road[f"{name}_miou"] for name in names}) == 1
    assert road["adaptive_4_gain"] == 0
    said = capsys.readouterr().out
    assert "adaptive 4: +0.00 [+0.00, +0.00] points of mIoU" in said


@pytest.mark.parametrize(("least", "most"), [(0.0, 0.2), (0.3, 0.7), (1.0, 1.0)])
def test_drives_can_be_chosen_by_how_long_the_vehicle_stands(least, most):
    worlds = _worlds(first=10, number=2, num_frames=64, standing=(least, most))
    shares = {seed: standing_share(seed, 64) for seed in range(10, worlds[-1] + 1)}
    assert worlds == [seed for seed, share in shares.items() if least <= share <= most]


def test_too_few_such_drives_are_told():
    with pytest.raises(
        ValueError, match=r"expected standing to fit 6 of 600 sequences, got \(0.51, 0.53\), which fits 0"
    ):
        accel.main(["keyframes", *SMALL, *FEW, "--standing=[0.51,0.53]"])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--intervals=[1]", r"expected intervals of at least 2, got \(1,\)"),
        ("--intervals=[]", r"expected intervals of at least 2, got \(\)"),
        ("--num_drives=5", "expected num_drives of at least 6, to compute a confidence interval, got 5"),
        ("--drive_frames=0", "expected num_frames of at least 1, got 0"),
        ("--domain=mars", "mars"),
        (
            "--standing=[0.7,0.3]",
            r"expected standing as the least and the largest share within \[0, 1\], got \(0.7, 0.3\)",
        ),
    ],
)
def test_arguments_of_the_comparison_are_checked(argument, message):
    with pytest.raises(ValueError, match=message):
        accel.main(["keyframes", *SMALL, argument])


def test_a_net_of_other_classes_is_refused():
    with pytest.raises(ValueError, match="expected a model of 19 classes, got 11"):
        accel.main(["keyframes", *CAMVID])
