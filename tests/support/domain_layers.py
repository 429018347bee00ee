"""A convolution of experts, and a call of it within a domain."""

import torch
from torch import nn

from lightning_edge.nn.conditioning import ConditionedLayer, in_domain
from lightning_edge.nn.dynamic.experts import DomainConv2d

FEATURES = 3
MNIST_M = torch.tensor([0.0, 1, 0, 0])
"""Embedding of a domain of the digits."""


def make_layer(kind=nn.Conv2d, num_experts=4, gate="sigmoid", temperature=1.0, **settings):
    torch.manual_seed(0)
    conv = kind(4, 6, 3, **({"padding": 1} if kind is nn.Conv2d else {}) | settings)
    layer = DomainConv2d(conv, num_experts, FEATURES, gate, temperature)
    nn.init.normal_(layer.router.weight)  # so that domains differ
    return conv, layer


class ShiftedByDomain(ConditionedLayer):
    """Adds to all images of a batch a number that differs between the domains of digits."""

    num_domain_features = len(MNIST_M)

    def forward(self, image):
        if self.domains is None:
            return image
        return image + (self.domains.embeddings[0] @ torch.arange(1.0, 1 + len(MNIST_M))).to(image)


def run(layer, image, embedding, row=None):
    with in_domain(layer, embedding, row):
        return layer(image)
