import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from settings import make_accel, make_cityscapes_video
from torch import nn

from callbacks import WarmStart


@pytest.fixture
def earlier(tmp_path):
    """A method and its checkpoint."""
    torch.manual_seed(1)
    method = make_accel(19)
    torch.save({"state_dict": method.state_dict()}, tmp_path / "earlier.ckpt")
    return method, tmp_path / "earlier.ckpt"


def fit(method, callback, **arguments):
    trainer = Trainer(
        accelerator="cpu", max_steps=1, limit_val_batches=0, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[callback],
    )  # fmt: skip
    trainer.fit(method, make_cityscapes_video(), **arguments)


class _Begin(WarmStart):
    """Keeps the weights that the training begins with."""

    def on_train_start(self, trainer, pl_module):
        self.weights = {name: value.clone() for name, value in pl_module.state_dict().items()}
        self.step = trainer.global_step


def test_a_training_begins_at_step_0_with_the_weights_of_the_checkpoint(earlier, caplog):
    caplog.set_level("INFO")
    method, path = earlier
    begin = _Begin(path)
    fit(make_accel(19), begin)
    assert begin.step == 0
    assert all(torch.equal(value, begin.weights[name]) for name, value in method.state_dict().items())
    assert f"Loaded {len(begin.weights)} tensors from {path}." in caplog.text


def test_parts_that_exclude_may_have_other_shapes(earlier):
    method, path = earlier
    other = make_accel(19)
    other.net.fusion = nn.Conv2d(3, 19, 1)
    own = other.net.fusion.weight.clone()
    other.configure_optimizers = lambda: None
    other.training_step = lambda batch, batch_idx: None
    begin = _Begin(path, exclude=["net.fusion"])
    fit(other, begin)
    torch.testing.assert_close(begin.weights.pop("net.fusion.weight"), own, rtol=0, atol=0)
    begin.weights.pop("net.fusion.bias")
    assert all(torch.equal(value, method.state_dict()[name]) for name, value in begin.weights.items())


def test_a_resumed_training_goes_on_where_it_was(earlier, tmp_path):
    torch.manual_seed(2)
    resumed = make_accel(19)
    trainer = Trainer(accelerator="cpu", max_steps=0, logger=False, enable_progress_bar=False)
    trainer.fit(resumed, make_cityscapes_video())
    trainer.save_checkpoint(tmp_path / "resumed.ckpt")
    begin = _Begin(earlier[1])
    fit(make_accel(19), begin, ckpt_path=tmp_path / "resumed.ckpt")
    assert all(torch.equal(value, begin.weights[name]) for name, value in resumed.state_dict().items())


def test_a_checkpoint_that_lacks_weights_is_refused(earlier):
    _, path = earlier
    other = make_accel(19)
    other.net.fusion = nn.Conv2d(3, 19, 1)
    with pytest.raises(
        ValueError, match=r"net.fusion.weight is \[19, 38, 1, 1\] there and \[19, 3, 1, 1\] in the module"
    ):
        fit(other, WarmStart(path))
    other.more = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"more.weight is missing there, and 1 more differ"):
        fit(other, WarmStart(path, exclude=["net.fusion"]))


def test_a_part_that_is_none_is_refused(earlier):
    with pytest.raises(ValueError, match=r"exclude to name parts of Accel, such as \['net'\], got 'net\.fusio'"):
        fit(make_accel(19), WarmStart(earlier[1], exclude=["net.fusio"]))


def test_a_module_without_weights_is_refused(earlier):
    """As one whose layers are made in ``setup``, of which callbacks hear first: it would begin at random."""
    with pytest.raises(ValueError, match="expected LightningModule to have weights to load, got none"):
        WarmStart(earlier[1]).setup(Trainer(accelerator="cpu", logger=False), LightningModule(), "fit")


def test_a_file_that_is_no_checkpoint_is_refused(earlier, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected checkpoint to be a file, got nowhere\.ckpt"):
        WarmStart("nowhere.ckpt")
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(earlier[1].read_bytes()[:5000])
    with pytest.raises(
        ValueError, match=r"expected checkpoint to be a checkpoint, got .*cut\.ckpt, which is damaged or truncated"
    ):
        fit(make_accel(19), WarmStart(cut))
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"checkpoint with a state_dict, got .*other\.pt with \['weights'\]"):
        fit(make_accel(19), WarmStart(tmp_path / "other.pt"))
