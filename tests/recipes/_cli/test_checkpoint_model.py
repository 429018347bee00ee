"""Commands on a finished training take its model from the checkpoint."""

from pathlib import Path

import pytest
import torch
from outside import tiny

from recipes import shift

NO_LOGGER = "--trainer.logger=false"
CHECKPOINT = Path("runs/tiny/version_0/checkpoints/last.ckpt")
GIVEN = f"--ckpt_path={CHECKPOINT}"


@pytest.fixture
def _fitted():
    tiny.main(["fit", "--trainer.max_epochs=1", "--model.scale=3", *_NET])


_NET = ("--model.net=outside.parts.OtherNet", "--model.net.width=2")


@pytest.mark.usefixtures("_fitted")
def test_every_command_but_fit_takes_the_model_of_its_checkpoint():
    tested = tiny.main(["test", NO_LOGGER, GIVEN])
    assert tested.metrics["test/scale"] == 3
    assert tested.model.net.hidden.out_features == 2
    assert tiny.main(["predict", NO_LOGGER, "--ckpt_path", str(CHECKPOINT)]).model.scale == 3
    with pytest.raises(ValueError, match="got those of another"):
        tiny.main(["fit", NO_LOGGER, GIVEN])


@pytest.mark.usefixtures("_fitted")
def test_the_command_line_still_changes_it():
    changed = tiny.main(["test", NO_LOGGER, GIVEN, "--model.scale=5"])
    assert changed.metrics["test/scale"] == 5
    assert changed.model.net.hidden.out_features == 2
    Path("scale.yaml").write_text("model: {init_args: {scale: 7}}")
    assert tiny.main(["test", NO_LOGGER, "-c", "scale.yaml", GIVEN]).metrics["test/scale"] == 7


def edited(change):
    content = torch.load(CHECKPOINT, weights_only=True)
    change(content["hyper_parameters"])
    torch.save(content, "edited.ckpt")
    return "--ckpt_path=edited.ckpt"


@pytest.mark.usefixtures("_fitted")
def test_a_checkpoint_without_a_model_leaves_it_to_the_configuration():
    given = edited(dict.clear)
    assert tiny.main(["test", NO_LOGGER, given, *_NET]).metrics["test/scale"] == 1


def name_a_stranger(model):
    model["net"]["class_path"] = "stranger.Net"


def name_a_function(model):
    model["net"]["class_path"] = "torch.hub.load"


def fetch(model):
    model["net"] = {"class_path": "timm.create_model", "init_args": {"model_name": "resnet18", "pretrained": True}}


def fetch_by_name(model):
    model["net"] = {"class_path": "timm.create_model", "init_args": {"model_name": "hf-hub:someone/something"}}


def fetch_by_overlay(model):
    overlay = {"url": "http://127.0.0.1:9/x.pth"}
    model["net"] = {"class_path": "timm.create_model", "init_args": {"pretrained_cfg_overlay": overlay}}


@pytest.mark.usefixtures("_fitted")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (name_a_stranger, "the class stranger.Net, which is not from"),
        (name_a_function, "the class torch.hub.load, which is not from"),
        (fetch, "downloads weights, by pretrained=True"),
        (fetch_by_name, "downloads weights, by model_name="),
        (fetch_by_overlay, "downloads weights, by pretrained_cfg_overlay="),
    ],
)
def test_a_checkpoint_can_neither_import_strangers_nor_fetch(change, said, monkeypatch):
    Path("stranger.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    monkeypatch.syspath_prepend(Path.cwd())
    given = edited(change)
    with pytest.raises(ValueError, match=said):
        tiny.main(["test", NO_LOGGER, given])
    assert not Path("ran").exists()


def test_a_command_without_a_checkpoint_says_that_the_weights_are_untrained():
    for command, doing in (("validate", "validating"), ("test", "testing"), ("predict", "predicting")):
        with pytest.warns(UserWarning, match=f"No --ckpt_path given: {doing} with untrained weights."):
            tiny.main([command, NO_LOGGER])


def test_a_net_of_other_arguments_than_the_recipes_is_built_again(tmp_path):
    small = ["--data.num_samples=[20,10]", "--data.batch_size=4", "--data.num_workers=0", "--trainer.callbacks=null"]
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    other = ["--model.net.model=ode_resnet4", "--model.net.model_options={}"]
    fitted = shift.main(["fit", *small, *short, *other])
    checkpoint = next(Path("runs/shift").rglob("*.ckpt"))
    tested = shift.main(["test", *small, "--trainer.limit_test_batches=1", NO_LOGGER, f"--ckpt_path={checkpoint}"])
    weights = fitted.model.state_dict()
    assert weights.keys() == tested.model.state_dict().keys()
    assert all(torch.equal(value, weights[name]) for name, value in tested.model.net.state_dict(prefix="net.").items())
