import pytest
import torch
from torch import nn

from lightning_edge.module_modes import restored_modes


def mixed():
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()))
    net[1][0].eval()
    return net


def modes_of(net):
    return [part.training for part in net.modules()]


@pytest.mark.parametrize("change", [nn.Module.eval, nn.Module.train])
def test_each_part_has_its_mode_again(change):
    net = mixed()
    with restored_modes(net):
        change(net)
        assert len(set(modes_of(net))) == 1
    assert modes_of(net) == [True, True, True, False, True]


def test_after_an_error_too():
    net = mixed()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), restored_modes(net):
        net.eval()(torch.ones(3, 5))
    assert modes_of(net) == [True, True, True, False, True]
