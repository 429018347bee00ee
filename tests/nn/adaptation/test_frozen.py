import torch
from torch import nn

from lightning_edge.nn.adaptation.frozen import frozen, with_fixed_buffers


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_outputs_and_gradients_of_the_inputs_are_those_of_the_net():
    results = []
    for wrap in (lambda net: net, frozen, with_fixed_buffers):
        net, inputs = make_net(), torch.arange(15.0).view(5, 3).sin().requires_grad_()
        outputs = wrap(net)(inputs)
        outputs.square().sum().backward()
        results.append((outputs, inputs.grad))
    torch.testing.assert_close(results[1], results[0])
    torch.testing.assert_close(results[2], results[0])


def test_parameters_learn_only_with_fixed_buffers_and_buffers_stay_in_both():
    for wrap, learns in ((frozen, False), (with_fixed_buffers, True)):
        net = make_net()
        before = {name: buffer.clone() for name, buffer in net.named_buffers()}
        wrap(net)(torch.rand(5, 3).requires_grad_()).square().sum().backward()
        assert all((parameter.grad is not None) is learns for parameter in net.parameters())
        assert all(torch.equal(before[name], buffer) for name, buffer in net.named_buffers())
        net(torch.rand(5, 3))  # a plain pass moves them
        assert not torch.equal(before["1.running_mean"], net[1].running_mean)
