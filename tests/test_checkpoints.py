"""Every way in which a file can fail to be a checkpoint ends in one sentence, and a whole one is read as it is."""

import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from settings import make_accel

from callbacks import WarmStart
from lightning_edge.checkpoints import LIGHTNING, RESUMABLE, last_checkpoint, read_checkpoint
from lightning_edge.methods import Accel

WHOLE = {
    "pytorch-lightning_version": "2.6.6", "epoch": 1, "global_step": 7, "loops": {}, "optimizer_states": [],
    "lr_schedulers": [], "state_dict": {"weight": torch.arange(5000.0), "mask": torch.zeros(2, dtype=torch.bool)},
}  # fmt: skip


def written(content=None, **changes) -> bytes:
    buffer = io.BytesIO()
    torch.save({**WHOLE, **changes} if content is None else content, buffer)
    return buffer.getvalue()


def with_weight(value: float, dtype=torch.float32) -> bytes:
    return written(state_dict={"net.weight": torch.tensor([1.0, value], dtype=dtype)})


def overwritten(start: float, length: int = 1000) -> bytes:
    """The file with zeros in place of some bytes."""
    content = bytearray(written())
    first = int(start * len(content))
    content[first : first + length] = bytes(length)
    return bytes(content)


def in_a_zip(compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("readme.txt", "no checkpoint " * 100)
    return buffer.getvalue()


class Hostile:
    def __reduce__(self):
        return os.system, ("touch was_run",)


GARBAGE = {
    "empty": (b"", "is empty"),
    "cut at a tenth": (written()[:2000], "damaged or truncated"),
    "cut in the last bytes": (written()[:-10], "damaged or truncated"),
    "a hole": (written()[:8000] + written()[12000:], "damaged"),
    "a hole that moves the table of parts": (written()[:1000] + written()[-1000:], "damaged"),
    "zeros in the first tensor": (overwritten(0.3), "checksum"),
    "zeros near the end": (overwritten(0.9), "damaged"),
    "zeros at the start": (overwritten(0), "not an archive that torch"),
    "garbage before": (b"garbage" + written(), "not an archive that torch"),
    "a plain zip": (in_a_zip(), "PyTorch cannot read"),
    "a compressed zip": (in_a_zip(zipfile.ZIP_DEFLATED), "is a compressed archive"),
    "a text": (b"state_dict", "not an archive that torch"),
    "a plain pickle": (pickle.dumps({"state_dict": {}}), "not an archive that torch"),
    "state_dict null": (written(state_dict=None), "with a state_dict"),
    "no state_dict": (written({"weights": 1}), "with a state_dict, got .* with .'weights'."),
    "a list": (written([1, 2]), "with a state_dict, got .* with list"),
    "a weight that is none": (written(state_dict={"net.weight": 3}), "int as weight net.weight"),
    "an object": (written(state_dict={}, more=Hostile()), "could run arbitrary code"),
    "NaN": (with_weight(float("nan")), "NaN in net.weight"),
    "NaN in half precision": (with_weight(float("nan"), torch.bfloat16), "NaN in net.weight"),
    "NaN in 8 bits": (with_weight(float("nan"), torch.float8_e4m3fn), "NaN in net.weight"),
    "NaN in a repeated value": (written(state_dict={"w": torch.tensor(torch.nan).expand(9, 9)}), "NaN in w"),
    "a huge view": (written(state_dict={"w": torch.zeros(3).as_strided((10**6, 10**6), (0, 0))}), None),
    "a huge overlap": (
        written(state_dict={"w": torch.zeros(2**17).as_strided((2**16, 2**16), (1, 1))}), "larger than the file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, said = GARBAGE[kind]
    path = tmp_path / "some.ckpt"
    path.write_bytes(content)
    if said is None:
        assert read_checkpoint(path, "ckpt_path")
        return
    with pytest.raises(ValueError, match=said) as refused:
        read_checkpoint(path, "ckpt_path")
    assert f"got {path}" in str(refused.value)
    assert "expected ckpt_path" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "weights_only" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert not Path("was_run").exists()


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.ckpt")
    (tmp_path / "zero.ckpt").symlink_to("/dev/zero")
    (tmp_path / "folder.ckpt").mkdir()
    (tmp_path / "loop.ckpt").symlink_to(tmp_path / "loop.ckpt")
    for name, said in {
        "pipe": "is not a regular file",
        "zero": "is not a regular file",
        "folder": "is a folder",
    }.items():
        with pytest.raises(ValueError, match=rf"{name}\.ckpt, which {said}"):
            read_checkpoint(tmp_path / f"{name}.ckpt", "checkpoint")
    for name in ("loop", "nothing"):
        with pytest.raises(FileNotFoundError, match=rf"expected checkpoint .* got .*{name}\.ckpt"):
            read_checkpoint(tmp_path / f"{name}.ckpt", "checkpoint")


def test_a_small_file_of_overlapping_parts_is_not_read(tmp_path):
    """Its parts declare the same bytes over and over, which would take hours to compare."""
    content = bytearray(written())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (entry,) = [entry for entry in archive.infolist() if entry.filename.endswith("data/0")]
    sizes = (5000 * 4).to_bytes(4, "little") * 2
    assert content.count(sizes, archive.start_dir) == 1
    position = content.index(sizes, archive.start_dir)
    content[position : position + 8] = (2**30).to_bytes(4, "little") * 2
    (tmp_path / "bomb.ckpt").write_bytes(content)
    assert entry.file_size == 20000
    with pytest.raises(ValueError, match="declares more bytes than it contains"):
        read_checkpoint(tmp_path / "bomb.ckpt", "ckpt_path")


@pytest.mark.parametrize("lacking", [*RESUMABLE])
def test_what_lightning_needs_is_asked_for(lacking, tmp_path):
    torch.save({key: value for key, value in WHOLE.items() if key != lacking}, tmp_path / "part.ckpt")
    with pytest.raises(ValueError, match=rf"part\.ckpt without \['{lacking}'\]"):
        read_checkpoint(tmp_path / "part.ckpt", "ckpt_path", RESUMABLE)
    torch.save({**WHOLE, lacking: None}, tmp_path / "part.ckpt")
    with pytest.raises(ValueError, match=rf"part\.ckpt without \['{lacking}'\]"):
        read_checkpoint(tmp_path / "part.ckpt", "ckpt_path", RESUMABLE)


def test_a_whole_checkpoint_is_read_as_it_is(tmp_path):
    torch.save({**WHOLE, "state_dict": {**WHOLE["state_dict"], "net._extra_state": "7"}}, tmp_path / "whole.ckpt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        content = read_checkpoint(str(tmp_path / "whole.ckpt"), "ckpt_path", RESUMABLE)
    torch.testing.assert_close(content["state_dict"]["weight"], torch.arange(5000.0), rtol=0, atol=0)
    assert content["global_step"] == 7
    assert read_checkpoint(tmp_path / "whole.ckpt", "ckpt_path", LIGHTNING).keys() == content.keys()


def test_infinite_values_are_named_and_may_be_a_mask(tmp_path):
    (tmp_path / "masked.ckpt").write_bytes(with_weight(float("-inf")))
    with pytest.warns(UserWarning, match=r"masked\.ckpt has infinite values in net\.weight"):
        read_checkpoint(tmp_path / "masked.ckpt", "ckpt_path")


def test_methods_and_warm_start_look_before_they_load(tmp_path):
    method = make_accel(19)
    path = tmp_path / "earlier.ckpt"
    torch.save({**WHOLE, "state_dict": method.state_dict(), "hyper_parameters": {}}, path)
    assert Accel.load_from_checkpoint(path, net=method.net)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :][:1000] = b""
    content[len(content) // 2 : len(content) // 2 + 1000] = bytes(1000)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"expected checkpoint_path .*earlier\.ckpt, which is damaged"):
        Accel.load_from_checkpoint(path, net=method.net)
    with pytest.raises(ValueError, match=r"expected checkpoint .*earlier\.ckpt, which is damaged"):
        WarmStart(path).setup(Trainer(accelerator="cpu", logger=False), method, "fit")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.ckpt, which does not exist"):
        Accel.load_from_checkpoint(tmp_path / "nowhere.ckpt")


def test_the_newest_checkpoint_of_a_name_is_the_last_one(tmp_path):
    def write(name, time, content=None):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(written() if content is None else content)
        os.utime(path, (time, time))
        return path

    assert last_checkpoint(tmp_path, "best") is None
    old, best = write("a/best.ckpt", 1), write("b/best.ckpt", 2)
    last, other = write("b/last.ckpt", 3), write("b/best-v1.ckpt", 4)
    assert last_checkpoint(tmp_path) == other
    assert last_checkpoint(tmp_path, "best") == best
    assert last_checkpoint(tmp_path, "last") == last
    assert last_checkpoint(tmp_path, "est") is None
    write("b/best.ckpt", 5, with_weight(float("nan")))
    with pytest.warns(UserWarning, match=r"best\.ckpt with NaN .* Skipping this checkpoint"):
        assert last_checkpoint(tmp_path, "best") == old
