"""Adaptation by predictions on the target that training makes certain, without a comparison with the source."""

from torch import Tensor
from typing_extensions import override

from callbacks.adaptation._loss import AdaptationLoss
from callbacks.adaptation._pair import Pair, class_logits
from lightning_edge.ops.adaptation.class_confusion import class_confusion
from lightning_edge.ops.adaptation.entropy import batch_nuclear_norm, mean_entropy, mutual_information


class MCC(AdaptationLoss):
    """Makes the confusion of classes in the predictions for the target small (MCC, arXiv:1912.03699).

    =============  =======================  ====
    key            meaning                  unit
    =============  =======================  ====
    ``train/mcc``  the weighted confusion   -
    =============  =======================  ====

    Args:
        weight: Factor of the term.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`. Its outputs must be the logits of the classes.
        temperature: Divisor of the logits.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(
        self,
        weight: float = 1.0,
        layer: str | None = None,
        temperature: float = 2.5,
        ramp: bool = True,
        name: str = "mcc",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        self.temperature = temperature

    @override
    def loss(self, pair: Pair) -> Tensor:
        return class_confusion(class_logits(pair.target.outputs), self.temperature)


class EntropyMinimization(AdaptationLoss):
    """Makes the entropy of the predictions for the target small (Grandvalet and Bengio, 2004).

    With ``diversity``, the entropy of the mean prediction is made large at the same time, which prevents that all
    samples get one class (information maximization of SHOT, arXiv:2002.08546).

    =================  ====================  ====
    key                meaning               unit
    =================  ====================  ====
    ``train/entropy``  the weighted entropy  -
    =================  ====================  ====

    Args:
        weight: Factor of the term.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`. Its outputs must be the logits of the classes.
        diversity: Whether the mean prediction is also made diverse.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(
        self,
        weight: float = 0.1,
        layer: str | None = None,
        diversity: bool = True,
        ramp: bool = True,
        name: str = "entropy",
    ) -> None:
        super().__init__(weight, layer, ramp, name)
        self.diversity = diversity

    @override
    def loss(self, pair: Pair) -> Tensor:
        logits = pair.target.outputs
        return -mutual_information(logits) if self.diversity else mean_entropy(logits)


class BNM(AdaptationLoss):
    """Makes the nuclear norm of the class probabilities of a target batch large (BNM, arXiv:2003.12237).

    Large norms belong to predictions that are certain and diverse. For classification only.

    =============  ===============================  ====
    key            meaning                          unit
    =============  ===============================  ====
    ``train/bnm``  the weighted norm, negative      -
    =============  ===============================  ====

    Args:
        weight: Factor of the term.
        layer: See :class:`~callbacks.adaptation.AdaptationLoss`. Its outputs must be the logits of the classes.
        ramp: Whether the weight rises in the course of training.
        name: Name of the term.
    """

    def __init__(self, weight: float = 1.0, layer: str | None = None, ramp: bool = True, name: str = "bnm") -> None:
        super().__init__(weight, layer, ramp, name)

    @override
    def loss(self, pair: Pair) -> Tensor:
        return -batch_nuclear_norm(class_logits(pair.target.outputs))
