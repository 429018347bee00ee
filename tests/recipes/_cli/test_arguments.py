"""What happens to arguments before they are parsed."""

import pytest
import yaml
from small_run import SMALL

from recipes import accel, segmentation
from recipes._cli.arguments import without_null_parts


def test_three_spellings_leave_a_part_of_the_net_out():
    spellings = (
        ["--model.net.update=null"],
        ["--model.net.update", "null"],
        ["--model.init_args.net.init_args.update=null"],
    )
    assert len({tuple(without_null_parts(["fit", *spelling, "--x"])) for spelling in spellings}) == 1


def test_the_folder_of_a_configuration_is_removed(capsys):
    changes = ["--data.target.root=null", "--data.source.train_transform", "null"]
    with pytest.raises(SystemExit):
        segmentation.main(["fit", "--print_config", "-c", "adapt_camvid.yaml", *changes])
    data = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]
    assert data["target"]["init_args"]["root"] is None
    assert data["target"]["init_args"]["train_transform"] is not None
    assert data["source"]["init_args"]["train_transform"] is None


def test_a_part_of_a_nested_data_module_is_left_out():
    for side in ("source", "target"):
        rewritten = ["-c", f'{{"data": {{"init_args": {{"{side}": {{"init_args": {{"root": null}}}}}}}}}}']
        for spelling in ([f"--data.{side}.root=null"], [f"--data.init_args.{side}.init_args.root", "null"]):
            assert list(without_null_parts(spelling)) == rewritten


def test_other_arguments_stay_as_they_are():
    several = (["--model.keyframes=null"], ["--model.net.a.b=null"], ["--model.net.width", "3"], ["--data.root=null"])
    for arguments in several:
        assert list(without_null_parts(arguments)) == arguments


def test_accel_without_its_update_branch_is_deep_feature_flow():
    short = ["--trainer.max_epochs=2", "--trainer.check_val_every_n_epoch=2", "--trainer.callbacks=null"]
    cli = accel.main(["fit", *SMALL, *short, "--model.net.update", "null"])
    assert cli.model.net.update is None
    assert cli.metrics["val/accel_miou"] > 0
    assert "val/update_miou" not in cli.metrics
