"""Adaptation by features from which decoders reconstruct images, for classification."""

import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from typing_extensions import override

from callbacks.adaptation._layers import NamedLayer, num_inputs
from callbacks.adaptation._loss import AdaptationLoss
from callbacks.adaptation._pair import Pair, pooled, single_images
from lightning_edge.checks import check_at_least
from lightning_edge.nn.adaptation.autoencoders import ImageDecoder, ImageEncoder, thumbnails
from lightning_edge.ops.adaptation.separation import difference_loss, scale_invariant_mse


class DRCN(AdaptationLoss):
    """Trains a decoder that reconstructs target images from their features (DRCN, arXiv:1607.03516).

    Images are compared at 32x32, whatever their size, and feature maps are averaged over their places, so this is for
    images of single objects. Other than in the paper, images pass without noise, and the decoder does not mirror the
    encoder.

    ===============  =============================================  ====
    key              meaning                                        unit
    ===============  =============================================  ====
    ``train/drcn``   the weighted mean squared error of the images  -
    ===============  =============================================  ====

    Args:
        weight: Factor of the term. The paper weights the two losses by 0.7 and 0.3, hence 0.43.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`.
        base_channels: Number of channels of the decoder's last layers.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(
        self,
        weight: float = 0.43,
        layer: str | None = None,
        base_channels: int = 16,
        ramp: bool = False,
        name: str = "drcn",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        self.base_channels = base_channels

    @override
    def make_nets(self, module: LightningModule, layer: NamedLayer) -> nn.Module:
        return ImageDecoder(num_inputs(layer), self.base_channels)

    @override
    def loss(self, pair: Pair) -> Tensor:
        return F.mse_loss(self.nets(pooled(pair.target.features)), thumbnails(single_images(pair.target_input)))


class DSN(AdaptationLoss):
    """Separates what the domains share from what each has of its own (domain separation networks, arXiv:1608.06019).

    The module's features are the shared ones. For each domain, an encoder computes private features, which shall be
    orthogonal to the shared ones, and a decoder reconstructs the images of both domains from the sum of the two. What
    makes the shared features similar is another callback, :class:`~callbacks.adaptation.adversarial.DANN` or
    :class:`~callbacks.adaptation.discrepancy.DAN` in the paper; without one, nothing is adapted. Images are compared at
    32x32, and feature maps are averaged over their places.

    ==============  ======================================================================  ====
    key             meaning                                                                 unit
    ==============  ======================================================================  ====
    ``train/dsn``   the weighted errors of the images and differences, of both domains      -
    ==============  ======================================================================  ====

    Args:
        weight: Factor of the term.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`.
        difference_weight: Factor of the difference, which is the correlation of shared and private features, relative
            to the error of the images.
        base_channels: Number of channels of the smallest layers of encoders and decoder.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.

    Raises:
        ValueError: A weight is negative. Later: a batch has a single sample.
    """

    def __init__(
        self,
        weight: float = 0.1,
        layer: str | None = None,
        difference_weight: float = 0.5,
        base_channels: int = 16,
        ramp: bool = False,
        name: str = "dsn",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        check_at_least(0, difference_weight=difference_weight)
        self.difference_weight = difference_weight
        self.base_channels = base_channels

    @override
    def make_nets(self, module: LightningModule, layer: NamedLayer) -> nn.Module:
        size = (num_inputs(layer), self.base_channels)
        return nn.ModuleDict(
            {"source": ImageEncoder(*size), "target": ImageEncoder(*size), "decoder": ImageDecoder(*size)}
        )

    @override
    def loss(self, pair: Pair) -> Tensor:
        source = self._loss_of("source", pair.source.features, pair.batch[self.domains.input_key])
        return source + self._loss_of("target", pair.target.features, pair.target_input)

    def _loss_of(self, domain: str, features: Tensor, inputs: Tensor) -> Tensor:
        """Error of the reconstruction, and weighted difference, in one domain."""
        images, shared = thumbnails(single_images(inputs)), pooled(features)
        private = self.nets[domain](images)
        error = scale_invariant_mse(self.nets["decoder"](shared + private), images)
        return error + self.difference_weight * difference_loss(shared, private)
