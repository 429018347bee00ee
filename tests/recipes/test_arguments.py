"""What happens to arguments before they are parsed."""

import pytest
from small_run import SMALL

from recipes import accel
from recipes._arguments import prepare


@pytest.mark.parametrize("argument", ["--model.net.update=null", "--model.init_args.net.init_args.update=null"])
def test_a_part_that_is_left_out_becomes_a_configuration(argument, tmp_path):
    content = '{"model": {"init_args": {"net": {"init_args": {"update": null}}}}}'
    assert prepare(["fit", argument, "--model.keyframes=null"], tmp_path) == [
        "fit",
        "-c",
        content,
        "--model.keyframes=null",
    ]


def test_accel_without_its_update_branch_is_deep_feature_flow():
    short = ["--trainer.max_epochs=2", "--trainer.check_val_every_n_epoch=2", "--trainer.callbacks=null"]
    cli = accel.main(["fit", *SMALL, *short, "--model.net.update=null"])
    assert cli.model.net.update is None
    assert cli.metrics["val/accel_miou"] > 0
    assert "val/update_miou" not in cli.metrics
