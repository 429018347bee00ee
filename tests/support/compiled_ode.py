"""Compiles ODE blocks and prints, as JSON, by how much each differs from a plain one with plain backpropagation.

A program of its own, for the checks of shapes that the tests put into every function cannot be compiled. Its arguments
are backends; with ``all`` among them, it compiles weights that evolve and gradients without checkpoints, too.
"""

import itertools
import json
import sys

import torch
from torch import nn

from lightning_edge.nn.ode.anodev2 import ODEBlock
from lightning_edge.nn.ode.weight_evolution import WeightEvolution
from lightning_edge.ops.ode_gradients import GRADIENTS

CHECKPOINTS = ("block_checkpoint", "step_checkpoint", "binomial_checkpoint")


def make_block(gradient, evolves):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU(inplace=True))
    evolution = WeightEvolution(net, 1) if evolves else None
    return ODEBlock(net, 2, evolution, gradient=GRADIENTS[gradient], norm_by_time=True).double()


def used(block, run):
    """All that two passes of a training and one of an evaluation leave behind."""
    *training, evaluated = torch.randn(3, 2, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    actual = []
    for state in training:
        state.requires_grad_()
        end = run(state)
        end.square().sum().backward()
        actual += [end.detach(), state.grad]
    actual += [weight.grad for weight in block.parameters()] + [value.clone() for value in block.buffers()]
    with torch.no_grad():
        block.eval()
        return [*actual, run(evaluated), *block.buffers()]


def difference(gradient, evolves, backend):
    reference = "continuous_adjoint" if gradient == "continuous_adjoint" else "backprop"
    expected, block = make_block(reference, evolves), make_block(gradient, evolves)
    torch.compiler.reset()
    run = torch.compile(block, backend=backend, fullgraph=gradient != "continuous_adjoint")
    pairs = zip(used(expected, expected), used(block, run), strict=True)
    return max(float((one - other).abs().max()) for one, other in pairs)


if __name__ == "__main__":
    backends = sys.argv[1:]
    blocks = list(itertools.product(CHECKPOINTS, (False,)))
    if "all" in backends:
        backends.remove("all")
        blocks += [*itertools.product(CHECKPOINTS, (True,)), ("backprop", True), ("continuous_adjoint", False)]
    actual = [(*block, backend, difference(*block, backend)) for block in blocks for backend in backends]
    json.dump(actual, sys.stdout)
