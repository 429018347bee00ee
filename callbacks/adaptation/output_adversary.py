"""Adaptation by maps of predictions that a discriminator cannot tell apart, for segmentation and detection."""

from abc import abstractmethod

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from typing_extensions import override

from callbacks.adaptation._layers import NamedLayer, num_outputs
from callbacks.adaptation._loss import AdaptationLoss
from callbacks.adaptation._pair import Pair
from lightning_edge.nn.adaptation.discriminators import MapDiscriminator
from lightning_edge.nn.adaptation.frozen import frozen
from lightning_edge.ops.adaptation.adversarial import domain_cross_entropy, domain_loss
from lightning_edge.ops.adaptation.entropy import class_probabilities, self_information


class OutputAdversary(AdaptationLoss):
    """Base of the callbacks whose discriminator sees maps made of the logits.

    The discriminator learns at full rate. The module learns from the target only, which shall pass for source.

    Args:
        weight: Factor of the module's part of the term.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`. Its outputs must be maps of class logits.
        exclusive: Whether each place has exactly one class.
        num_strides: Number of strides of 2 in the discriminator.
        base_channels: Number of channels of the discriminator's first layer.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(
        self,
        weight: float,
        layer: str | None,
        exclusive: bool,
        num_strides: int,
        base_channels: int,
        ramp: bool,
        name: str,
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        self.exclusive = exclusive
        self.num_strides = num_strides
        self.base_channels = base_channels
        MapDiscriminator(1, base_channels, num_strides)  # checks its arguments before the data are prepared

    @abstractmethod
    def maps(self, logits: Tensor) -> Tensor:
        """What the discriminator sees, ``[batch, classes, height, width]``."""

    @override
    def make_nets(self, module: LightningModule, layer: NamedLayer) -> nn.Module:
        return MapDiscriminator(num_outputs(layer), self.base_channels, self.num_strides)

    @override
    def term(self, pair: Pair) -> Tensor:
        source, target = (self._checked_maps(outputs.outputs).detach() for outputs in (pair.source, pair.target))
        return domain_loss(self.nets(source), self.nets(target)) + super().term(pair)

    @override
    def loss(self, pair: Pair) -> Tensor:
        return domain_cross_entropy(frozen(self.nets)(self.maps(pair.target.outputs)), is_source=True)

    def _checked_maps(self, logits: Tensor) -> Tensor:
        if logits.ndim != 4:
            raise ValueError(
                "expected layer as one whose outputs are maps of logits [batch, classes, height, width], as in "
                f"segmentation, got outputs of shape {list(logits.shape)}"
            )
        return self.maps(logits)


class AdaptSegNet(OutputAdversary):
    """Trains a discriminator of maps of class probabilities, and a module that deceives it (arXiv:1802.10349).

    This is the single-level variant of the paper. The discriminator sees the logits at the size at which the layer
    returns them. The paper interpolates them to the size of the image, about 8 times larger, hence its three strides
    more.

    =====================  =======================================================================  ====
    key                    meaning                                                                  unit
    =====================  =======================================================================  ====
    ``train/adaptsegnet``  cross-entropy of the discriminator and the weighted one of the module    -
    =====================  =======================================================================  ====

    Args:
        weight: Factor of the module's part of the term, by default that of the paper.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`. Its outputs must be maps of class logits.
        exclusive: Whether each place has exactly one class, as in segmentation. ``False`` is for detectors with a
            sigmoid for each class, such as :class:`~lightning_edge.nn.detection.center_detector.CenterDetector`.
        num_strides: Number of strides of 2 in the discriminator, at most 5. Maps must have 2 to the power of this
            number of rows and columns.
        base_channels: Number of channels of the discriminator's first layer.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.

    Raises:
        ValueError: An argument is out of range. Later: outputs of the layer are no maps, or the maps are too small.
    """

    def __init__(
        self,
        weight: float = 0.001,
        layer: str | None = None,
        exclusive: bool = True,
        num_strides: int = 2,
        base_channels: int = 64,
        ramp: bool = False,
        name: str = "adaptsegnet",
    ) -> None:
        super().__init__(weight, layer, exclusive, num_strides, base_channels, ramp, name)

    @override
    def maps(self, logits: Tensor) -> Tensor:
        return class_probabilities(logits, self.exclusive)


class ADVENT(OutputAdversary):
    """AdaptSegNet whose discriminator sees the weighted self-information of each class (arXiv:1811.12833).

    Predictions for the target become as certain, and as uncertain at the same places, as those for the source.

    ================  =======================================================================  ====
    key               meaning                                                                  unit
    ================  =======================================================================  ====
    ``train/advent``  cross-entropy of the discriminator and the weighted one of the module    -
    ================  =======================================================================  ====

    Args:
        weight: Factor of the module's part of the term, by default that of the paper.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`. Its outputs must be maps of class logits.
        exclusive: Whether each place has exactly one class, see :class:`AdaptSegNet`.
        num_strides: Number of strides of 2 in the discriminator, see :class:`AdaptSegNet`.
        base_channels: Number of channels of the discriminator's first layer.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.

    Raises:
        ValueError: An argument is out of range. Later: outputs of the layer are no maps, or the maps are too small.
    """

    def __init__(
        self,
        weight: float = 0.001,
        layer: str | None = None,
        exclusive: bool = True,
        num_strides: int = 2,
        base_channels: int = 64,
        ramp: bool = False,
        name: str = "advent",
    ) -> None:
        super().__init__(weight, layer, exclusive, num_strides, base_channels, ramp, name)

    @override
    def maps(self, logits: Tensor) -> Tensor:
        return self_information(logits, self.exclusive)
