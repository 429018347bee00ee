"""Layers whose output also depends on the domain of an image, and the context in which they know it.

Methods and callbacks set the domain around each call of a net, and need not know which layers use it. So a net may have
such layers at any depth, and a net without any is called in the same way.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn


class Domains(NamedTuple):
    """Domains of the images of a batch."""

    embeddings: Float[Tensor, "domains features"]
    domain_index: Int64[Tensor, " batch"] | None
    """Row of ``embeddings`` for each image; ``None`` if all images have the same domain."""
    num_images: int | None = None
    """Number of images that the domains are for; ``None`` if they are for any number."""


class ConditionedLayer(nn.Module, ABC):
    """Base of layers whose output depends on ``domains``, which :func:`in_domain` sets during a call of the net."""

    domains: Domains | None = None
    """Domains of the current batch; ``None`` outside of :func:`in_domain`."""

    @property
    @abstractmethod
    def num_domain_features(self) -> int:
        """Length of the embedding of a domain."""

    def __getstate__(self) -> dict[str, Any]:
        """The state for copies, without the domain of the batch that is being processed."""
        return {**self.__dict__, "domains": None}


@contextmanager
def in_domain(
    net: nn.Module,
    embedding: Shaped[Tensor, "domains features"] | Shaped[Tensor, " features"] | None,
    domain_index: Int64[Tensor, " batch"] | None = None,
) -> Iterator[None]:
    """Set the domain of the images for a net within a ``with`` block.

    Nets without a :class:`ConditionedLayer` ignore it.

    Args:
        net: Any net.
        embedding: Embedding of the domain of each image, or, without the first axis, of all images. ``None`` sets no
            domain.
        domain_index: Row of ``embedding`` for each image. With it, ``embedding`` has one row for each domain.

    Raises:
        ValueError: The embedding has another length than a layer of the net takes, it has integers, such as the index
            of a domain, or ``domain_index`` is not that of a row (checked on the CPU only, to not wait for a GPU).
    """
    if embedding is not None and not embedding.is_floating_point():
        raise ValueError(
            f"expected embedding of floats, got {embedding.dtype}: pass indices of domains as domain_index"
        )
    layers = [module for module in net.modules() if isinstance(module, ConditionedLayer)]
    if not layers or embedding is None:
        yield
        return
    for layer in layers:
        if embedding.shape[-1] != layer.num_domain_features:
            raise ValueError(
                f"expected embedding with the num_features of the net ({layer.num_domain_features}), got "
                f"{embedding.shape[-1]}"
            )
    if domain_index is not None and domain_index.device.type == "cpu" and len(domain_index):
        least, largest = domain_index.aminmax()
        if not 0 <= least <= largest < len(embedding):
            raise ValueError(
                f"expected domain_index of at least 0 and below {len(embedding)}, got {least} to {largest}"
            )
    before = [layer.domains for layer in layers]
    parameter = next((parameter for layer in layers for parameter in layer.parameters()), embedding)
    domains = _domains(embedding.to(parameter.dtype), domain_index)
    try:
        for layer in layers:
            layer.domains = domains
        yield
    finally:
        for layer, earlier in zip(layers, before, strict=True):
            layer.domains = earlier


def _domains(embedding: Tensor, domain_index: Tensor | None) -> Domains:
    if embedding.ndim == 1:
        return Domains(embedding[None], None)
    if len(embedding) == 0:  # an empty batch
        return Domains(embedding.new_zeros(1, embedding.shape[1]), None, 0)
    if len(embedding) == 1:
        return Domains(embedding, None, None if domain_index is None else len(domain_index))
    if domain_index is not None:
        return Domains(embedding, domain_index, len(domain_index))
    # looking for equal rows would wait for the GPU, and unique() has no gradient for embeddings that learn
    if embedding.device.type != "cpu" or embedding.requires_grad:
        return Domains(embedding, torch.arange(len(embedding), device=embedding.device), len(embedding))
    different, domain_index = embedding.unique(dim=0, return_inverse=True)
    return Domains(different, domain_index if len(different) > 1 else None, len(embedding))
