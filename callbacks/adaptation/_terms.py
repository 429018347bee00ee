"""Terms that callbacks add to the loss of any LightningModule with automatic optimization."""

import functools
from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor

from lightning_edge.contracts import TakesLossTerms

LossTerm = Callable[[Any], Tensor]


class _WrappedStep:
    """A ``training_step`` that adds the values of all terms to the loss that the module returns."""

    def __init__(self, module: LightningModule) -> None:
        self.terms: dict[str, LossTerm] = {}
        self.loss_weight = 1.0
        self._module = module
        self.replaced = vars(module).get("training_step")
        """What the module itself had in its place, such as a compiled step; ``None`` for the method of its class."""
        self._step = module.training_step
        functools.update_wrapper(self, self._step)

    def __call__(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        outputs: Any = self._step(batch, *args, **kwargs)
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if loss is None:  # Lightning then skips the batch
            return outputs
        loss = self.loss_weight * loss
        for name, term in self.terms.items():
            value = term(batch)
            self._module.log(f"train/{name}", value)
            loss = loss + value
        return outputs | {"loss": loss} if isinstance(outputs, dict) else loss


def add_term(module: LightningModule, name: str, term: LossTerm) -> None:
    """Add a term to the training loss of a module, and log its value as ``train/<name>``.

    A module with ``loss_terms`` takes it there. The ``training_step`` of any other module is wrapped.

    Raises:
        ValueError: The module already has a term of this name, or it uses manual optimization and has no
            ``loss_terms``.
    """
    if isinstance(module, TakesLossTerms):
        terms: Any = module.loss_terms
    else:
        if not module.automatic_optimization:
            raise ValueError(
                f"expected automatic optimization or a module with loss_terms, got {type(module).__name__}, which uses "
                "manual optimization"
            )
        if not isinstance(module.training_step, _WrappedStep):
            module.training_step = _WrappedStep(module)
        terms = module.training_step.terms  # pyright: ignore[reportFunctionMemberAccess]
    if name in terms:
        raise ValueError(
            f"expected loss terms with different names, got {name!r} twice: give one of the callbacks another name"
        )
    terms[name] = term


def remove_term(module: LightningModule, name: str) -> None:
    """Undo :func:`add_term`; nothing happens if there is no such term."""
    if isinstance(module, TakesLossTerms):
        module.loss_terms.pop(name, None)
    elif isinstance(module.training_step, _WrappedStep):
        module.training_step.terms.pop(name, None)
        if not module.training_step.terms:
            replaced = module.training_step.replaced
            del module.training_step  # the method of the class is visible again
            if replaced is not None:
                module.training_step = replaced


def swap_loss_weight(module: LightningModule, weight: float) -> float:
    """Set the factor of the module's own loss, and return the earlier one. The module must have a term."""
    owner: Any = module if isinstance(module, TakesLossTerms) else module.training_step
    earlier, owner.loss_weight = owner.loss_weight, weight
    return earlier
