"""Nets with experts, for YAML: another net whose convolutions are converted."""

from torch import nn

from lightning_edge.nn.dynamic.conversion import convert_to_condconv, convert_to_domains
from lightning_edge.nn.dynamic.converted_net import ConvertedNet
from lightning_edge.nn.dynamic.experts import Gate


class DomainNet(ConvertedNet):
    """A Domain-aware Dynamic Network (arXiv:1911.13237) over any classifier or detector.

    Args:
        body: The net; it is changed.
        num_features: Numbers that describe a domain.
        num_experts: Sets of weights of each convolution, 2 or 4 in the paper.
        part: Name of the part of the net that gets experts, such as ``encoder``, for the paper leaves heads static; the
            whole net if empty.
        gate: ``sigmoid`` as in the paper, or ``softmax``.
        temperature: By which the values under the gates are divided.

    Raises:
        ValueError: The net has no such part, or a number is out of range.
    """

    def __init__(
        self,
        body: nn.Module,
        num_features: int,
        num_experts: int = 4,
        part: str = "",
        gate: Gate = "sigmoid",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(body, part)
        convert_to_domains(body.get_submodule(part), num_experts, num_features, gate, temperature)


class CondConvNet(ConvertedNet):
    """CondConv (arXiv:1904.04971) over any classifier or detector: experts mixed anew for each image.

    Args:
        body: The net; it is changed.
        num_experts: Sets of weights of each convolution.
        part: As of :class:`DomainNet`.

    Raises:
        ValueError: The net has no such part, or a number is out of range.
    """

    def __init__(self, body: nn.Module, num_experts: int = 4, part: str = "") -> None:
        super().__init__(body, part)
        convert_to_condconv(body.get_submodule(part), num_experts)
