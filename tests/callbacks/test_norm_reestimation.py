"""Batch norms that are fitted to the training images before an evaluation."""

import pytest
import torch
from toys import make_trainer

from callbacks import NormReestimation
from lightning_edge.data import DigitsDataModule
from lightning_edge.methods import Classification
from lightning_edge.nn import DomainNet, TimmClassifier


@pytest.fixture
def data():
    return DigitsDataModule(
        num_samples=(60, 40), only={"source": ("inverted",)}, batch_size=5, num_workers=0, eval_batch_size=4
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
    assert not [warning for warning in recwarn.list if "domain of the images is not known" in str(warning.message)]
