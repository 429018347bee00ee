"""Convolutions with several experts, which are mixed by the domain of an image or by the image itself.

Domain-aware Dynamic Networks (arXiv:1911.13237) mix by the domain. A device that sees one domain at a time mixes once
and runs a plain net until the domain changes. CondConv (arXiv:1904.04971) mixes by each layer's own input, so it mixes
again for each image.
"""

import warnings
from abc import ABC, abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from timm.layers import Conv2dSame, pad_same  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn
from typing_extensions import override

from lightning_edge.checks import check_at_least
from lightning_edge.nn.conditioning import ConditionedLayer
from lightning_edge.ops.expert_convolution import convolve_each, mix_experts
from lightning_edge.torch_internals import is_in_backward_pass

Gate = Literal["sigmoid", "softmax"]

_NO_DOMAIN = (
    "No domain embedding given; using zeros. Wrap the call in in_domain(net, embedding), or use "
    "specialize(net, embedding) for one domain."
)

_ROUTER_STD = 0.01
"""Standard deviation of a router's initial weights, so that gates start near 0.5 (code of arXiv:1911.13237)."""


class ExpertConv2d(nn.Module, ABC):
    """A convolution with several sets of weights, the experts, and a gate for each. All experts share one bias.

    Args:
        conv: The convolution to replace. Mixed with equal gates, the experts give its weights, so a converted net
            starts as the original net. Each expert differs from these weights by noise of about their own standard
            deviation.
        num_experts: Number of weight sets.
        num_features: Length of the vector from which the gates are computed.
        gate: ``sigmoid`` keeps each gate within [0, 1], as in both papers; ``softmax`` makes all gates sum to 1.
        temperature: Divisor of the router's outputs. Values above 1 make the gates more similar.

    Raises:
        ValueError: An argument is out of range, or the convolution does not pad with zeros.
    """

    def __init__(
        self,
        conv: nn.Conv2d,
        num_experts: int,
        num_features: int,
        gate: Gate = "sigmoid",
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        check_at_least(1, num_experts=num_experts, num_features=num_features)
        if temperature <= 0:
            raise ValueError(f"expected temperature above 0, got {temperature}")
        if conv.padding_mode != "zeros":
            raise ValueError(f"expected a convolution that pads with zeros, got padding_mode={conv.padding_mode!r}")
        self.in_channels, self.out_channels = conv.in_channels, conv.out_channels
        self.kernel_size, self.stride, self.dilation = conv.kernel_size, conv.stride, conv.dilation
        self.padding, self.groups = conv.padding, conv.groups
        self.same_padding = isinstance(conv, Conv2dSame)
        self.num_experts, self.gate, self.temperature = num_experts, gate, temperature
        # the experts are stacked along the first axis, because torch.channels_last needs four axes
        self.weight = nn.Parameter(_experts_around(conv.weight.detach(), num_experts, gate).flatten(0, 1))
        self.weight.requires_grad_(conv.weight.requires_grad)
        self.bias = conv.bias
        self.router = nn.Linear(num_features, num_experts, device=conv.weight.device, dtype=conv.weight.dtype)
        nn.init.normal_(self.router.weight, std=_ROUTER_STD)
        nn.init.zeros_(self.router.bias)
        self.router.requires_grad_(conv.weight.requires_grad)  # a frozen layer stays frozen in every domain

    @property
    def experts(self) -> Float[Tensor, "experts out in_group height width"]:
        """Weights of each expert."""
        return self.weight.unflatten(0, (self.num_experts, self.out_channels))

    @abstractmethod
    def gates_of(self, image: Tensor) -> tuple[Float[Tensor, "domains experts"], Int64[Tensor, " batch"] | None]:
        """Gates of each domain, and the index of the domain of each image; ``None`` if there is only one domain."""

    def gates(self, features: Float[Tensor, "domains features"]) -> Float[Tensor, "domains experts"]:
        """Gates from the features that determine them."""
        logits = self.router(features) / self.temperature
        return logits.sigmoid() if self.gate == "sigmoid" else logits.softmax(1)

    def mixed_weight(
        self, features: Float[Tensor, "domains features"]
    ) -> Float[Tensor, "domains out in_group height width"]:
        """Weights of a plain convolution for each row of features."""
        with torch.autocast(self.weight.device.type, enabled=False):  # the result keeps the data type of the experts
            return mix_experts(self.gates(features), self.experts)

    def forward(self, image: Float[Tensor, "batch in height width"]) -> Float[Tensor, "batch out new_height new_width"]:
        """Convolve each image with its own mixture of the experts."""
        gates, domain_index = self.gates_of(image)
        padding = self.padding
        if self.same_padding:
            image, padding = pad_same(image, self.kernel_size, self.stride, self.dilation), (0, 0)  # pyright: ignore
        settings = (self.stride, padding, self.dilation, self.groups)
        if domain_index is None:
            weight = mix_experts(gates, self.experts)[0].to(image.dtype)
            return F.conv2d(image, weight, self.bias, *settings)  # pyright: ignore[reportCallIssue, reportArgumentType]
        experts, gates = self.experts.to(image.dtype), gates.to(image.dtype)
        output = convolve_each(image, experts, gates, domain_index, *settings)  # pyright: ignore[reportArgumentType]
        return output if self.bias is None else output + self.bias.to(output.dtype).view(-1, 1, 1)

    def extra_repr(self) -> str:
        """The main settings, for ``repr``."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"num_experts={self.num_experts}, gate={self.gate}"
        )


class DomainConv2d(ExpertConv2d, ConditionedLayer):
    """A convolution whose experts are mixed by the domain of the image.

    If no domain is set, a warning is given and the embedding is zero. With standardized features this is the embedding
    of the average image.
    """

    @property
    @override
    def num_domain_features(self) -> int:
        return self.router.in_features

    @override
    def gates_of(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.domains is None:
            if is_in_backward_pass():
                raise RuntimeError(
                    "expected no activation checkpointing in a net with DomainConv2d: the domain is no longer set when "
                    "activations are recomputed. Turn it off, for example by set_grad_checkpointing(False)."
                )
            if self.num_experts > 1 or self.gate == "sigmoid":
                warnings.warn(_NO_DOMAIN, stacklevel=2)
            return self.gates(self.router.weight.new_zeros(1, self.router.in_features)), None
        embeddings, domain_index, num_images = self.domains
        if num_images not in (None, len(image)):
            raise ValueError(f"expected one domain embedding for each image ({len(image)}), got {num_images}")
        return self.gates(embeddings), domain_index


class CondConv2d(ExpertConv2d):
    """A convolution whose experts are mixed by the spatial mean of its input, for each image separately."""

    @override
    def gates_of(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        gates = self.gates(image.mean((2, 3)))
        return gates, None if len(image) == 1 else torch.arange(len(image), device=image.device)


def _experts_around(
    weight: Float[Tensor, "out in_group height width"], num_experts: int, gate: Gate
) -> Float[Tensor, "experts out in_group height width"]:
    noise = torch.randn(num_experts, *weight.shape, dtype=weight.dtype, device=weight.device)
    noise = (noise - noise.mean(0)) * weight.std(unbiased=False)
    first_gate = 0.5 if gate == "sigmoid" else 1 / num_experts
    return (weight + noise) / (num_experts * first_gate)
