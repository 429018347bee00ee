"""Convolutions with several experts, which are mixed by the domain of an image or by the image itself.

Domain-aware Dynamic Networks (arXiv:1911.13237) mix by the domain. A device that sees one domain at a time mixes once
and runs a plain net until the domain changes. CondConv (arXiv:1904.04971) mixes by each layer's own input, so it mixes
again for each image.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from timm.layers import Conv2dSame, pad_same  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn
from typing_extensions import override

from lightning_edge.ops.expert_convolution import convolve_each, mix_experts

Gate = Literal["sigmoid", "softmax"]

_NO_DOMAIN = (
    "No domain embedding given; using zeros. Wrap the call in in_domain(net, embedding), or use "
    "specialize(net, embedding) for one domain."
)

_ROUTER_STD = 0.01
"""Standard deviation of a router's initial weights, so that gates start near 0.5 (code of arXiv:1911.13237)."""


class Domains(NamedTuple):
    """Domains of the images of a batch."""

    embedding: Float[Tensor, "domains features"]
    row: Int64[Tensor, " batch"] | None
    """Index of the domain of each image; ``None`` if all images have the same domain."""
    num_images: int | None = None
    """Number of images that the domains are for; ``None`` if they are for any number."""


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
        for name, value in (("num_experts", num_experts), ("num_features", num_features)):
            if value < 1:
                raise ValueError(f"expected {name} of at least 1, got {value}")
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
    def gates_of(self, image: Tensor) -> tuple[Float[Tensor, "rows experts"], Int64[Tensor, " batch"] | None]:
        """Gates of each domain, and the index of the domain of each image; ``None`` if there is only one domain."""

    def gates(self, features: Float[Tensor, "rows features"]) -> Float[Tensor, "rows experts"]:
        """Gates from the features that determine them."""
        logits = self.router(features) / self.temperature
        return logits.sigmoid() if self.gate == "sigmoid" else logits.softmax(1)

    def mixed_weight(self, features: Float[Tensor, "rows features"]) -> Float[Tensor, "rows out in_group height width"]:
        """Weights of a plain convolution for each row of features."""
        with torch.autocast(self.weight.device.type, enabled=False):  # the result keeps the data type of the experts
            return mix_experts(self.gates(features), self.experts)

    def forward(self, image: Float[Tensor, "batch in height width"]) -> Float[Tensor, "batch out new_height new_width"]:
        """Convolve each image with its own mixture of the experts."""
        gates, row = self.gates_of(image)
        padding = self.padding
        if self.same_padding:
            image, padding = pad_same(image, self.kernel_size, self.stride, self.dilation), (0, 0)  # pyright: ignore
        settings = (self.stride, padding, self.dilation, self.groups)
        if row is None:
            weight = mix_experts(gates, self.experts)[0].to(image.dtype)
            return F.conv2d(image, weight, self.bias, *settings)  # pyright: ignore[reportCallIssue, reportArgumentType]
        experts, gates = self.experts.to(image.dtype), gates.to(image.dtype)
        output = convolve_each(image, experts, gates, row, *settings)  # pyright: ignore[reportArgumentType]
        return output if self.bias is None else output + self.bias.to(output.dtype).view(-1, 1, 1)

    def extra_repr(self) -> str:
        """The main settings, for ``repr``."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"num_experts={self.num_experts}, gate={self.gate}"
        )


class DomainConv2d(ExpertConv2d):
    """A convolution whose experts are mixed by the domain, which :func:`in_domain` sets.

    If no domain is set, a warning is given and the embedding is zero. With standardized features this is the embedding
    of the average image.
    """

    domains: Domains | None = None

    def __getstate__(self) -> dict[str, Any]:
        """The state for copies, without the domain of the batch that is being processed."""
        return {**self.__dict__, "domains": None}

    @override
    def gates_of(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.domains is None:
            if torch._C._current_graph_task_id() != -1:  # a forward within a backward
                raise RuntimeError(
                    "expected no activation checkpointing in a net with DomainConv2d: the domain is no longer set when "
                    "activations are recomputed. Turn it off, for example by set_grad_checkpointing(False)."
                )
            if self.num_experts > 1 or self.gate == "sigmoid":
                warnings.warn(_NO_DOMAIN, stacklevel=2)
            return self.gates(self.router.weight.new_zeros(1, self.router.in_features)), None
        embedding, row, num_images = self.domains
        if num_images not in (None, len(image)):
            raise ValueError(f"expected one domain embedding for each image ({len(image)}), got {num_images}")
        return self.gates(embedding), row


class CondConv2d(ExpertConv2d):
    """A convolution whose experts are mixed by the spatial mean of its input, for each image separately."""

    @override
    def gates_of(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        gates = self.gates(image.mean((2, 3)))
        return gates, None if len(image) == 1 else torch.arange(len(image), device=image.device)


@contextmanager
def in_domain(
    net: nn.Module,
    embedding: Shaped[Tensor, "rows features"] | Shaped[Tensor, " features"] | None,
    row: Int64[Tensor, " batch"] | None = None,
) -> Iterator[None]:
    """Set the domain of the images for a net within a ``with`` block. Nets without :class:`DomainConv2d` ignore it.

    Args:
        net: Any net.
        embedding: Embedding of the domain of each image, or, without the first axis, of all images. ``None`` sets no
            domain.
        row: Row of ``embedding`` for each image. With it, ``embedding`` has one row for each domain.

    Raises:
        ValueError: The embedding has another length than the net takes, or it has integers, such as the index of a
            domain.
    """
    if embedding is not None and not embedding.is_floating_point():
        raise ValueError(f"expected embedding of floats, got {embedding.dtype}: pass indices of domains as row")
    layers = [module for module in net.modules() if isinstance(module, DomainConv2d)]
    if not layers or embedding is None:
        yield
        return
    if embedding.shape[-1] != layers[0].router.in_features:
        raise ValueError(
            f"expected embedding with the num_features of the net ({layers[0].router.in_features}), got "
            f"{embedding.shape[-1]}"
        )
    before = [layer.domains for layer in layers]
    domains = _domains(embedding.to(layers[0].weight.dtype), row)
    try:
        for layer in layers:
            layer.domains = domains
        yield
    finally:
        for layer, earlier in zip(layers, before, strict=True):
            layer.domains = earlier


def _domains(embedding: Tensor, row: Tensor | None) -> Domains:
    if embedding.ndim == 1:
        return Domains(embedding[None], None)
    if len(embedding) == 0:  # an empty batch
        return Domains(embedding.new_zeros(1, embedding.shape[1]), None, 0)
    if len(embedding) == 1:
        return Domains(embedding, None, None if row is None else len(row))
    if row is not None:
        return Domains(embedding, row, len(row))
    # looking for equal rows would wait for the GPU, and unique() has no gradient for embeddings that learn
    if embedding.device.type != "cpu" or embedding.requires_grad:
        return Domains(embedding, torch.arange(len(embedding), device=embedding.device), len(embedding))
    different, row = embedding.unique(dim=0, return_inverse=True)
    return Domains(different, row if len(different) > 1 else None, len(embedding))


def _experts_around(
    weight: Float[Tensor, "out in_group height width"], num_experts: int, gate: Gate
) -> Float[Tensor, "experts out in_group height width"]:
    noise = torch.randn(num_experts, *weight.shape, dtype=weight.dtype, device=weight.device)
    noise = (noise - noise.mean(0)) * weight.std(unbiased=False)
    first_gate = 0.5 if gate == "sigmoid" else 1 / num_experts
    return (weight + noise) / (num_experts * first_gate)
