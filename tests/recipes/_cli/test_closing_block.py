"""What a run of each recipe ends with, and whether it works to follow it."""

import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from outside import tiny

from recipes import accel, anodev2, ddn, domain_adaptation, segmentation, shift
from recipes._cli.closing_block import closing_block

NO_LOGGER = "--trainer.logger=false"
_SHORT = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
_FEW = [*_SHORT, "--data.num_workers=0", "--data.batch_size=2", "--trainer.check_val_every_n_epoch=1"]
_PICTURES = [*_FEW, "--data.num_samples=[20,10]"]
_SCENES = [*_FEW, "--data.num_samples=[2,1]", "--data.sample_size=[64,96]"]
_NEAR = [
    "--data.batch_size=1",
    "--data.max_distance=1",
    "--data.train_distances=[1]",
    "--model.max_interval=2",
    "--model.interval=2",
]
RECIPES = {
    "accel": (accel.main, [*_SCENES, *_NEAR], "val/miou", "", "[64,96]"),
    "anodev2": (anodev2.main, _PICTURES, "val/accuracy", "", "[32,32]"),
    "ddn": (ddn.main, [*_SCENES, "--data.input_size=[64,96]"], "val/ap50", "ap50 by domain: daytime_", "[64,96]"),
    "segmentation": (segmentation.main, _SCENES, "val/miou", "iou by class: road 0.", "[64,96]"),
    "shift": (shift.main, _PICTURES, "val/accuracy", "", "[32,32]"),
}


def best(monitor):
    settings = {"monitor": monitor, "mode": "max", "filename": "best", "auto_insert_metric_name": False}
    return f"--trainer.callbacks=[{{'class_path':'ModelCheckpoint','init_args':{settings}}}]"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_fit_ends_with_its_score_and_the_next_commands_work(recipe, capsys):
    main, small, monitor, parts, size = RECIPES[recipe]
    fitted = main(["fit", *small, best(monitor)])
    block = capsys.readouterr().out.partition("\nScores of the last validation:\n")[2]
    score = float(fitted.trainer.callback_metrics[monitor])
    shown = {line.split()[0]: line.split()[1] for line in block.splitlines() if line.startswith("  val/")}
    assert shown[monitor] == f"{score:.4g}"
    assert parts in block
    assert "_d1" not in block  # Accel's scores by distance from the key frame, of which there are many
    run = Path(f"runs/{recipe}/version_0")
    checkpoint = run / "checkpoints/best.ckpt"
    assert f"\nBest checkpoint: {checkpoint} ({monitor} {score:.4g})\n" in block
    assert checkpoint.is_file()
    folder = re.search(rf"^Folder: {run} with (.*)$", block, re.M)
    assert set(folder[1].split(", ")) == {f"{path.name}{'/' * path.is_dir()}" for path in run.iterdir()}
    assert {"metrics.csv", "config.yaml"} <= set(folder[1].split(", "))

    Path("drive").mkdir()
    cv2.imwrite("drive/0.png", np.zeros((60, 90, 3), np.uint8))
    commands = [shlex.split(line) for line in block.partition("Next:\n")[2].splitlines() if line.startswith("  ")]
    assert [words[:4] for words in commands[:2]] == [
        ["python", "-m", f"recipes.{recipe}", command] for command in ("test", "predict")
    ]
    for words in commands[:2]:
        args = [word.replace("FOLDER_OR_VIDEO", "drive") for word in words[3:]]
        ran = main([*args, NO_LOGGER, "--trainer.limit_test_batches=1"])
        weights = fitted.model.state_dict()
        assert all(
            torch.equal(value, weights[name]) for name, value in ran.model.state_dict().items() if "net." in name
        )
        assert args[0] == "test" or f"--data.size={size}" in args
    tested = capsys.readouterr().out.partition("\nScores on the test data:\n")[2]
    assert f"  {monitor.replace('val', 'test')} " in tested


_OF_EACH = ("num_samples=[60,60]", "num_workers=0", "batch_size=6")
_DIGITS = [f"--data.{side}.{option}" for side in ("source", "target") for option in _OF_EACH]
_DIGITS += ["--trainer.check_val_every_n_epoch=1"]


def test_the_scores_of_each_loader_have_a_title_of_their_own(capsys):
    def block(title):
        lines = capsys.readouterr().out.partition(f"\n{title}:\n")[2]
        assert "none were logged" not in lines
        source, _, rest = lines.partition(f"{title}, target:\n")
        return [
            dict(line.split()[:2] for line in part.splitlines() if "/" in line.split()[0]) for part in (source, rest)
        ]

    fitted = domain_adaptation.main(["fit", "-c", "source_only.yaml", *_SHORT, *_DIGITS])
    path = "runs/domain_adaptation/version_0/checkpoints/last.ckpt"
    for stage, title in (("val", "Scores of the last validation"), ("test", "Scores on the test data")):
        run = fitted if stage == "val" else domain_adaptation.main(["test", *_DIGITS, NO_LOGGER, f"--ckpt_path={path}"])
        logged = run.trainer.callback_metrics
        metrics = {key: f"{float(logged[key]):.4g}" for key in logged if "recall_" not in key}  # of all classes
        source, target = block(title)
        assert source == {key: value for key, value in metrics.items() if key.startswith(f"{stage}/")}
        target = {key: value for key, value in target.items() if key.startswith(f"{stage}_")}
        assert target == {key: value for key, value in metrics.items() if key.startswith(f"{stage}_target/")}
        assert f"{stage}_target/accuracy" in target
        assert len(source) == len(target) > 1


def test_a_target_without_labels_is_said_to_have_no_scores(capsys):
    Path("camera").mkdir()
    for number in range(20):
        cv2.imwrite(f"camera/{number}.png", np.full((32, 32, 3), 10 * number, np.uint8))
    target = ["UnlabeledImagesDataModule", "--data.target.folder=camera", "--data.target.size=[32,32]"]
    options = [option for option in _DIGITS if ".target." not in option]
    options += [f"--data.target={target[0]}", *target[1:], "--data.target.batch_size=2", "--data.target.num_workers=0"]
    domain_adaptation.main(["fit", "-c", "source_only.yaml", *_SHORT, *options])
    assert "\nNo scores, target: none were logged. Data without labels have none.\n" in capsys.readouterr().out


def test_scores_under_the_keys_of_lightning_are_not_said_to_be_missing(monkeypatch):
    trainer = tiny.main(["fit", "--trainer.max_epochs=1"]).trainer
    arguments = (trainer, "fit", "python -m recipes.tiny", [], None)
    monkeypatch.setattr(trainer.datamodule, "evaluation_names", ("", "target"), raising=False)
    assert "No scores, target" in closing_block(*arguments)
    metrics = {"val/loss": torch.tensor(1.0), "val/loss/dataloader_idx_1": torch.tensor(2.0)}
    monkeypatch.setattr(type(trainer), "callback_metrics", property(lambda _: metrics))
    assert "No scores, target" not in closing_block(*arguments)


@pytest.mark.parametrize(("own", "count"), [(["choose"], 1), (["export"], 0)])
def test_a_run_with_a_tradeoff_table_suggests_to_choose_from_it(own, count):
    trainer = tiny.main(["fit", "--trainer.max_epochs=1"]).trainer
    arguments = (trainer, "fit", "python -m recipes.tiny", own, None)
    assert " choose " not in closing_block(*arguments)
    Path("runs/tiny/version_0/tradeoff.csv").touch()
    line = "\n  python -m recipes.tiny choose --run=runs/tiny/version_0 --budget_ms=15"
    assert closing_block(*arguments).count(line) == count


def test_without_a_logger_the_score_is_told_all_the_same(capsys):
    fitted = tiny.main(["fit", NO_LOGGER])
    out = capsys.readouterr().out
    assert f"  val/loss  {float(fitted.trainer.callback_metrics['val/loss']):.4g}\n" in out
    checkpoint = re.search(r"^Last checkpoint: (\S+)$", out, re.M)
    assert Path(checkpoint[1]).is_file()
    tiny.main(["validate", NO_LOGGER, f"--ckpt_path={checkpoint[1]}"])
    out = capsys.readouterr().out
    assert f"Scores on the val data:\n  val/loss  {float(fitted.trainer.callback_metrics['val/loss']):.4g}" in out
    assert f"test -c {Path(checkpoint[1]).parents[1]}/" not in out  # of the fit, not of this run
    assert f"--ckpt_path={checkpoint[1]}" in out


def test_a_fit_without_validation_says_so(capsys):
    tiny.main(["fit", NO_LOGGER, "--trainer.limit_val_batches=0"])
    assert "No validation ran, so there are no scores." in capsys.readouterr().out


def test_a_run_as_a_function_says_nothing(tmp_path, capsys):
    tiny.main(["fit"], folder=tmp_path / "run")
    assert "Scores" not in capsys.readouterr().out


def test_the_summary_counts_no_operations_that_nobody_made(capsys):
    tiny.main(["fit", NO_LOGGER, "--trainer.enable_model_summary=true"])
    out = capsys.readouterr().out
    assert "15 parameters, 15 of them trainable" in out
    assert "FLOPs" not in out
