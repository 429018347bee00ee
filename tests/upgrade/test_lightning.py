"""What this library expects of Lightning beyond its documented interface, apart from its command line."""

import csv
import warnings
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter, ModelCheckpoint, RichModelSummary
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import SingleDeviceStrategy
from settings import make_cifar, make_classification
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from callbacks._training.profiler_actions import part_of_action, start_listening, stop_listening
from callbacks._training.transfer import to_device
from callbacks.atomic_checkpoint import AtomicCheckpointIO
from lightning_edge.checkpoints import RESUMABLE, read_checkpoint
from recipes._cli.command_line import _without_noise
from recipes._cli.logged_metrics import LoggedMetrics, with_its_row
from recipes._cli.metrics_table import put_back
from recipes._cli.plugins import with_atomic_checkpoints
from recipes._cli.summary import use_honest_summary

pytestmark = pytest.mark.filterwarnings("ignore")

NUM_BATCHES = 3


class Line(LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 1)

    def forward(self, batch):
        return self.net(batch).square().mean()

    def training_step(self, batch, batch_idx):
        loss = self(batch)
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self(batch))

    def test_step(self, batch, batch_idx):
        self(batch)

    def predict_step(self, batch, batch_idx):
        return self(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Points(LightningDataModule):
    def loader(self):
        return DataLoader(torch.arange(2.0 * NUM_BATCHES).view(NUM_BATCHES, 2), batch_size=1)

    train_dataloader = val_dataloader = test_dataloader = predict_dataloader = loader


def make_trainer(folder, *callbacks, **options):
    plain = {"accelerator": "cpu", "max_epochs": 1, "logger": False, "enable_progress_bar": False}
    plain |= {"enable_checkpointing": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    return Trainer(default_root_dir=folder, callbacks=list(callbacks), **(plain | options))


class Listener(Callback):
    def __init__(self):
        self.parts, self.names = [], []

    def setup(self, trainer, pl_module, stage):
        start_listening(trainer, self.note)

    def note(self, action, begins):
        self.names.append(action)
        if part := part_of_action(action):
            self.parts.append((part, begins))

    def teardown(self, trainer, pl_module, stage):
        stop_listening(trainer)


@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_the_profiler_is_notified_of_the_parts_of_each_batch(stage, tmp_path):
    listener, options = Listener(), {"limit_val_batches": 0} if stage == "fit" else {}
    getattr(make_trainer(tmp_path, listener, **options), stage)(Line(), Points())
    batch = [(part, begins) for part in ("load", "transfer", "step") for begins in (True, False)]
    adapt = "adapt callbacks/_training/profiler_actions.py"
    changed = f"Lightning's profiler has other actions in {stage}: {adapt}, {sorted(set(listener.names))}"
    # some loops load the next batch before they notice that there is none
    assert listener.parts[: 6 * NUM_BATCHES] == batch * NUM_BATCHES, changed
    assert {part for part, _ in listener.parts[6 * NUM_BATCHES :]} <= {"load"}, changed


class Augmented(Points):
    def on_before_batch_transfer(self, batch, dataloader_idx):
        return batch + 1

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return 10 * batch


class OwnHooks(Line):
    def on_before_batch_transfer(self, batch, dataloader_idx):
        return batch + 2


@pytest.mark.parametrize(("module", "data"), [(Line, Augmented), (OwnHooks, Points), (Line, Points)])
def test_a_batch_passes_the_hooks_as_in_a_step(module, data, tmp_path):
    compared = []

    class Compare(Callback):
        def on_test_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
            if batch_idx == 0:
                own = next(iter(data().loader()))
                compared.append((to_device(trainer, own), batch))

    make_trainer(tmp_path, Compare(), precision="64-true").test(module(), data(), verbose=False)
    ((ours, theirs),) = compared
    changed = "Lightning calls the hooks around a transfer in another way: adapt callbacks/_training/transfer.py"
    assert ours.dtype == theirs.dtype == torch.float64, changed
    assert torch.equal(ours, theirs), changed


def test_a_strategy_says_whether_it_was_given_a_plugin_for_checkpoints():
    adapt = "Strategy._checkpoint_io has changed: adapt recipes/_cli/plugins.py"
    with_own = SingleDeviceStrategy(checkpoint_io=TorchCheckpointIO())
    assert with_atomic_checkpoints({"strategy": with_own}) == [], adapt
    (plugin,) = with_atomic_checkpoints({"strategy": SingleDeviceStrategy()})
    assert isinstance(plugin, AtomicCheckpointIO), adapt


def test_the_summary_of_a_model_keeps_its_depth_and_drops_operations_that_were_not_counted(tmp_path, capsys):
    adapt = "adapt recipes/_cli/summary.py"
    for with_example in (False, True):
        trainer, module = make_trainer(tmp_path, RichModelSummary(max_depth=2), enable_model_summary=True), Line()
        module.net = nn.Sequential(nn.Sequential(module.net))
        if with_example:
            module.example_input_array = torch.ones(1, 2)
        use_honest_summary(trainer)
        trainer.validate(module, Points(), verbose=False)
        trainer.fit(module, Points())
        said = capsys.readouterr().out
        assert "net.0" in said, f"RichModelSummary._max_depth has changed: {adapt}, {said}"
        assert "net.0.0" not in said, f"RichModelSummary._max_depth has changed: {adapt}, {said}"
        assert ("FLOPs" in said) == with_example, f"Lightning's summary calls its columns otherwise: {adapt}, {said}"


def test_the_row_of_an_epoch_is_known_before_lightning_logs_it(tmp_path):
    checkpoints = []

    class SaveAtEnd(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            checkpoints.append({})
            LoggedMetrics().on_save_checkpoint(trainer, pl_module, checkpoints[-1])

    logger = CSVLogger(tmp_path)
    make_trainer(tmp_path, SaveAtEnd(), logger=logger, limit_val_batches=0, max_epochs=2).fit(Line(), Points())
    with Path(logger.log_dir, "metrics.csv").open() as file:
        logged = list(csv.DictReader(file))
    ours = [row for checkpoint in checkpoints for row in with_its_row([], checkpoint)]
    changed = f"Lightning logs an epoch in another way: adapt recipes/_cli/logged_metrics.py, {ours} {logged}"
    assert len(ours) == len(logged) == 2, changed
    for row, of_lightning in zip(ours, logged, strict=True):
        assert row == pytest.approx({name: float(value) for name, value in of_lightning.items()}), changed


def test_rows_that_are_put_back_stay_in_the_table_of_the_logger(tmp_path):
    logger = CSVLogger(tmp_path)
    put_back([{"step": 0, "epoch": 0, "train/loss": 3.0}], logger)
    logger.log_metrics({"train/loss": 2.0, "epoch": 1}, step=1)
    logger.save()
    with Path(logger.log_dir, "metrics.csv").open() as file:
        rows = [(int(row["step"]), float(row["train/loss"])) for row in csv.DictReader(file)]
    assert rows == [(0, 3.0), (1, 2.0)], "the rows of CSVLogger have changed: adapt recipes/_cli/metrics_table.py"


def test_a_checkpoint_has_the_entries_that_a_resumed_run_needs(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.fit(Line(), Points())
    trainer.save_checkpoint(tmp_path / "line.ckpt")
    content = torch.load(tmp_path / "line.ckpt", weights_only=True)
    kinds = {key: type(content.get(key)) for key in RESUMABLE}
    changed = f"checkpoints of Lightning have other entries: adapt RESUMABLE in lightning_edge/checkpoints.py, {kinds}"
    assert kinds == RESUMABLE, changed
    assert read_checkpoint(tmp_path / "line.ckpt", "ckpt_path", RESUMABLE), changed


def test_the_batches_that_are_loaded_but_not_trained_on_are_counted(tmp_path):
    data, seen = make_cifar(), []

    class Count(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen.append(data._num_batches_in_work())

        def on_train_epoch_end(self, trainer, pl_module):
            seen.append(data._num_batches_in_work())

    make_trainer(tmp_path, Count(), limit_train_batches=2, limit_val_batches=0).fit(make_classification(10), data)
    assert seen == [1, 1, 0], "the progress of the epoch loop has changed: adapt lightning_edge/data/base.py"


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.ones(2, 2))


class NoWriter(BasePredictionWriter):
    def write_on_batch_end(self, *arguments): ...


def warn_of_experiment_logs(folder):
    Path(folder, "lightning_logs/version_0").mkdir(parents=True)
    Path(folder, "lightning_logs/version_0/config.yaml").touch()
    _ = CSVLogger(folder, version=0).experiment


def warn_of_checkpoint_directory(folder):
    Path(folder, "here.ckpt").touch()
    make_trainer(folder, ModelCheckpoint(folder), enable_checkpointing=True).fit(Line(), Points())


def warn_of_changed_folder(folder):
    state = ModelCheckpoint(Path(folder, "a")).state_dict() | {"dirpath": "b"}
    ModelCheckpoint(Path(folder, "a")).load_state_dict(state)


def warn_of_batch_indices(folder):
    trainer = make_trainer(folder, NoWriter("batch"))
    trainer.predict(Line(), DataLoader(Stream(), batch_size=1), return_predictions=False)


@pytest.mark.parametrize(
    ("warn", "words"),
    [
        (warn_of_experiment_logs, "is not empty"),
        (warn_of_checkpoint_directory, "is not empty"),
        (warn_of_changed_folder, "dirpath"),
        (warn_of_batch_indices, "batch indices"),
    ],
)
def test_warnings_that_a_user_cannot_act_on_are_still_recognized(warn, words, tmp_path):
    found = []
    for is_quiet in (False, True):
        (folder := tmp_path / str(is_quiet)).mkdir()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with _without_noise() if is_quiet else nullcontext():
                warn(folder)
        found.append([str(warning.message) for warning in caught])
    shown, quiet = found
    changed = f"Lightning words a warning in another way: adapt _NOISE in recipes/_cli/command_line.py, {shown}"
    assert any(words in message for message in shown), changed
    assert not any(words in message for message in quiet), changed
