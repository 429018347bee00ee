"""Convolutions with several experts, mixed by what is known of the domain that an image is of, or by the image itself.

Domain-aware Dynamic Networks (arXiv:1911.13237) mix by the domain: a device that sees one domain at a time mixes once,
and runs a plain net until the domain changes. CondConv (arXiv:1904.04971) mixes by each layer's own input, hence anew
for each image.
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

_UNKNOWN = (
    "the domain of the images is not known, so experts are mixed as for an embedding of zero: call the net within "
    "in_domain(net, embedding), or specialize(net, embedding) for one domain"
)

_ROUTER_STD = 0.01
"""Of the weights of a router at the start (released code of arXiv:1911.13237: all gates begin near one half)."""


class Domains(NamedTuple):
    """Domains of the images of a batch."""

    embedding: Float[Tensor, "domains features"]
    row: Int64[Tensor, " batch"] | None
    """Domain of each image; ``None`` if there is one domain for all."""
    num_images: int | None = None
    """How many images it was told for; ``None`` if for any number."""


class ExpertConv2d(nn.Module, ABC):
    """A convolution with several sets of weights, the experts, and a gate for each; its bias is shared.

    Args:
        conv: The convolution in whose place it stands. Mixed by equal gates the experts give its weights, so a net
            begins as what it was; each expert differs from that by noise of about the weights' own deviation.
        num_experts: Sets of weights.
        num_features: Numbers that the gates follow from.
        gate: ``sigmoid``, each gate within [0, 1] by itself as in both papers, or ``softmax``, all gates together 1.
        temperature: By which the router's values are divided; above 1 the gates are more alike.

    Raises:
        ValueError: An argument is out of range, or the convolution pads with anything but zeros.
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
        # one expert below the other: weights of five axes could not be brought into torch.channels_last
        self.weight = nn.Parameter(_experts_around(conv.weight.detach(), num_experts, gate).flatten(0, 1))
        self.weight.requires_grad_(conv.weight.requires_grad)
        self.bias = conv.bias
        self.router = nn.Linear(num_features, num_experts, device=conv.weight.device, dtype=conv.weight.dtype)
        nn.init.normal_(self.router.weight, std=_ROUTER_STD)
        nn.init.zeros_(self.router.bias)
        self.router.requires_grad_(conv.weight.requires_grad)  # what is frozen stays as it is in every domain

    @property
    def experts(self) -> Float[Tensor, "experts out in_group height width"]:
        """Weights of each expert."""
        return self.weight.unflatten(0, (self.num_experts, self.out_channels))

    @abstractmethod
    def gates_of(self, image: Tensor) -> tuple[Float[Tensor, "rows experts"], Int64[Tensor, " batch"] | None]:
        """Gates of some domains, and which of them each image is of; ``None`` if all are of the only one."""

    def gates(self, features: Float[Tensor, "rows features"]) -> Float[Tensor, "rows experts"]:
        """Gates by what they follow from."""
        scores = self.router(features) / self.temperature
        return scores.sigmoid() if self.gate == "sigmoid" else scores.softmax(1)

    def mixed_weight(self, features: Float[Tensor, "rows features"]) -> Float[Tensor, "rows out in_group height width"]:
        """Weights of a plain convolution for each row of features."""
        with torch.autocast(self.weight.device.type, enabled=False):  # what is kept has the type of the experts
            return mix_experts(self.gates(features), self.experts)

    def forward(self, image: Float[Tensor, "batch in height width"]) -> Float[Tensor, "batch out new_height new_width"]:
        """Convolve each image by its own mixture."""
        gates, row = self.gates_of(image)
        padding = self.padding
        if self.same_padding:
            image, padding = pad_same(image, self.kernel_size, self.stride, self.dilation), (0, 0)  # pyright: ignore
        settings = (self.stride, padding, self.dilation, self.groups)
        if row is None:
            weight = mix_experts(gates, self.experts)[0].to(image.dtype)
            return F.conv2d(image, weight, self.bias, *settings)  # pyright: ignore[reportCallIssue, reportArgumentType]
        experts, gates = self.experts.to(image.dtype), gates.to(image.dtype)
        found = convolve_each(image, experts, gates, row, *settings)  # pyright: ignore[reportArgumentType]
        return found if self.bias is None else found + self.bias.to(found.dtype).view(-1, 1, 1)

    def extra_repr(self) -> str:
        """What differs from a plain convolution."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"num_experts={self.num_experts}, gate={self.gate}"
        )


class DomainConv2d(ExpertConv2d):
    """A convolution whose experts are mixed by the domain, which :func:`in_domain` tells.

    Where nothing is told, the embedding is taken for zero, as of the average image where features are standardized, and
    a warning says so.
    """

    domains: Domains | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets: all but the domain of the images that are under way."""
        return {**self.__dict__, "domains": None}

    @override
    def gates_of(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.domains is None:
            if torch._C._current_graph_task_id() != -1:  # a forward within a backward
                raise RuntimeError(
                    "expected no activation checkpointing in a net with DomainConv2d, for the domain is gone when it "
                    "computes anew: turn it off, as by set_grad_checkpointing(False)"
                )
            if self.num_experts > 1 or self.gate == "sigmoid":
                warnings.warn(_UNKNOWN, stacklevel=2)
            return self.gates(self.router.weight.new_zeros(1, self.router.in_features)), None
        embedding, row, num_images = self.domains
        if num_images not in (None, len(image)):
            raise ValueError(f"expected a domain embedding for each image ({len(image)}), got {num_images}")
        return self.gates(embedding), row


class CondConv2d(ExpertConv2d):
    """A convolution whose experts are mixed by the mean of its input over all places, image by image."""

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
    """Tell a net, while it runs, which domain its images are of; nets without :class:`DomainConv2d` take no notice.

    Args:
        net: Any net.
        embedding: Describes the domain of each image, or, without the first axis, of all of them. ``None`` tells
            nothing.
        row: With it, ``embedding`` has a row for each domain, and this is the one of each image.

    Raises:
        ValueError: The embedding has another number of features than the net takes, or is none but a number of a
            domain.
    """
    if embedding is not None and not embedding.is_floating_point():
        raise ValueError(f"expected embedding of floats, got {embedding.dtype}: numbers of domains go to row")
    layers = [module for module in net.modules() if isinstance(module, DomainConv2d)]
    if not layers or embedding is None:
        yield
        return
    if embedding.shape[-1] != layers[0].router.in_features:
        raise ValueError(
            f"expected embedding of as many features as the net was made for ({layers[0].router.in_features}), "
            f"got {embedding.shape[-1]}"
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
    if len(embedding) == 0:  # of no image
        return Domains(embedding.new_zeros(1, embedding.shape[1]), None, 0)
    if len(embedding) == 1:
        return Domains(embedding, None, None if row is None else len(row))
    if row is not None:
        return Domains(embedding, row, len(row))
    # to look for equal rows, a GPU would have to be waited for; and what learns has no gradient through that
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
