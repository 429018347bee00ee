"""Files of weights that are damaged, or another net's: one error that names the file, and no code of it runs."""

import argparse
import pickle
import warnings
import zipfile

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models.optical_flow import raft_small

from lightning_edge.nn import CenterDetector, DeepLab, RAFTFlow, TimmBackbone, TimmClassifier
from lightning_edge.nn.encoders.frozen_encoder import TimmEncoder
from lightning_edge.nn.encoders.weight_files import read_weights

NAME = "resnet10_quarter"
LOADERS = {
    "DeepLab": lambda path: DeepLab(NAME, 5, weights=path).encoder,
    "CenterDetector": lambda path: CenterDetector(NAME, 5, weights=path).encoder,
    "TimmBackbone": lambda path: TimmBackbone(NAME, (16,), weights=path).encoder,
    "TimmClassifier": lambda path: TimmClassifier(NAME, 5, weights=path).net,
    "TimmEncoder": lambda path: TimmEncoder(NAME, path).net,
    "RAFTFlow": RAFTFlow,
}


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return timm.create_model(NAME).state_dict()


@pytest.fixture(scope="module")
def of_another_net():
    return timm.create_model("resnet18_half", num_classes=0).state_dict()


def zeroed(content):
    """The file with a hole in the middle of its tensors, as a disk that was not synchronized leaves it."""
    middle = len(content) // 2
    return content[:middle] + bytes(1000) + content[middle + 1000 :]


def compressed(path):
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def write_damaged(kind, path, state):
    torch.save(state, path)
    content = path.read_bytes()
    if kind == "compressed":
        compressed(path)
    elif kind == "code":
        path.write_bytes(pickle.dumps(Evil(str(path.with_suffix(".ran"))), protocol=2))
    elif kind == "code in an archive":
        torch.save({"state_dict": state, "other": Evil(str(path.with_suffix(".ran")))}, path)
    elif kind in BYTES:
        path.write_bytes(BYTES[kind](content))
    else:
        torch.save(OBJECTS[kind](state), path)


BYTES = {
    "empty": lambda content: b"",
    "junk": lambda content: b"\x80\x02not weights" * 99,
    "text": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n",
    "truncated": lambda content: content[: len(content) // 2],
    "lacks its end": lambda content: content[:-10],
    "hole": zeroed,
}
OBJECTS = {
    "a list": lambda state: list(state.values()),
    "a tensor": lambda state: torch.zeros(3),
    "no tensors": lambda state: {},
    "an entry that is none": lambda state: {**state, "epoch": 3},
    "numbers as names": lambda state: dict(enumerate(state.values())),
    "a view of more than there is": lambda state: {**state, "bn1.bias": torch.zeros(1).expand(10**12)},
    "without values": lambda state: {**state, "bn1.bias": torch.zeros(3, device="meta")},
    "sparse": lambda state: {**state, "bn1.bias": torch.eye(3).to_sparse()},
    "state_dict of none": lambda state: {"state_dict": None},
    "NaN": lambda state: {**state, "conv1.weight": torch.full_like(state["conv1.weight"], torch.nan)},
    "infinity": lambda state: {**state, "bn1.running_var": torch.full_like(state["bn1.running_var"], torch.inf)},
}


@pytest.mark.parametrize("kind", ["compressed", "code", "code in an archive", *BYTES, *OBJECTS])
def test_a_damaged_file_is_named_and_never_trusted(kind, state, tmp_path):
    path = tmp_path / "damaged.pth"
    write_damaged(kind, path, state)
    with pytest.raises(
        ValueError, match=r"^expected weights to be a file of encoder weights, .*damaged\.pth: its? "
    ) as error:
        read_weights(str(path), "encoder weights")
    assert "weights_only" not in str(error.value)
    # the reader's own message advises to trust the file
    assert error.value.__context__ is None or error.value.__suppress_context__
    assert len(str(error.value)) < 400
    assert not path.with_suffix(".ran").exists()


@pytest.mark.parametrize(
    ("make", "reason"),
    [(lambda path: None, "there is no such file"), (lambda path: path.mkdir(), "it is a folder")],
)
def test_what_is_no_file_is_named(make, reason, tmp_path):
    make(tmp_path / "weights.pth")
    for load in LOADERS.values():
        with pytest.raises(FileNotFoundError, match=rf"^expected weights to be a file of .*weights\.pth: {reason}$"):
            load(str(tmp_path / "weights.pth"))


@pytest.mark.parametrize("loader", LOADERS)
def test_every_net_reads_its_weights_so(loader, state, of_another_net, tmp_path):
    path = tmp_path / "weights.pth"
    write_damaged("hole", path, state)
    with pytest.raises(ValueError, match=r"expected weights to be a file of .*weights\.pth: it is damaged"):
        LOADERS[loader](str(path))
    torch.save(of_another_net, path)
    with pytest.raises(
        ValueError, match=r"expected weights with exactly the parameters of \w+, .*weights\.pth: "
    ) as error:
        LOADERS[loader](str(path))
    assert len(str(error.value)) < 600


def widened(state):
    return {**state, "layer1.0.conv1.weight": state["layer1.0.conv1.weight"].repeat(2, 1, 1, 1)}


OTHERS = {
    "one too many": (lambda state: {**state, "layer4.1.conv1.weight": torch.zeros(3)}, "Unexpected.*layer4.1.conv1"),
    "one too few": (
        lambda state: {k: v for k, v in state.items() if k != "layer4.0.bn2.bias"},
        "Missing.*layer4.0.bn2",
    ),
    "no statistics": (lambda state: {k: v for k, v in state.items() if "running" not in k}, "Missing.*running_mean"),
    "a last layer without rows": (lambda state: {**state, "fc.weight": torch.tensor(3.0)}, "fc"),
    "another shape": (widened, "size mismatch for layer1.0.conv1.weight"),
    "names of a larger net": (lambda state: {f"net.encoder.{k}": v for k, v in state.items()}, "Missing"),
}


@pytest.mark.parametrize("loader", ["DeepLab", "TimmClassifier", "TimmEncoder"])
@pytest.mark.parametrize("kind", OTHERS)
def test_weights_of_another_net_are_refused(kind, loader, state, tmp_path):
    change, reason = OTHERS[kind]
    torch.save(change(state), tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=rf"expected weights with exactly the parameters of {NAME}, .*other.pth.*{reason}"
    ):
        LOADERS[loader](str(tmp_path / "other.pth"))


FORMS = {
    "whole net": lambda state, path: torch.save(state, path),
    "checkpoint of timm's training": lambda state, path: torch.save(
        {"epoch": 3, "state_dict": state, "args": argparse.Namespace(lr=1)}, path
    ),
    "distributed": lambda state, path: torch.save({f"module.{key}": value for key, value in state.items()}, path),
    "without a last layer": lambda state, path: torch.save(
        {key: value for key, value in state.items() if not key.startswith("fc.")}, path
    ),
    "another last layer": lambda state, path: torch.save(
        {**state, "fc.weight": torch.zeros(7, 128), "fc.bias": torch.zeros(7)}, path
    ),
    "old format": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
}


@pytest.mark.parametrize("loader", ["DeepLab", "TimmClassifier", "TimmEncoder"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_right_weights_is_loaded(form, loader, state, tmp_path):
    FORMS[form](state, tmp_path / "weights.pth")
    actual = LOADERS[loader](str(tmp_path / "weights.pth")).state_dict()
    body = {key: value for key, value in actual.items() if not key.startswith("fc.")}
    assert len(body) > 40
    assert all(torch.equal(value, state[key]) for key, value in body.items())


def test_safetensors_are_read(state, tmp_path):
    save_file(state, tmp_path / "weights.safetensors")
    actual = read_weights(str(tmp_path / "weights.safetensors"), "encoder weights")
    assert all(torch.equal(value, actual[key]) for key, value in state.items())
    (tmp_path / "weights.safetensors").write_bytes((tmp_path / "weights.safetensors").read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"weights\.safetensors: it is damaged"):
        read_weights(str(tmp_path / "weights.safetensors"), "encoder weights")


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "test_convnext"])
def test_features_that_timm_names_otherwise_are_loaded(name, tmp_path):
    """Of nets whose features have other names, or lack what is before the last layer."""
    whole = timm.create_model(name, num_classes=3)
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    encoder = TimmBackbone(name, (16,), weights=str(tmp_path / "whole.pth")).encoder
    flat = {key.replace(".", "_"): value for key, value in whole.state_dict().items()}
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, flat[key.removeprefix("model.").replace(".", "_")]), key
    torch.save(encoder.state_dict(), tmp_path / "features.pth")
    again = TimmBackbone(name, (16,), weights=str(tmp_path / "features.pth")).encoder
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in encoder.state_dict().items())


def test_raft_loads_what_it_saved(tmp_path):
    torch.save({f"module.{key}": value for key, value in raft_small().state_dict().items()}, tmp_path / "raft.pth")
    RAFTFlow(str(tmp_path / "raft.pth"))
    with pytest.raises(ValueError, match=r"expected weights with exactly the parameters of raft_large, .*raft\.pth"):
        RAFTFlow(str(tmp_path / "raft.pth"), large=True)


def test_no_warning_tells_of_what_was_not_loaded(state, tmp_path):
    torch.save(state, tmp_path / "weights.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LOADERS["DeepLab"](str(tmp_path / "weights.pth"))
