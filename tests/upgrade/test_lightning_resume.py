"""Fails if an upgrade of Lightning changes a private interface that methods use for hyper-parameters and resuming."""

import inspect
from contextvars import ContextVar

import lightning
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.core.mixins import hparams_mixin
from lightning.pytorch.utilities import parsing

CHANGED = f"Lightning {lightning.__version__} has changed ({{}}): adapt lightning_edge/methods/lightning_internals.py"

try:
    from toys import PlainBranch, ToyImages, make_trainer

    from lightning_edge.methods import Segmentation, lightning_internals
    from lightning_edge.model_description import INSTANTIATOR_KEY
except ImportError as error:
    raise ImportError(CHANGED.format(error)) from error


def test_the_record_of_the_command_line():
    record = getattr(hparams_mixin, "_given_hyperparameters", None)
    changed = CHANGED.format("how the command line hands hyper-parameters to a module (_given_hyperparameters)")
    assert isinstance(record, ContextVar), changed
    assert record.get() is None, changed
    records = []

    class Remembers(Segmentation):
        def __init__(self, net: PlainBranch) -> None:
            records.append(lightning_internals.command_line_record())
            super().__init__(net)

    args = [f"--model.net={PlainBranch.__module__}.PlainBranch", "--model.net.channels=4", "--trainer.logger=false"]
    LightningCLI(Remembers, ToyImages, run=False, save_config_callback=None, args=args, auto_configure_optimizers=False)
    assert records[0] is not None, changed
    assert INSTANTIATOR_KEY in records[0], changed


def test_hyper_parameters_are_given_by_name():
    arguments = inspect.signature(parsing.save_hyperparameters).parameters
    assert "given_hparams" in arguments, CHANGED.format("save_hyperparameters of utilities.parsing")
    method = Segmentation(PlainBranch(4))
    for name in ("_trainer", "_log_hyperparams"):
        assert hasattr(method, name), CHANGED.format(f"the attribute {name} of LightningModule")
    assert method._log_hyperparams is True


class Counts(Callback):
    """The numbers of batches that methods see at the end of each batch."""

    def __init__(self) -> None:
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append((lightning_internals.num_batches_of_epoch(trainer), lightning_internals.num_batches(trainer)))


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """A finished training of two epochs, what was counted in it, and its checkpoint."""
    folder = tmp_path_factory.mktemp("training")
    counts = Counts()
    trainer = make_trainer(folder, max_epochs=2, callbacks=[counts])
    trainer.fit(Segmentation(PlainBranch(4)), ToyImages())
    trainer.save_checkpoint(folder / "end.ckpt")
    return trainer, counts.seen, torch.load(folder / "end.ckpt", weights_only=True)


def test_batches_are_counted_in_the_epoch_and_in_all(training):
    trainer, seen, _ = training
    num_batches = trainer.num_training_batches
    expected = [(batch + 1, epoch * num_batches + batch) for epoch in range(2) for batch in range(num_batches)]
    assert seen == expected, CHANGED.format("the counts in fit_loop.epoch_loop.batch_progress")


def test_a_checkpoint_has_the_counts_of_epochs_and_batches(training):
    checkpoint = training[2]
    loops, changed = checkpoint["loops"]["fit_loop"], CHANGED.format("the entry loops of checkpoints")
    counts = dict.fromkeys(("ready", "started", "processed", "completed"), 2)
    assert loops.get("epoch_progress") == {"total": counts, "current": counts}, changed
    for loop in ("epoch_loop", "epoch_loop.val_loop"):
        progress = loops.get(f"{loop}.batch_progress", {})
        assert progress.keys() >= {"total", "current"}, changed
        assert progress["total"].keys() == progress["current"].keys() == counts.keys(), changed
    lightning_internals.begin_validation(checkpoint)
    assert lightning_internals.begins_with_validation(checkpoint), changed


def test_an_interrupted_batch_of_validation_is_forgotten(training):
    loop, changed = training[0].fit_loop.epoch_loop, CHANGED.format("the counts in val_loop.batch_progress")
    assert hasattr(loop, "val_loop"), changed
    counts = loop.val_loop.batch_progress.total
    counts.ready = counts.started = counts.completed + 1
    lightning_internals.forget_interrupted_batch(training[0])
    assert len(set(vars(counts).values())) == 1, changed


def test_the_trainer_knows_whether_a_validation_follows(training):
    trainer = training[0]
    for owner, name in (
        (trainer, "_val_check_time_interval"),
        (trainer.fit_loop, "_data_fetcher"),
        (trainer.fit_loop.epoch_loop, "_should_check_val_fx"),
    ):
        assert hasattr(owner, name), CHANGED.format(f"the attribute {name} of {type(owner).__name__}")
    arguments = inspect.signature(trainer.fit_loop.epoch_loop._should_check_val_fx).parameters
    assert list(arguments) == ["data_fetcher"], CHANGED.format("_should_check_val_fx of the loop of an epoch")
