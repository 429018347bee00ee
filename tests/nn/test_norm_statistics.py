"""Batch norms whose statistics are taken anew."""

import pytest
import torch
from torch import nn

from lightning_edge.nn.norm_statistics import reestimate_norms


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()).eval()


def test_statistics_are_plain_means_over_the_batches(net):
    batches = torch.rand(5, 8, 3, 6, 6) * torch.arange(1, 6).view(5, 1, 1, 1, 1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert reestimate_norms(net, batches) == 5
    features = [net[0](batch) for batch in batches]
    mean = torch.stack([feature.mean((0, 2, 3)) for feature in features]).mean(0)
    variance = torch.stack([feature.var((0, 2, 3)) for feature in features]).mean(0)
    torch.testing.assert_close(net[1].running_mean, mean)
    torch.testing.assert_close(net[1].running_var, variance)
    assert not torch.allclose(net[1].running_mean, before["1.running_mean"])
    for name, value in net.state_dict().items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(value, before[name])


def test_modes_and_momentum_are_as_before(net):
    net[1].momentum = 0.3
    net[3].train()
    reestimate_norms(net, torch.rand(2, 4, 3, 6, 6))
    assert [module.training for module in net] == [False, False, False, True, False]
    assert net[1].momentum == 0.3

    def fail(batch):
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        reestimate_norms(net, torch.rand(2, 4, 3, 6, 6), fail)
    assert net[1].momentum == 0.3
    assert not net[1].training
    assert (net[1].running_var != 1).any()  # those of before the error


def test_without_batches_nothing_changes(net):
    nn.init.constant_(net[1].running_mean, 7)
    assert reestimate_norms(net, []) == 0
    assert (net[1].running_mean == 7).all()


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.BatchNorm2d(4, track_running_stats=False)])
def test_a_net_without_statistics_is_refused(norm):
    with pytest.raises(ValueError, match="expected a net with batch norms that note statistics, got Sequential"):
        reestimate_norms(nn.Sequential(nn.Conv2d(3, 4, 3), norm), torch.rand(1, 2, 3, 6, 6))
