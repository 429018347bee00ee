"""Adaptation by a distance of the features of source and target, which training makes small."""

from collections.abc import Sequence

from torch import Tensor
from typing_extensions import override

from callbacks.adaptation._loss import AdaptationLoss
from callbacks.adaptation._pair import Pair, class_logits, labels_of, pooled, probabilities
from lightning_edge.ops.adaptation.central_moments import central_moment_discrepancy
from lightning_edge.ops.adaptation.class_discrepancy import contrastive_domain_discrepancy, local_mmd
from lightning_edge.ops.adaptation.coral import coral, log_coral
from lightning_edge.ops.adaptation.gaussian_kernels import MULTIPLES
from lightning_edge.ops.adaptation.mmd import joint_mmd, linear_time_mmd, mmd
from lightning_edge.ops.adaptation.transport import joint_transport_cost


class DAN(AdaptationLoss):
    """Makes the maximum mean discrepancy (MMD) of the features small, with several kernels (DAN, arXiv:1502.02791).

    Feature maps are averaged over their places, here and in the other callbacks of this file.

    =============  =======================================  ====
    key            meaning                                  unit
    =============  =======================================  ====
    ``train/dan``  the weighted squared discrepancy         -
    =============  =======================================  ====

    Args:
        weight: Factor of the term.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`.
        multiples: Bandwidths of the kernels, as multiples of the mean squared distance of the features.
        linear_time: Whether to estimate it from pairs of samples in linear time, as the paper does. The estimate is
            noisier, which is a disadvantage in small batches.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(
        self,
        weight: float = 1.0,
        layer: str | None = None,
        multiples: Sequence[float] = MULTIPLES,
        linear_time: bool = False,
        ramp: bool = True,
        name: str = "dan",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        self.multiples = tuple(multiples)
        self.linear_time = linear_time

    @override
    def loss(self, pair: Pair) -> Tensor:
        distance = linear_time_mmd if self.linear_time else mmd
        return distance(pooled(pair.source.features), pooled(pair.target.features), self.multiples)


class JAN(AdaptationLoss):
    """Makes the joint discrepancy of features and class probabilities small (JAN, arXiv:1605.06636).

    =============  =======================================  ====
    key            meaning                                  unit
    =============  =======================================  ====
    ``train/jan``  the weighted squared joint discrepancy   -
    =============  =======================================  ====

    Args:
        weight: Factor of the term.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`. Its outputs must be the logits of the classes.
        multiples: Bandwidths of the kernels, as multiples of the mean squared distance.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(
        self,
        weight: float = 1.0,
        layer: str | None = None,
        multiples: Sequence[float] = MULTIPLES,
        ramp: bool = True,
        name: str = "jan",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        self.multiples = tuple(multiples)

    @override
    def loss(self, pair: Pair) -> Tensor:
        source, target = (
            [pooled(layer.features), probabilities(pooled(layer.outputs))] for layer in (pair.source, pair.target)
        )
        return joint_mmd(source, target, self.multiples)


class CORAL(AdaptationLoss):
    """Makes the covariances of the features equal (Deep CORAL, arXiv:1607.01719).

    The distance is divided by four times the squared number of features, so useful weights are large.

    ===============  =====================================  ====
    key              meaning                                unit
    ===============  =====================================  ====
    ``train/coral``  the weighted distance of covariances   -
    ===============  =====================================  ====

    Args:
        weight: Factor of the term.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`.
        log_euclidean: Whether to compare the logarithms of the covariances (arXiv:1711.10288), which costs two
            eigendecompositions a step.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(
        self,
        weight: float = 100.0,
        layer: str | None = None,
        log_euclidean: bool = False,
        ramp: bool = True,
        name: str = "coral",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        self.log_euclidean = log_euclidean

    @override
    def loss(self, pair: Pair) -> Tensor:
        distance = log_coral if self.log_euclidean else coral
        return distance(pooled(pair.source.features), pooled(pair.target.features))


class CMD(AdaptationLoss):
    """Makes the means and the central moments of the features equal (CMD, arXiv:1702.08811).

    =============  =====================================  ====
    key            meaning                                unit
    =============  =====================================  ====
    ``train/cmd``  the weighted distance of moments       -
    =============  =====================================  ====

    Args:
        weight: Factor of the term.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`.
        num_moments: Highest order of the moments.
        interval: Length of the interval in which the features lie: 1 for sigmoid, 2 for tanh. ``None`` is their range
            in each pair of batches, because features of a ReLU have no bounds and their moments would be too large.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(
        self,
        weight: float = 1.0,
        layer: str | None = None,
        num_moments: int = 5,
        interval: float | None = None,
        ramp: bool = True,
        name: str = "cmd",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        self.num_moments = num_moments
        self.interval = interval

    @override
    def loss(self, pair: Pair) -> Tensor:
        source, target = pooled(pair.source.features), pooled(pair.target.features)
        return central_moment_discrepancy(source, target, self.num_moments, self.interval)


class ClassDiscrepancy(AdaptationLoss):
    """Makes the discrepancy within classes small, with the net's own predictions as classes of the target.

    With ``contrastive``, samples of different classes are also driven apart (CDD of CAN, arXiv:1901.00976). Otherwise
    target samples belong to each class by its probability (local MMD of DSAN, arXiv:2105.04147). For classification
    only.

    ============================  =====================================  ====
    key                           meaning                                unit
    ============================  =====================================  ====
    ``train/class_discrepancy``   the weighted discrepancy               -
    ============================  =====================================  ====

    Args:
        weight: Factor of the term.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`. Its outputs must be the logits of the classes.
        contrastive: Whether to use CDD instead of the local MMD.
        multiples: Bandwidths of the kernels, as multiples of the mean squared distance.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(
        self,
        weight: float = 0.5,
        layer: str | None = None,
        contrastive: bool = False,
        multiples: Sequence[float] = MULTIPLES,
        ramp: bool = True,
        name: str = "class_discrepancy",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        self.contrastive = contrastive
        self.multiples = tuple(multiples)

    @override
    def loss(self, pair: Pair) -> Tensor:
        source, target = pooled(pair.source.features), pooled(pair.target.features)
        labels, logits = labels_of(pair), class_logits(pair.target.outputs)
        if self.contrastive:
            classes = logits.shape[1]
            return contrastive_domain_discrepancy(source, target, labels, logits.argmax(1), classes, self.multiples)
        return local_mmd(source, target, labels, probabilities(logits).detach(), self.multiples)


class DeepJDOT(AdaptationLoss):
    """Makes the cost of transporting the labeled source to the predictions on the target small (arXiv:1803.10081).

    The plan of the transport between the samples of a batch is optimal and comes from POT, which the extra
    ``adaptation`` installs. For classification only.

    ==================  ==============================  ====
    key                 meaning                         unit
    ==================  ==============================  ====
    ``train/deepjdot``  the weighted cost of transport  -
    ==================  ==============================  ====

    Args:
        weight: Factor of the term.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`. Its outputs must be the logits of the classes.
        feature_weight: Factor of the squared distance of the features.
        class_weight: Factor of the cross-entropy of the target's predictions with the source's labels.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(
        self,
        weight: float = 1.0,
        layer: str | None = None,
        feature_weight: float = 0.001,
        class_weight: float = 0.1,
        ramp: bool = True,
        name: str = "deepjdot",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        self.feature_weight = feature_weight
        self.class_weight = class_weight

    @override
    def loss(self, pair: Pair) -> Tensor:
        source, target = pooled(pair.source.features), pooled(pair.target.features)
        labels, logits = labels_of(pair), class_logits(pair.target.outputs)
        return joint_transport_cost(source, target, labels, logits, self.feature_weight, self.class_weight)
