"""Losses on the same samples in every run, and nothing left of their evaluation."""

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from line_of_losses import Line
from settings import make_cifar, make_classification
from torch import nn
from torch.utils.data import DataLoader
from toys import make_trainer

from callbacks import BatchSizeScaling
from lightning_edge.analysis.scaling_run import read_run


def test_a_method_of_the_library_is_recorded_on_samples_that_no_seed_changes(tmp_path):
    """On both splits, in evaluation mode, without a trace in what is trained."""
    actual = []
    for seed, callbacks in ((0, [BatchSizeScaling(every_n_examples=8, num_samples=10)]), (0, [])):
        torch.manual_seed(0)
        module, data = make_classification(10), make_cifar()
        data.seed = seed
        trainer = make_trainer(tmp_path, logger=CSVLogger(tmp_path), callbacks=callbacks, max_steps=6, max_epochs=-1)
        trainer.fit(module, data)
        actual.append(module.state_dict())
    for name, value in actual[0].items():
        torch.testing.assert_close(actual[1][name], value, rtol=0, atol=0)
    run = read_run(tmp_path)
    assert np.isfinite(run.columns["train_loss"]).all()
    assert np.isfinite(run.columns["val_loss"]).all()
    first, second = make_cifar(), make_cifar()
    second.seed, second.batch_size = 5, 2
    for split in ("train", "val"):
        ours, theirs = (data.fixed_samples(split, 10) for data in (first, second))
        assert len(ours) == min(10, len(first.dataset(split)))
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one["image"], other["image"])


def test_training_samples_are_normalized_by_themselves_and_nothing_is_kept(tmp_path):
    class Normed(Line):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(1)

        def loss(self, batch):
            return 3 + 0 * self.weight + self.norm(batch).square().mean()

        def training_step(self, batch, batch_idx):
            return 0 * self.weight + 0 * self.norm(batch).sum()

        def validation_step(self, batch, batch_idx):
            pass

    module, points = Normed(), torch.tensor([[1.0], [3.0]]).repeat(20, 1)
    trainer = make_trainer(
        tmp_path,
        logger=CSVLogger(tmp_path, name="", version=0),
        callbacks=[BatchSizeScaling(every_n_examples=1000, num_samples=40)],
        max_steps=1,
        max_epochs=-1,
    )
    trainer.fit(module, DataLoader(points, batch_size=40), DataLoader(points, batch_size=40))
    first = read_run(tmp_path).evaluations[0]
    assert first.train_loss == pytest.approx(4, rel=1e-4)  # of variance 1 about their mean
    assert first.val_loss == pytest.approx(8, rel=1e-4)  # as they are: 3 + (1 + 9) / 2
    assert module.norm.num_batches_tracked == 1  # of the one step, and of no evaluation
    assert module.norm.training


class Places(Line):
    """Its loss is the mean of the samples, whatever the weight."""

    def loss(self, batch):
        return batch.mean() + 0 * self.weight


def fit_places(folder, module, points, **options):
    callback = BatchSizeScaling(every_n_examples=1000, **options)
    arguments = {"callbacks": [callback], "max_steps": 1, "max_epochs": -1, "limit_val_batches": 0}
    trainer = make_trainer(folder, logger=CSVLogger(folder, name="", version=0), **arguments)
    trainer.fit(module, DataLoader(points, batch_size=2))
    return trainer, read_run(folder).evaluations[0].train_loss


def test_a_loss_is_the_mean_of_samples_whatever_their_batches(tmp_path):
    points = torch.tensor([[0.0], [0.0], [6.0], [1.0], [3.0]])
    losses = [fit_places(tmp_path / str(n), Places(), points, eval_batch_size=n)[1] for n in (1, 2, 4, 100)]
    assert losses == pytest.approx([2.0] * 4)


def test_samples_pass_the_hooks_of_batches_without_augmentation(tmp_path):
    class Prepares(Places):
        def on_before_batch_transfer(self, batch, dataloader_idx):
            return batch + 1

        def on_after_batch_transfer(self, batch, dataloader_idx):
            return batch + torch.rand(()) if self.trainer.training else 2 * batch

    module = Prepares()
    trainer, loss = fit_places(tmp_path, module, torch.ones(8, 1))
    assert loss == pytest.approx(4)
    assert trainer.callback_metrics["scaling/train_loss"] == pytest.approx(4)  # as a callback that monitors finds it


def test_dropout_is_off_and_the_precision_is_that_of_the_trainer(tmp_path):
    class Drops(Places):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)
            self.layer = nn.Linear(1, 1)
            self.kinds = set()

        def loss(self, batch):
            actual = self.layer(self.drop(batch))
            self.kinds.add(actual.dtype)
            return super().loss(self.drop(batch))

    module = Drops()
    callback = BatchSizeScaling(every_n_examples=1000)
    arguments = {"callbacks": [callback], "max_steps": 1, "max_epochs": -1, "precision": "bf16-mixed"}
    trainer = make_trainer(tmp_path, logger=CSVLogger(tmp_path, name="", version=0), limit_val_batches=0, **arguments)
    trainer.fit(module, DataLoader(torch.ones(64, 1), batch_size=32))
    assert read_run(tmp_path).evaluations[0].train_loss == 1
    assert module.kinds == {torch.bfloat16}
    assert module.training


def test_a_split_that_is_not_needed_may_lack_samples_by_index(tmp_path):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield from torch.ones(8, 1)

    class Both(Line):
        def validation_step(self, batch, batch_idx):
            pass

    trainer = make_trainer(tmp_path, logger=CSVLogger(tmp_path, name="", version=0), max_steps=1, max_epochs=-1)
    trainer.callbacks.append(BatchSizeScaling())
    by_index, stream = DataLoader(torch.ones(8, 1), batch_size=4), DataLoader(Stream(), batch_size=4)
    trainer.fit(Both(), by_index, stream)
    assert np.isnan(read_run(tmp_path).columns["val_loss"]).all()
    with pytest.raises(ValueError, match=r"to evaluate split 'train' on, got none.* samples by index"):
        make_trainer(tmp_path, callbacks=[BatchSizeScaling()]).fit(Both(), stream, by_index)
