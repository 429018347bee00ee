"""Checkpoints that come from anywhere, loaded in Python: what their hyper-parameters may name."""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_edge.methods import Classification
from lightning_edge.model_description import check_description
from lightning_edge.nn import TimmClassifier

SGD = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}
NET = {"class_path": "lightning_edge.nn.TimmClassifier", "init_args": {"model": "shiftresnet20", "num_classes": 3}}


@pytest.fixture(autouse=True)
def _stranger(tmp_path, monkeypatch):
    """A folder with modules and configurations that nobody should read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "stranger.py").write_text(
        "from pathlib import Path\nfrom torch import nn\nPath('ran').touch()\ndef make(*args): ...\n"
        "class Net(nn.Identity):\n    num_classes = 3\n"
    )
    Path("net.txt").write_text('{"class_path": "stranger.Net"}')
    yield
    sys.modules.pop("stranger", None)


def write_checkpoint(**described):
    """A checkpoint as the command line leaves it."""
    torch.manual_seed(0)
    method = Classification(TimmClassifier("shiftresnet20", 3), partial(torch.optim.SGD, lr=0.1))
    record = {
        "_instantiator": "lightning.pytorch.cli.instantiate_module",
        "_class_path": "lightning_edge.methods.Classification",
        "net": NET,
        "optimizer": SGD,
    }
    content = {
        "state_dict": method.state_dict(),
        "pytorch-lightning_version": "2.6.6",
        "hyper_parameters": record | described,
    }
    torch.save(content, "some.ckpt")
    return method


def test_a_checkpoint_of_the_command_line_loads_alone():
    method = write_checkpoint()
    for source in ("some.ckpt", Path("some.ckpt"), Path("some.ckpt").resolve().as_uri()):
        loaded = Classification.load_from_checkpoint(source)
        assert torch.equal(loaded.net.net.fc.weight, method.net.net.fc.weight)
    with Path("some.ckpt").open("rb") as file:
        assert isinstance(Classification.load_from_checkpoint(file).net, TimmClassifier)


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ({"net": {"class_path": "stranger.Net"}}, "the class stranger.Net, which is not from lightning_edge"),
        ({"_class_path": "stranger.Net"}, "the class stranger.Net, which is not from"),
        ({"net": "stranger.Net"}, "net=stranger.Net, which is not from"),
        ({"net": '{"class_path": "stranger.Net"}'}, "the class stranger.Net, which is not from"),
        ({"net": "class_path: stranger.Net\n"}, "the class stranger.Net, which is not from"),
        ({"net": "net.txt"}, "the class stranger.Net, which is not from"),
        ({"optimizer": "stranger.make"}, "optimizer=stranger.make, which is not from"),
        ({"optimizer": "os.system"}, "optimizer=os.system, which is not from"),
        ({"optimizer": "torch.hub.load"}, "optimizer=torch.hub.load, which is not from"),
        (
            {"optimizer": {"class_path": "torch.optim.optimizer.functools.partial"}},
            "class torch.optim.optimizer.functools.partial, which is not",
        ),
        ({"net": {**NET, "init_args": {**NET["init_args"], "model_options": {"pretrained": True}}}}, "pretrained=True"),
        ({"net": {"class_path": "timm.create_model", "init_args": {"model_name": "hf-hub:a/b"}}}, "downloads weights"),
        ({"net": {"class_path": "timm.create_model", "init_args": '{"checkpoint_path": "a"}'}}, "downloads weights"),
        ({"net": {**NET, "init_args": {"weights": "https://127.0.0.1:9/a.pth"}}}, "downloads weights, by weights="),
        ({"schedule": [[{"class_path": "stranger.Net"}]]}, "the class stranger.Net"),
    ],
)
@pytest.mark.parametrize("as_uri", [False, True])
def test_nothing_of_strangers_is_imported_or_fetched(described, said, as_uri):
    write_checkpoint(**described)
    with pytest.raises(ValueError, match=r"some\.ckpt describes a model .*" + said):
        Classification.load_from_checkpoint(Path("some.ckpt").resolve().as_uri() if as_uri else "some.ckpt")
    assert not Path("ran").exists()
    assert "stranger" not in sys.modules


def test_who_loads_may_trust_a_module():
    write_checkpoint(net={"class_path": "stranger.Net"})
    with pytest.raises(RuntimeError, match="Unexpected key"):  # that of another net
        Classification.load_from_checkpoint("some.ckpt", trusted_modules=["stranger"])
    assert Path("ran").exists()


def test_what_the_caller_gives_in_its_place_is_not_looked_at():
    method = write_checkpoint(net={"class_path": "stranger.Net"})
    loaded = Classification.load_from_checkpoint("some.ckpt", net=TimmClassifier("shiftresnet20", 3))
    assert torch.equal(loaded.net.net.fc.weight, method.net.net.fc.weight)
    assert not Path("ran").exists()


class Mine(Classification):
    """A method of the caller's own module."""


def test_the_callers_own_class_is_trusted():
    write_checkpoint(_class_path=f"{__name__}.Mine")
    assert isinstance(Mine.load_from_checkpoint("some.ckpt"), Mine)


@pytest.mark.parametrize(
    "address",
    [
        "hf-hub:a/b",
        "HF-HUB:a/b",
        "Hf_Hub:a/b",
        "LOCAL-DIR:a",
        " hf-hub:a/b",
        "\thf-\nhub:a/b",
        "HTTPS://a.b",
        "git+ssh://a",
    ],
)
def test_no_spelling_of_an_address_is_fetched(address):
    described = {"net": {"class_path": "timm.create_model", "init_args": {"model_name": address}}}
    with pytest.raises(ValueError, match=r"^some\.ckpt describes a model that downloads weights, by model_name="):
        check_description(described, "some.ckpt")


@pytest.mark.parametrize(
    "text", ["resnet18.tv_in1k", "val/miou", "weights.pth", "[3, 4]", "{", "a: b: c", "best.ckpt", "street.sky", ""]
)
def test_plain_strings_are_plain(text):
    check_description({"net": {"class_path": "timm.create_model", "init_args": {"model_name": text}}}, "some.ckpt")


def test_functions_that_torch_defines_in_c_are_torchs():
    check_description({"act": {"class_path": "torch.nn.functional.gelu"}}, "some.ckpt")
    assert nn.functional.gelu.__module__.startswith("torch._C")


def test_a_description_may_hold_itself_or_nest_deeply():
    endless = {"class_names": ["a"]}
    endless["again"] = [endless]
    for _ in range(5000):
        endless = {"deeper": endless}
    check_description(endless, "some.ckpt")
