"""A method and a data module written outside the library, through the public checks and the command line."""

import re
from pathlib import Path

import pytest

from lightning_edge.nn import DeepLab
from lightning_edge.testing import DATA_CHECKS, METHOD_CHECKS
from recipes import segmentation

FOLDER = Path(__file__).parent / "plug_in"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


def make_method():
    from soft_segmentation import SoftSegmentation

    return SoftSegmentation(DeepLab("resnet10t", num_classes=2, hidden_channels=8))


def make_data():
    from squares import SquaresDataModule

    return SquaresDataModule(batch_size=4, num_workers=0)


@pytest.mark.parametrize("name", ["soft_segmentation.py", "squares.py"])
def test_takes_less_than_forty_lines(name):
    assert len((FOLDER / name).read_text().splitlines()) < 40


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
def test_method(check):
    check(make_method, make_data)


@pytest.mark.parametrize("check", DATA_CHECKS, ids=lambda check: check.__name__)
def test_data(check):
    check(make_data)


def test_configuration_of_the_guide_runs(tmp_path, monkeypatch):
    """With a checkpoint by the loss that the method logs, in place of the recipe's by a score that it lacks."""
    monkeypatch.chdir(tmp_path)
    guide = (Path(__file__).parents[1] / "docs/guide/own_method.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```", guide, re.M | re.S)
    Path("soft.yaml").write_text(block.replace("my_package", "soft_segmentation"))
    sizes = ["--data.sample_size=[64,128]", "--data.num_samples=[2,1]"]
    brief = ["--data.batch_size=1", "--data.num_workers=0", "--trainer.check_val_every_n_epoch=1"]
    segmentation.main(["fit", "-c", "soft.yaml", *sizes, *brief, "--trainer.max_epochs=1"])
    assert list(Path("runs").rglob("best.ckpt"))


def test_command_line_runs_both(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [
        "--model=soft_segmentation.SoftSegmentation",
        "--model.smoothing=0.2",
        "--data=squares.SquaresDataModule",
        "--data.batch_size=4",
        "--data.num_workers=0",
        "--trainer.max_epochs=1",
        "--trainer.check_val_every_n_epoch=1",
        "--trainer.logger=false",
        "--trainer.callbacks=null",
    ]
    cli = segmentation.main(["fit", *arguments])
    assert type(cli.model).__name__ == "SoftSegmentation"
    assert cli.model.net.num_classes == 2
    assert cli.metrics["val/loss"] > 0
