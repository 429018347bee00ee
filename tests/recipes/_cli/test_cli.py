import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_only
from outside import commands_only, tiny
from outside.parts import TinyMethod
from wandb_offline import read_offline_run

from lightning_edge.checkpoints import last_checkpoint
from recipes import shift
from recipes._cli.command_line import console, list_recipes
from recipes._cli.run_folder import RunFolder

ROOT = Path(__file__).parents[3]
NO_LOGGER = "--trainer.logger=false"


def test_a_run_writes_into_one_folder(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", "offline")
    tiny.main(["fit"])
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert {path.name for path in Path("runs/tiny/version_0").iterdir()} == {
        "checkpoints",
        "config.yaml",
        "hparams.yaml",
        "metrics.csv",
        "wandb",
    }
    assert "`wandb sync runs/tiny/version_0/wandb/offline-run-" in caplog.text
    config = read_offline_run(tmp_path / "runs/tiny/version_0").config
    assert config["model"]["init_args"]["net"]["init_args"] == {"num_classes": 3}
    assert config["trainer"]["max_epochs"] == 2
    assert "wandb" not in sys.modules or sys.modules["wandb"].run is None


def test_a_second_run_takes_the_next_folder():
    for _ in range(2):
        tiny.main(["fit", "--trainer.max_epochs=1"])
    assert {path.name for path in Path("runs/tiny").iterdir()} == {"version_0", "version_1"}


def test_a_run_that_starts_before_another_has_written_takes_the_next_folder():
    folders = [RunFolder(Namespace(logger=_csv_logger(), default_root_dir=None), "tiny", None, None) for _ in range(2)]
    assert [str(folder.path) for folder in folders] == ["runs/tiny/version_0", "runs/tiny/version_1"]


def test_the_other_processes_of_a_run_use_the_folder_of_the_first(monkeypatch):
    first = RunFolder(Namespace(logger=_csv_logger(), default_root_dir=None), "tiny", None, None)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    other = RunFolder(Namespace(logger=_csv_logger(), default_root_dir=None), "tiny", None, None)
    assert other.path == first.path == Path("runs/tiny/version_0")


def test_the_other_processes_of_a_run_without_a_logger_use_the_folder_of_the_first(monkeypatch):
    first, other = (Namespace(logger=False, default_root_dir=None) for _ in range(2))
    RunFolder(first, "tiny", None, None)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    RunFolder(other, "tiny", None, None)
    assert other.default_root_dir == first.default_root_dir
    assert [str(path) for path in Path("lightning_logs").iterdir()] == [first.default_root_dir]


def _csv_logger():
    settings = Namespace(save_dir="runs", name="tiny", version=None)
    return Namespace(class_path="lightning.pytorch.loggers.CSVLogger", init_args=settings)


def test_a_fit_without_validation_is_announced():
    with pytest.warns(UserWarning, match=r"check_val_every_n_epoch of at most trainer.max_epochs \(1\), got 2"):
        tiny.main(["fit", "--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=2"])


def test_a_root_folder_numbers_the_runs(tmp_path):
    tiny.main(["fit", "--trainer.max_epochs=1", "--trainer.default_root_dir=there"])
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert Path("there/version_0/metrics.csv").is_file()


def test_without_a_logger_nothing_lands_in_the_current_folder(tmp_path):
    for command in ("fit", "validate", "test", "predict"):
        tiny.main([command, NO_LOGGER, "--trainer.max_epochs=1"])
    assert [path.name for path in tmp_path.iterdir()] == ["lightning_logs"]
    assert all(path.name.startswith("nologger_") for path in Path("lightning_logs").iterdir())


def test_fast_dev_run_logs_nothing(tmp_path):
    tiny.main(["fit", "--trainer.fast_dev_run=true"])
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"last.ckpt"}


def test_the_link_gives_the_net_the_data_s_classes_and_the_checkpoint_keeps_them():
    cli = tiny.main(["fit", "--trainer.max_epochs=1"])
    assert cli.model.net.linear.out_features == 3
    loaded = TinyMethod.load_from_checkpoint(last_checkpoint(Path("runs")))
    assert torch.equal(loaded.net.linear.weight, cli.model.net.linear.weight)


def test_a_checkpoint_gives_weights_only():
    fitted = tiny.main(["fit", "--trainer.max_epochs=1"])
    checkpoint = last_checkpoint(Path("runs"))
    tested = tiny.main(["test", NO_LOGGER, f"--ckpt_path={checkpoint}", "--model.scale=2", "--seed_everything=5"])
    assert tested.metrics["test/scale"] == 2
    assert torch.equal(tested.model.net.linear.weight, fitted.model.net.linear.weight)


def test_every_command_takes_the_configuration_of_a_run():
    tiny.main(["fit", "--trainer.max_epochs=1", "--model.scale=3"])
    configuration = next(Path("runs").rglob("config.yaml"))
    assert tiny.main(["test", NO_LOGGER, "-c", str(configuration)]).metrics["test/scale"] == 3
    assert tiny.main(["profile", NO_LOGGER, "-c", str(configuration)]).model.scale == 3


def test_the_seed_is_given_and_can_be_changed():
    losses = [tiny.main(["fit", NO_LOGGER, *more]).metrics for more in ([], [], ["--seed_everything=1"])]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_predictions_are_kept_only_if_asked_for():
    assert tiny.main(["predict", NO_LOGGER]).result is None
    assert len(tiny.main(["predict", NO_LOGGER, "--return_predictions=true"]).result) == 4


def test_a_variant_is_found_beside_the_recipe(monkeypatch):
    for option in (["-c", "tiny_long.yaml"], ["--config", "tiny_long.yaml"], ["--config=tiny_long.yaml"]):
        cli = tiny.main(["validate", NO_LOGGER, *option])
        assert cli.trainer.max_epochs == 5
        assert isinstance(cli.model, TinyMethod)


def test_a_variant_of_the_current_folder_comes_first():
    Path("tiny_long.yaml").write_text("trainer: {max_epochs: 4}")
    assert tiny.main(["validate", NO_LOGGER, "-c", "tiny_long.yaml"]).trainer.max_epochs == 4


def test_a_command_receives_the_recipe_s_objects():
    cli = tiny.main(["profile", NO_LOGGER, "--repeats=4"])
    assert cli.metrics == {"parameters": 15.0, "repeats": 4.0}
    assert cli.result["repeats"] == 4


def test_a_command_that_names_none_of_them_has_its_own_arguments_only():
    cli = tiny.main(["search", "--budget=2"])
    assert cli.result == {"budget": 2, "named": "here"}
    assert cli.model is None
    with pytest.raises(SystemExit, match="2"):
        tiny.main(["search", "--budget=2", "--trainer.max_epochs=1"])


def test_a_recipe_without_a_model_has_commands_only(capsys):
    assert commands_only.main(["search"]).result == {"num_cameras": 7}
    assert commands_only.main(["search", "--num_cameras=3"]).result == {"num_cameras": 3}
    with pytest.raises(SystemExit, match="2"):
        commands_only.main(["fit"])


def test_help_shows_the_commands_beside_the_trainer_s(capsys):
    with pytest.raises(SystemExit, match="0"):
        tiny.main(["--help"])
    shown = capsys.readouterr().out
    for text in ("fit", "validate", "test", "predict", "Count the parameters.", "Search without a model."):
        assert text in shown


@pytest.mark.parametrize(
    ("arguments", "named", "meant"),
    [
        (["--trainer.max_epoch=3"], "'trainer.max_epoch'", "'trainer.max_epochs'"),
        (["--model.scal=3"], "'scal'", "'scale'"),
        (["--model.net.num_clases=3"], "'num_clases'", "'num_classes'"),
        (["--model.optimizer.lrr=3"], "torch.optim.SGD has no argument 'lrr'", "'lr'"),
        (["--data.cuont=3"], "'cuont'", "'count'"),
        (["--trainer.callbacks+=ModelCheckpiont"], "'ModelCheckpiont'", "'ModelCheckpoint'"),
        (["-c", "trainer: {max_epoch: 3}"], "'trainer.max_epoch'", "'trainer.max_epochs'"),
        (["-c", "model: {init_args: {scal: 3}}"], "'scal'", "'scale'"),
        (["-c", "trainers: {max_epochs: 3}"], "'trainers.max_epochs'", "'trainer.max_epochs'"),
    ],
)
def test_a_misspelt_argument_is_refused_by_name(arguments, named, meant, capsys):
    if arguments[0] == "-c":
        Path("misspelt.yaml").write_text(arguments[1])
        arguments = ["-c", "misspelt.yaml"]
    with pytest.raises(SystemExit, match="2"):
        tiny.main(["fit", *arguments])
    first_line = capsys.readouterr().err.splitlines()[0]
    assert named in first_line
    assert f"did you mean {meant}?" in first_line


def test_a_list_without_brackets_is_refused_with_them(capsys):
    with pytest.raises(SystemExit, match="2"):
        shift.main(["compare", "--variants=shift1,shift3"])
    said = "expected variants as a list in brackets, such as --variants='[shift1,shift3]', got shift1,shift3"
    assert said in capsys.readouterr().err


def test_a_missing_argument_is_named(capsys):
    with pytest.raises(SystemExit, match="2"):
        tiny.main(["fit", "--model.net=outside.parts.OtherNet"])
    assert "outside.parts.OtherNet needs width" in capsys.readouterr().err.splitlines()[0]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--data=nosuch.MyData", "there is no module 'nosuch', neither installed nor in the current folder"),
        (
            "--data=outside.parts.TinyDatum",
            "the module 'outside.parts' has no class 'TinyDatum'; did you mean 'TinyData'?",
        ),
        ("--model.part.width=5", "'width' needs a class for 'part', which must come before it"),
    ],
)
def test_what_does_not_exist_is_named(argument, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        tiny.main(["fit", argument])
    assert capsys.readouterr().err.splitlines()[0] == f"error: {said}"


def test_a_training_says_how_many_samples_it_has(caplog):
    tiny.main(["fit", NO_LOGGER, "--data.count=6", "--trainer.max_epochs=1"])
    assert "Training on 6 samples, validating on 6 samples." in caplog.messages


def test_an_error_in_a_constructor_is_shown_as_it_is(monkeypatch):
    def refuse(self, count=8, seed=0):
        raise FileNotFoundError("no data here")

    monkeypatch.setattr("outside.parts.TinyData.__init__", refuse)
    with pytest.raises(FileNotFoundError, match=r"^no data here$"):
        tiny.main(["fit"])


@pytest.mark.slow
def test_two_processes_share_one_folder(tmp_path):
    command = [sys.executable, "-m", "outside.tiny", "fit", "--trainer.devices=2", "--trainer.strategy=ddp"]
    path = os.pathsep.join([str(ROOT / "tests/support"), str(ROOT)])
    subprocess.run(command, check=True, timeout=300, env={**os.environ, "PYTHONPATH": path}, capture_output=True)
    assert [path.name for path in Path("runs/tiny").iterdir()] == ["version_0"]
    assert last_checkpoint(tmp_path)


def test_ctrl_c_in_a_command_ends_it_cleanly(capsys):
    with pytest.raises(SystemExit, match="130"):
        commands_only.main(["wait"])


@pytest.mark.parametrize(
    ("environment", "netrc_text", "mode"),
    [
        ({}, None, "offline"),
        ({}, "machine example.org login user password secret", "offline"),
        ({}, "machine api.wandb.ai login user password secret", None),
        ({"WANDB_API_KEY": "secret"}, None, None),
        ({"WANDB_MODE": "online"}, None, "online"),
        ({"WANDB_BASE_URL": "https://example.org"}, "machine example.org login user password secret", None),
    ],
)
def test_wandb_is_offline_without_credentials(environment, netrc_text, mode, tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE"):
        monkeypatch.setenv(name, "")  # so that what the run sets is undone afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if netrc_text is not None:
        (tmp_path / "netrc").write_text(netrc_text)
    commands_only.main(["search"])
    assert os.environ.get("WANDB_MODE") == mode


def test_the_list_of_recipes_gives_each_a_line():
    lines = list_recipes().splitlines()
    assert [line.split()[0] for line in lines] == sorted(
        path.parent.name for path in ROOT.glob("recipes/*/default.yaml")
    )
    assert "shift               Shift networks: image classification without spatial convolutions." in lines


def test_the_console_script_refuses_an_unknown_recipe(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lightning-edge", "nothing"])
    with pytest.raises(SystemExit, match="2"):
        console()
    assert "got 'nothing'" in capsys.readouterr().err
