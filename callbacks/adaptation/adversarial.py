"""Adaptation by features that a discriminator, or a second classifier, cannot tell apart."""

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from typing_extensions import override

from callbacks.adaptation._layers import NamedLayer, layer_like, num_inputs, num_outputs
from callbacks.adaptation._loss import AdaptationLoss
from callbacks.adaptation._pair import Pair, class_logits, labels_of, pooled, probabilities
from lightning_edge.nn.adaptation.discriminators import DomainDiscriminator
from lightning_edge.nn.adaptation.frozen import frozen
from lightning_edge.ops.adaptation.adversarial import (
    classifier_discrepancy,
    domain_confusion,
    domain_loss,
    margin_disparity_loss,
    multilinear_map,
    randomized_multilinear_map,
)
from lightning_edge.ops.adaptation.entropy import entropy_weights
from lightning_edge.ops.adaptation.gradient_reversal import reverse_gradient
from lightning_edge.ops.precision import at_least_float32


class DANN(AdaptationLoss):
    """Trains a discriminator of the domains, and features that deceive it by a reversed gradient (arXiv:1505.07818).

    The discriminator learns at full rate from the start. ``weight`` and ``ramp`` act on the reversed gradient.

    ===============  ==================================  ====
    key              meaning                             unit
    ===============  ==================================  ====
    ``train/dann``   cross-entropy of the discriminator  -
    ===============  ==================================  ====

    A value of 0.69 (log 2) means that the discriminator only guesses.

    Args:
        weight: Factor of the reversed gradient.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`.
        hidden_size: Number of units of the discriminator's hidden layers.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(
        self,
        weight: float = 1.0,
        layer: str | None = None,
        hidden_size: int = 256,
        ramp: bool = True,
        name: str = "dann",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        self.hidden_size = hidden_size

    @override
    def make_nets(self, module: LightningModule, layer: NamedLayer) -> nn.Module:
        return DomainDiscriminator(num_inputs(layer), self.hidden_size)

    @override
    def term(self, pair: Pair) -> Tensor:
        return self.loss(pair)  # the weight acts on the reversed gradient

    @override
    def loss(self, pair: Pair) -> Tensor:
        strength = self.strength(pair.progress)
        logits = (
            self.nets(reverse_gradient(pooled(outputs.features), strength)) for outputs in (pair.source, pair.target)
        )
        return domain_loss(*logits)


class CDAN(AdaptationLoss):
    """DANN whose discriminator sees the products of features and class probabilities (CDAN, arXiv:1705.10667).

    ===============  ==================================  ====
    key              meaning                             unit
    ===============  ==================================  ====
    ``train/cdan``   cross-entropy of the discriminator  -
    ===============  ==================================  ====

    Args:
        weight: Factor of the reversed gradient.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`. Its outputs must be the logits of the classes.
        entropy: Whether certain predictions count more (CDAN+E).
        num_products: Largest number of products. If there are more, that many random combinations of them are used.
        hidden_size: Number of units of the discriminator's hidden layers.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(
        self,
        weight: float = 1.0,
        layer: str | None = None,
        entropy: bool = True,
        num_products: int = 4096,
        hidden_size: int = 256,
        ramp: bool = True,
        name: str = "cdan",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        self.entropy = entropy
        self.num_products = num_products
        self.hidden_size = hidden_size

    @override
    def make_nets(self, module: LightningModule, layer: NamedLayer) -> nn.Module:
        num_features = num_inputs(layer)
        num_logits = num_outputs(layer)
        size = min(num_features * num_logits, self.num_products)
        nets = DomainDiscriminator(size, self.hidden_size)
        if size < num_features * num_logits:
            nets.register_buffer("feature_matrix", torch.randn(num_features, size))
            nets.register_buffer("class_matrix", torch.randn(num_logits, size))
        return nets

    @override
    def term(self, pair: Pair) -> Tensor:
        return self.loss(pair)  # the weight acts on the reversed gradient

    @override
    def loss(self, pair: Pair) -> Tensor:
        strength = self.strength(pair.progress)
        logits, weights = [], []
        dtype = next(self.nets.parameters()).dtype
        for layer in (pair.source, pair.target):
            classes = pooled(layer.outputs)
            products = self._products(pooled(layer.features), probabilities(classes).detach().to(dtype))
            logits.append(self.nets(reverse_gradient(products, strength)))
            weights.append(entropy_weights(classes) if self.entropy else None)
        return domain_loss(*logits, *weights)

    def _products(self, features: Tensor, classes: Tensor) -> Tensor:
        matrices = dict(self.nets.named_buffers())
        if not matrices:
            return multilinear_map(features, classes)
        return randomized_multilinear_map(features, classes, **matrices)


class DomainConfusion(AdaptationLoss):
    """Trains a discriminator, and features for which it gives both domains the same probability (arXiv:1510.02192).

    ==========================  ==============================================================  ====
    key                         meaning                                                         unit
    ==========================  ==============================================================  ====
    ``train/domain_confusion``  cross-entropy of the discriminator and the weighted confusion   -
    ==========================  ==============================================================  ====

    Args:
        weight: Factor of the confusion. The discriminator learns at full rate.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`.
        hidden_size: Number of units of the discriminator's hidden layers.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(
        self,
        weight: float = 1.0,
        layer: str | None = None,
        hidden_size: int = 256,
        ramp: bool = True,
        name: str = "domain_confusion",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        self.hidden_size = hidden_size

    @override
    def make_nets(self, module: LightningModule, layer: NamedLayer) -> nn.Module:
        return DomainDiscriminator(num_inputs(layer), self.hidden_size)

    @override
    def term(self, pair: Pair) -> Tensor:
        source, target = (pooled(outputs.features) for outputs in (pair.source, pair.target))
        discriminator = domain_loss(self.nets(source.detach()), self.nets(target.detach()))
        return discriminator + self.strength(pair.progress) * self.loss(pair)

    @override
    def loss(self, pair: Pair) -> Tensor:
        judge = frozen(self.nets)
        return domain_confusion(judge(pooled(pair.source.features)), judge(pooled(pair.target.features)))


class MCD(AdaptationLoss):
    """Two classifiers that disagree on the target as much as they can, and features on which they agree.

    Maximum classifier discrepancy, arXiv:1712.02560. The second classifier is a layer like the module's own, with other
    weights, and learns the labels of the source too. The paper alternates three steps. Here the gradient is reversed
    between the features and the discrepancy, which the paper describes as an alternative.

    ==============  ==============================================================  ====
    key             meaning                                                         unit
    ==============  ==============================================================  ====
    ``train/mcd``   loss of the second classifier minus the weighted discrepancy    -
    ==============  ==============================================================  ====

    Args:
        weight: Factor of the discrepancy.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`. Its outputs must be the logits of the classes.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(self, weight: float = 1.0, layer: str | None = None, ramp: bool = True, name: str = "mcd") -> None:
        super().__init__(weight, layer, ramp, name)

    @override
    def make_nets(self, module: LightningModule, layer: NamedLayer) -> nn.Module:
        return layer_like(layer)

    @override
    def term(self, pair: Pair) -> Tensor:
        labels, logits = labels_of(pair), class_logits(self.nets(pair.source.features))
        supervised = F.cross_entropy(at_least_float32(logits), labels)
        return supervised - self.strength(pair.progress) * self.loss(pair)

    @override
    def loss(self, pair: Pair) -> Tensor:
        reversed_features = reverse_gradient(pair.target.features)
        return classifier_discrepancy(self.classifier(reversed_features), self.nets(reversed_features))


class MDD(AdaptationLoss):
    """A second classifier that disagrees with the first on the target only, and features that prevent it.

    Margin disparity discrepancy, arXiv:1904.05801. The module's own classifier gets no gradient from the term.

    ==============  ================================  ====
    key             meaning                           unit
    ==============  ================================  ====
    ``train/mdd``   loss of the second classifier     -
    ==============  ================================  ====

    Args:
        weight: Factor of the reversed gradient.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`. Its outputs must be the logits of the classes.
        margin_factor: Weight of the source in the loss of the second classifier.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(
        self,
        weight: float = 0.1,
        layer: str | None = None,
        margin_factor: float = 4.0,
        ramp: bool = True,
        name: str = "mdd",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        self.margin_factor = margin_factor

    @override
    def make_nets(self, module: LightningModule, layer: NamedLayer) -> nn.Module:
        return layer_like(layer)

    @override
    def term(self, pair: Pair) -> Tensor:
        return self.loss(pair)  # the weight acts on the reversed gradient

    @override
    def loss(self, pair: Pair) -> Tensor:
        strength = self.strength(pair.progress)
        source, target = (
            self.nets(reverse_gradient(outputs.features, strength)) for outputs in (pair.source, pair.target)
        )
        return margin_disparity_loss(
            pair.source.outputs, source, pair.target.outputs, target, margin_factor=self.margin_factor
        )
