"""Statistics of each time through whatever resets, averages, copies or converts batch norms."""

import copy

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import StochasticWeightAveraging
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader
from toys import make_trainer

from lightning_edge.nn.encoders.norm_statistics import reestimate_norms
from lightning_edge.nn.ode.anodev2 import ODEBlock
from lightning_edge.ops.ode_gradients import GRADIENTS

STEPS = 3


def make_block(gradient="backprop", momentum: float | None = 0.1):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4, momentum=momentum))
    return ODEBlock(net, STEPS, gradient=GRADIENTS[gradient], norm_by_time=True).double()


def batches(count=3):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 4, 5, 5, generator=generator, dtype=torch.float64) * (1 + n) for n in range(count)]


def noted_at_each_time(block, inputs):
    """Means and variances of the norm's inputs: one row for each input and time, by hand."""
    conv, norm = block.net
    means, variances = [], []
    with torch.no_grad():
        for state in inputs:
            for _ in range(STEPS):
                features = conv(state)
                mean, variance = features.mean((0, 2, 3)), features.var((0, 2, 3))
                means.append(mean)
                variances.append(variance)
                count = features.numel() // 4
                spread = (variance * (count - 1) / count + norm.eps).sqrt().view(1, -1, 1, 1)
                normal = (features - mean.view(1, -1, 1, 1)) / spread
                state = state + (normal * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)) / STEPS
    return (torch.stack(rows).view(len(inputs), STEPS, 4) for rows in (means, variances))


class Regression(LightningModule):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def training_step(self, batch, batch_idx):
        object.__setattr__(self, "last", copy.deepcopy(self.block))  # with the weights that this step uses
        return (self.block(batch) - 1).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def train_dataloader(self):
        return DataLoader(torch.cat(batches()), batch_size=4)


def average_weights(block, tmp_path):
    """Three epochs, and one more in which the norms note the statistics of the averaged weights."""
    averaging = StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=2)
    module = Regression(block)
    make_trainer(tmp_path, max_epochs=3, callbacks=[averaging]).fit(module)
    return module.last  # Lightning makes one more step at the end


def update(block, tmp_path):
    block.train()
    block(10 * batches(1)[0])  # statistics that must be forgotten
    update_bn(batches(), block)
    return block


@pytest.mark.parametrize("renew", [average_weights, update])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_renewed_statistics_of_each_time_are_means_over_the_batches(renew, gradient, tmp_path):
    block = make_block(gradient)
    means, variances = noted_at_each_time(renew(block, tmp_path), batches())
    torch.testing.assert_close(block.net[1].running_mean, means.mean(0))
    torch.testing.assert_close(block.net[1].running_var, variances.mean(0))
    assert block.net[1].num_batches_tracked.tolist() == [3] * STEPS
    assert block.net[1].momentum == 0.1


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_norms_without_momentum_note_the_mean_at_each_time(gradient):
    block = make_block(gradient, momentum=None)
    for batch in batches():
        block(batch).sum().backward()
    means, variances = noted_at_each_time(block, batches())
    torch.testing.assert_close(block.net[1].running_mean, means.mean(0))
    torch.testing.assert_close(block.net[1].running_var, variances.mean(0))


def test_reestimated_statistics_of_each_time_are_those_of_all_values():
    block = make_block()
    block(10 * batches(1)[0])
    assert reestimate_norms(block, batches()) == 3
    means, variances = noted_at_each_time(block, batches())
    count = 4 * 5 * 5
    within, between = variances.sum(0) * (count - 1), (means - means.mean(0)).square().sum(0) * count
    torch.testing.assert_close(block.net[1].running_mean, means.mean(0))
    torch.testing.assert_close(block.net[1].running_var, (within + between) / (3 * count - 1))


def test_synchronized_norms_have_the_same_weights_and_statistics():
    block, image = make_block(), batches(1)[0]
    block(image)
    state = copy.deepcopy(block.state_dict())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(block))
    assert isinstance(converted.net[1], nn.SyncBatchNorm)
    torch.testing.assert_close(converted.state_dict(), state, rtol=0, atol=0)
    torch.testing.assert_close(converted(image), block(image), rtol=0, atol=0)  # and both note the batch
    fresh = make_block()
    fresh.load_state_dict(converted.state_dict())
    converted.load_state_dict(block.state_dict())
    for other in (fresh, converted):
        torch.testing.assert_close(other.eval()(image), block.eval()(image), rtol=0, atol=0)


def test_a_training_with_synchronized_norms_leaves_weights_for_plain_ones(tmp_path):
    """By what ``Trainer(sync_batchnorm=True)`` does before and after a training, which DDP allows on a GPU only."""
    plain, module, fresh = (Regression(make_block()) for _ in range(3))
    make_trainer(tmp_path).fit(plain)
    module = TorchSyncBatchNorm().apply(module)
    assert isinstance(module.block.net[1], nn.SyncBatchNorm)
    make_trainer(tmp_path).fit(module)
    fresh.load_state_dict(module.state_dict())
    reverted = TorchSyncBatchNorm().revert(module)
    assert not isinstance(reverted.block.net[1], nn.SyncBatchNorm)
    for other in (fresh, reverted):
        torch.testing.assert_close(other.state_dict(), plain.state_dict(), rtol=0, atol=0)


def test_copies_and_averages_have_statistics_of_their_own():
    image = batches(1)[0]
    for make_other in (copy.deepcopy, lambda block: AveragedModel(block, use_buffers=True).module):
        block = make_block()
        block(image)
        other = make_other(block)
        before = other.net[1].running_mean.clone()
        torch.testing.assert_close(other.eval()(image), block.eval()(image), rtol=0, atol=0)
        block.train()(10 * image)
        assert torch.equal(other.net[1].running_mean, before)


def test_one_net_is_not_given_rows_twice():
    with pytest.raises(ValueError, match="norm_by_time expected batch norms with one set of statistics"):
        ODEBlock(make_block().net, 2, norm_by_time=True)
