"""A training that resumes from a checkpoint written just before a validation, with settings of its own."""

import csv
import warnings
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader
from toys import PlainBranch, ToyImages, make_trainer

from lightning_edge.methods import Segmentation
from lightning_edge.methods.resuming import VALIDATION_KEY

END_OF_EPOCH = 1
"""The last of the two batches of an epoch."""
LOST = "This checkpoint was written after the last step"
"""Start of the warning of a validation that cannot follow."""


class Progress(Callback):
    """Epoch and number of each batch of a training, and of each batch of its validations."""

    def __init__(self):
        self.batches, self.validations = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches.append((trainer.current_epoch, batch_idx))

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        if not trainer.sanity_checking:
            self.validations.append((trainer.current_epoch, batch_idx))


class EveryBatch(Callback):
    """Writes a checkpoint after every batch, after having stopped the training at one of them."""

    def __init__(self, folder, last=None):
        self.folder, self.last = folder, last

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        position = (trainer.current_epoch, batch_idx)
        trainer.should_stop = position == self.last
        trainer.save_checkpoint(checkpoint_at(self.folder, position))


class FourBatches(ToyImages):
    def train_dataloader(self):
        return DataLoader(super().train_dataloader().dataset, batch_size=1)


def both_batches(*epochs):
    return [(epoch, batch) for epoch in epochs for batch in range(2)]


def checkpoint_at(folder, position):
    return folder / "epoch={}-batch={}.ckpt".format(*position)


def train(folder, *callbacks, checkpoint=None, data=None, **arguments):
    """The method after a training of at most three epochs, and the progress of the training."""
    method, progress = Segmentation(PlainBranch(4)), Progress()
    trainer = make_trainer(folder, **({"max_epochs": 3} | arguments), callbacks=[progress, *callbacks])
    trainer.fit(method, data or ToyImages(), ckpt_path=checkpoint)
    return method, progress


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder with the checkpoints of an uninterrupted training that validates after each epoch, and its weights."""
    folder = tmp_path_factory.mktemp("whole")
    method, progress = train(folder, EveryBatch(folder))
    assert progress.batches == progress.validations == both_batches(0, 1, 2)
    return folder, method.state_dict()


@pytest.mark.parametrize(
    ("epoch", "arguments", "validations"),
    [
        (0, {}, [0, 1, 2]),
        (1, {}, [1, 2]),
        (0, {"limit_val_batches": 0}, []),
        (0, {"check_val_every_n_epoch": 2}, [1]),
        (1, {"check_val_every_n_epoch": 2}, [1]),
        (0, {"check_val_every_n_epoch": None, "val_check_interval": 3}, [1, 2]),
        (0, {"check_val_every_n_epoch": None, "val_check_interval": 4}, [1]),
    ],
    ids=str,
)
def test_a_training_validates_first_only_if_its_own_settings_say_so(epoch, arguments, validations, whole, tmp_path):
    """Whether it validates there or not, it trains on the batches that are left, and on no other."""
    folder, weights = whole
    checkpoint = checkpoint_at(folder, (epoch, END_OF_EPOCH))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", LOST)
        method, progress = train(tmp_path, checkpoint=checkpoint, **arguments)
    assert progress.batches == both_batches(*range(epoch + 1, 3))
    assert progress.validations == both_batches(*validations)
    torch.testing.assert_close(method.state_dict(), weights, rtol=0, atol=0)


def test_a_training_that_counts_batches_in_another_way(tmp_path):
    """Six batches of all epochs end an interval of two batches. The three batches of an epoch do not."""
    arguments = {"data": FourBatches(), "limit_train_batches": 3, "val_check_interval": 2}
    train(tmp_path, EveryBatch(tmp_path), **arguments, check_val_every_n_epoch=None)
    _, progress = train(tmp_path, checkpoint=checkpoint_at(tmp_path, (1, 2)), **arguments)
    assert progress.batches == [(2, batch) for batch in range(3)]


def test_an_interval_of_one_batch_is_not_one_of_an_epoch(tmp_path):
    """If it were, the steps in the log would be one too low."""
    train(tmp_path, EveryBatch(tmp_path), val_check_interval=1)
    logger = CSVLogger(tmp_path)
    checkpoint = checkpoint_at(tmp_path, (0, 0))
    train(tmp_path, checkpoint=checkpoint, val_check_interval=1.0, logger=logger, log_every_n_steps=1)
    with Path(logger.experiment.metrics_file_path).open(encoding="utf-8") as file:
        assert {int(row["step"]) for row in csv.DictReader(file)} == set(range(1, 6))


def test_only_a_training_warns_of_a_lost_validation(whole, tmp_path):
    checkpoint = checkpoint_at(whole[0], (0, END_OF_EPOCH))
    with pytest.warns(UserWarning, match=LOST):
        train(tmp_path, checkpoint=checkpoint, max_epochs=None, max_steps=2)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", LOST)
        trainer = make_trainer(tmp_path, max_epochs=None, max_steps=2)
        trainer.validate(Segmentation(PlainBranch(4)), ToyImages(), ckpt_path=checkpoint, verbose=False)


@pytest.mark.parametrize(
    ("last", "arguments"),
    [((0, 0), {}), (None, {"val_check_interval": timedelta(0)})],
    ids=["stop", "time"],
)
def test_a_validation_because_of_a_stop_or_the_time_is_not_repeated(last, arguments, tmp_path):
    _, progress = train(tmp_path, EveryBatch(tmp_path, last), max_epochs=1, **arguments)
    assert progress.validations[0] == (0, 0)
    checkpoint = torch.load(checkpoint_at(tmp_path, (0, 0)), weights_only=True)
    assert VALIDATION_KEY not in checkpoint
