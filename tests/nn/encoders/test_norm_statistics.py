"""Batch norms whose statistics are taken anew."""

import copy
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import nn

from lightning_edge.nn.encoders.norm_statistics import reestimate_norms


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()).eval()


def pooled(features):
    """Mean and variance of each channel over all values of several batches."""
    values = torch.cat([feature.transpose(0, 1).flatten(1) for feature in features], 1)
    return values.mean(1), values.var(1)


def test_statistics_are_those_of_all_values_in_batches_of_several_sizes(net):
    batches = [scale * torch.rand(size, 3, 6, 6) for scale, size in enumerate((8, 1, 5, 3, 8), start=1)]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert reestimate_norms(net, batches) == 5
    mean, variance = pooled([net[0](batch) for batch in batches])
    torch.testing.assert_close(net[1].running_mean, mean)
    torch.testing.assert_close(net[1].running_var, variance)
    assert net[1].num_batches_tracked == 5
    assert not torch.allclose(net[1].running_mean, before["1.running_mean"])
    for name, value in net.state_dict().items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(value, before[name])


class Sums:
    """The sum over processes, of threads in their place."""

    def __init__(self, count):
        self.barrier = Barrier(count, timeout=30)
        self.given = [None] * count

    def of(self, rank):
        def sum_over_processes(values):
            self.given[rank] = values
            self.barrier.wait()
            total = sum(self.given)
            self.barrier.wait()
            return total

        return sum_over_processes


def test_processes_with_other_images_get_the_statistics_of_all_values(net):
    shares = [[torch.rand(2, 3, 6, 6)], [5 + 3 * torch.rand(4, 3, 6, 6), torch.rand(1, 3, 6, 6)], []]
    sums, nets = Sums(len(shares)), [copy.deepcopy(net) for _ in shares]
    with ThreadPoolExecutor(len(shares)) as threads:
        counts = threads.map(lambda rank: reestimate_norms(nets[rank], shares[rank], None, sums.of(rank)), range(3))
        assert list(counts) == [3, 3, 3]
    mean, variance = pooled([net[0](batch) for share in shares for batch in share])
    for one in nets:
        torch.testing.assert_close(one[1].running_mean, mean)
        torch.testing.assert_close(one[1].running_var, variance)


def test_a_norm_sees_what_a_training_would_show_it():
    """Each batch normalized by its own statistics, and no dropout, as in a net that is used."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 3), nn.BatchNorm1d(3)).double()
    batches = [scale * torch.randn(size, 4, dtype=torch.float64) for scale, size in ((1, 6), (3, 4))]
    normal = [(batch - batch.mean(0)) / (batch.var(0, correction=0) + net[0].eps).sqrt() for batch in batches]
    mean, variance = pooled([net[3](torch.tanh(values)) for values in normal])
    reestimate_norms(net, batches)
    torch.testing.assert_close(net[4].running_mean, mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(net[4].running_var, variance, rtol=1e-12, atol=1e-12)


def test_a_norm_that_is_used_twice_pools_both_uses():
    norm = nn.BatchNorm1d(3)
    batches = torch.randn(3, 5, 3) + torch.arange(3).view(3, 1, 1)
    reestimate_norms(norm, batches, lambda batch: (norm(batch), norm(2 * batch)))
    mean, variance = pooled([factor * batch for batch in batches for factor in (1, 2)])
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)


def test_a_norm_that_sees_nothing_keeps_its_statistics():
    net = nn.ModuleList([nn.BatchNorm1d(3), nn.BatchNorm1d(3)])
    nn.init.constant_(net[1].running_mean, 7)
    reestimate_norms(net, torch.randn(2, 5, 3), net[0])
    assert (net[1].running_mean == 7).all()
    assert (net[0].running_mean != 0).all()


def test_statistics_in_bfloat16_are_rounded_once():
    norm = nn.BatchNorm1d(3).to(torch.bfloat16)
    batches = (torch.randn(300, 4, 3) + 1).to(torch.bfloat16)
    reestimate_norms(norm, batches)
    mean, variance = pooled(list(batches.float()))
    assert torch.equal(norm.running_mean, mean.to(torch.bfloat16))
    torch.testing.assert_close(norm.running_var, variance.to(torch.bfloat16), rtol=0.005, atol=0)


def test_a_compiled_net_is_fitted_like_a_plain_one(net):
    batches = torch.rand(2, 8, 3, 6, 6)
    compiled = torch.compile(copy.deepcopy(net), backend="eager")
    compiled(batches[0])  # which compiles it
    for one in (net, compiled):
        reestimate_norms(one, batches)
    torch.testing.assert_close(compiled._orig_mod[1].running_mean, net[1].running_mean)
    torch.testing.assert_close(compiled(batches[0]), net(batches[0]))


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
    assert (net[1].running_var == 1).all()


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.BatchNorm2d(4, track_running_stats=False)])
def test_a_net_without_statistics_is_refused(norm):
    with pytest.raises(
        ValueError, match="expected a net with batch norms that track running statistics, got Sequential"
    ):
        reestimate_norms(nn.Sequential(nn.Conv2d(3, 4, 3), norm), torch.rand(1, 2, 3, 6, 6))
