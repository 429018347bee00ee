"""Nets with experts for YAML configs: each wraps another net and converts its convolutions."""

from torch import nn

from lightning_edge.nn.dynamic.conversion import convert_to_condconv, convert_to_domains
from lightning_edge.nn.dynamic.converted_net import ConvertedNet
from lightning_edge.nn.dynamic.experts import Gate


class DomainNet(ConvertedNet):
    """A Domain-aware Dynamic Network (arXiv:1911.13237) over any classifier or detector.

    Args:
        body: The net to convert. It is changed in place.
        num_features: Length of the embedding that describes a domain.
        num_experts: Number of weight sets of each convolution, 2 or 4 in the paper.
        submodule: Name of the submodule that gets experts, such as ``encoder``; the whole net if empty. The paper
            leaves heads static.
        gate: ``sigmoid`` as in the paper, or ``softmax``.
        temperature: Divisor of the router's outputs before the gate function.

    Raises:
        ValueError: The net has no submodule ``submodule``, or a number is out of range.
    """

    def __init__(
        self,
        body: nn.Module,
        num_features: int,
        num_experts: int = 4,
        submodule: str = "",
        gate: Gate = "sigmoid",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(body, submodule)
        convert_to_domains(body.get_submodule(submodule), num_experts, num_features, gate, temperature)


class CondConvNet(ConvertedNet):
    """CondConv (arXiv:1904.04971) over any classifier or detector: experts are mixed for each image separately.

    Args:
        body: The net to convert. It is changed in place.
        num_experts: Number of weight sets of each convolution.
        submodule: See :class:`DomainNet`.

    Raises:
        ValueError: The net has no submodule ``submodule``, or a number is out of range.
    """

    def __init__(self, body: nn.Module, num_experts: int = 4, submodule: str = "") -> None:
        super().__init__(body, submodule)
        convert_to_condconv(body.get_submodule(submodule), num_experts)
