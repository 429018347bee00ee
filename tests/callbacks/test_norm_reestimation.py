"""Batch norms that are fitted to the training images before an evaluation."""

import albumentations
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import nn
from torch.utils.data import DataLoader
from toys import make_trainer

from callbacks import NormReestimation
from lightning_edge.data import AdaptationDataModule, DigitsDataModule
from lightning_edge.methods import Classification
from lightning_edge.nn import DomainNet, TimmClassifier


@pytest.fixture
def data():
    return DigitsDataModule(
        num_samples=(60, 40), keep_attributes={"source": ("inverted",)}, batch_size=5, num_workers=0, eval_batch_size=4
    )


@pytest.fixture
def method():
    torch.manual_seed(0)
    return Classification(TimmClassifier("resnet10_quarter", 10))


def statistics(method):
    return {name: value.clone() for name, value in method.state_dict().items() if "running_mean" in name}


@pytest.mark.parametrize("call", ["validate", "test"])
def test_an_evaluation_sees_statistics_of_the_training_images(method, data, call, tmp_path):
    before = statistics(method)
    trainer = make_trainer(tmp_path, callbacks=[NormReestimation(num_batches=2)])
    getattr(trainer, call)(method, data, verbose=False)
    after = statistics(method)
    assert all(not torch.equal(after[name], before[name]) for name in before)
    # of two batches, whatever momentum the norms have
    assert method.net.net.bn1.num_batches_tracked == 2
    image = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)["image"]
    of_others = method.net.net.conv1(method.net.normalize(image)).mean((0, 2, 3))
    near = (after["net.net.bn1.running_mean"] - of_others).abs().mean()
    assert near < 0.2 * (before["net.net.bn1.running_mean"] - of_others).abs().mean()


def test_a_net_that_is_adapted_gets_the_statistics_of_the_target(method, tmp_path):
    source, target = (
        DigitsDataModule(
            num_samples=(60, 40),
            keep_attributes={"source": (look,)},
            batch_size=20,  # all training images
            train_transform=albumentations.NoOp(),
            num_workers=0,
        )
        for look in ("mnist", "inverted")
    )
    alone = Classification(TimmClassifier("resnet10_quarter", 10))
    alone.load_state_dict(method.state_dict())
    trainer = make_trainer(tmp_path, callbacks=[NormReestimation()])
    trainer.test(method, AdaptationDataModule(source, target), verbose=False)
    trainer = make_trainer(tmp_path, callbacks=[NormReestimation()])
    trainer.test(alone, target, verbose=False)
    of_both = zip(statistics(method).values(), statistics(alone).values(), strict=True)
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-5) for one, other in of_both)


def test_a_fit_goes_on_as_without_it(method, data, tmp_path):
    losses = []
    for callbacks in ([], [NormReestimation()]):
        torch.manual_seed(0)
        fresh = Classification(TimmClassifier("resnet10_quarter", 10))
        trainer = make_trainer(tmp_path, callbacks=callbacks)
        trainer.fit(fresh, data)
        losses.append(trainer.callback_metrics["val/loss"])
    assert losses[0] == losses[1]


def test_bad_arguments_and_missing_data_are_named(method, data, tmp_path):
    with pytest.raises(ValueError, match="expected num_batches of at least 1, got 0"):
        NormReestimation(num_batches=0)
    data.prepare_data()
    data.setup("validate")
    trainer = make_trainer(tmp_path, callbacks=[NormReestimation()])
    with pytest.raises(ValueError, match="expected a data module with training images for NormReestimation, got none"):
        trainer.validate(method, data.val_dataloader(), verbose=False)


def test_a_net_with_experts_is_told_the_domain(data, tmp_path, recwarn):
    torch.manual_seed(0)
    net = DomainNet(TimmClassifier("resnet10_quarter", 10), data.embedding_features, 2)
    make_trainer(tmp_path, callbacks=[NormReestimation()]).validate(Classification(net), data, verbose=False)
    assert not [warning for warning in recwarn.list if "No domain embedding given" in str(warning.message)]


SIZES = (6, 2, 5, 3, 4)


class Shared(LightningDataModule):
    """Batches of several sizes, of which each process has every other one; one alone has all of them."""

    def train_dataloader(self):
        generator = torch.Generator().manual_seed(0)
        scales = torch.arange(1.0, 6.0).repeat_interleave(torch.tensor(SIZES)).view(-1, 1, 1, 1)
        images = scales * torch.randn(sum(SIZES), 3, 6, 6, generator=generator)
        batches = torch.arange(sum(SIZES)).split(SIZES)
        mine = batches[self.trainer.global_rank :: self.trainer.world_size]
        return DataLoader([(image,) for image in images], batch_sampler=[batch.tolist() for batch in mine])

    def val_dataloader(self):
        return DataLoader(torch.zeros(2, 1))


class Counted(Shared):
    """Hooks that a second call would change again."""

    def on_before_batch_transfer(self, batch, dataloader_idx):
        return [batch[0] + 1] if batch[0].ndim == 4 else batch

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return [10 * batch[0]]


class TwoNorms(LightningModule):
    def __init__(self, folder):
        super().__init__()
        torch.manual_seed(0)
        self.folder = folder
        self.net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
        )

    def forward(self, image):
        return self.net(image)

    def validation_step(self, batch, batch_idx):
        torch.save(self.net.state_dict(), self.folder / f"{self.trainer.world_size}-{self.trainer.global_rank}.pt")


@pytest.mark.parametrize("num_batches", [1, 4, 100])
def test_all_processes_have_the_statistics_of_all_batches(num_batches, tmp_path):
    """Those of one process, also where one of two has more batches, or the only one."""
    for options in ({}, {"strategy": "ddp_fork", "devices": 2}):
        callback = NormReestimation(num_batches)
        make_trainer(tmp_path, callbacks=[callback], **options).validate(TwoNorms(tmp_path), Shared(), verbose=False)
    alone, *both = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    assert alone["1.num_batches_tracked"] == min(num_batches, len(SIZES))
    for statistics in both:
        torch.testing.assert_close(statistics, alone, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(*both, rtol=0, atol=0)
    assert (alone["4.running_mean"] != 0).all()


def test_the_hooks_of_the_data_module_are_called_once_for_each_batch(tmp_path):
    module, data = TwoNorms(tmp_path), Counted()
    trainer = make_trainer(tmp_path, callbacks=[NormReestimation(1)])
    trainer.validate(module, data, verbose=False)
    (image,) = next(iter(data.train_dataloader()))
    expected = module.net[0](10 * (image + 1)).mean((0, 2, 3))
    torch.testing.assert_close(module.net[1].running_mean, expected, rtol=1e-4, atol=1e-4)
