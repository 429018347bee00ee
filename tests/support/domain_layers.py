"""A convolution of experts, and a call of it within a domain."""

import torch
from torch import nn

from lightning_edge.nn.conditioning import in_domain
from lightning_edge.nn.dynamic.experts import DomainConv2d

FEATURES = 3


def make_layer(kind=nn.Conv2d, num_experts=4, gate="sigmoid", temperature=1.0, **settings):
    torch.manual_seed(0)
    conv = kind(4, 6, 3, **({"padding": 1} if kind is nn.Conv2d else {}) | settings)
    layer = DomainConv2d(conv, num_experts, FEATURES, gate, temperature)
    nn.init.normal_(layer.router.weight)  # so that domains differ
    return conv, layer


def run(layer, image, embedding, row=None):
    with in_domain(layer, embedding, row):
        return layer(image)
