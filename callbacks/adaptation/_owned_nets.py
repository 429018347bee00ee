"""Nets that a callback owns and that train together with a module, such as discriminators and teachers."""

from collections.abc import Iterable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import nn

from callbacks.adaptation._layers import OWNED

_VALUES_OF_GROUPS = ("base_lrs", "lr_lambdas", "max_lrs", "min_lrs", "base_momentums", "max_momentums", "_last_lr")
"""Attributes of torch's schedulers that have one value for each group of parameters."""


class OwnedNets:
    """Nets of a callback, which are parts of a module from the start to the end of a fit.

    As parts of the module they move to its device, and several processes keep them equal. Its ``state_dict`` leaves
    them out; the callback saves them in its own state.

    Args:
        nets: The nets.
        name: Name of the callback's term.
    """

    def __init__(self, nets: nn.Module, name: str) -> None:
        self.nets = nets
        self._key = f"{OWNED}{name}"
        self._handles: list[Any] = []

    def register(self, module: LightningModule) -> None:
        """Make the nets a part of a module."""
        if hasattr(module, self._key):
            raise ValueError(
                f"expected callbacks with different names, got a second one whose nets would be {self._key!r} of "
                f"{type(module).__name__}"
            )
        module.add_module(self._key, self.nets)
        self._handles = [
            # a lambda, because torch marks the function
            module.register_state_dict_post_hook(lambda *arguments: self._leave_out(*arguments)),
            module.register_load_state_dict_pre_hook(self._fill),
        ]

    def remove(self, module: LightningModule) -> None:
        """Undo :meth:`register`."""
        if self._handles:
            for handle in self._handles:
                handle.remove()
            self._handles = []
            delattr(module, self._key)

    def _leave_out(self, module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        for key in [key for key in state_dict if key.startswith(f"{prefix}{self._key}.")]:
            del state_dict[key]

    def _fill(self, module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        """Weights of a checkpoint lack the nets, whose weights the callback loads later."""
        own = {f"{prefix}{self._key}.{key}": value for key, value in self.nets.state_dict().items()}
        state_dict.update({key: value for key, value in own.items() if key not in state_dict})


def join_optimizer(trainer: Trainer, parameters: Iterable[nn.Parameter]) -> None:
    """Add trainable parameters that no optimizer has to the first optimizer, with the options of its first group.

    A :class:`~lightning_edge.methods.Method` passes all its parameters to its optimizer, but other modules may pass
    only those of their own nets.
    """
    owned = {
        parameter
        for optimizer in trainer.optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    missing = [parameter for parameter in parameters if parameter.requires_grad and parameter not in owned]
    if not missing or not trainer.optimizers:
        return
    optimizer = trainer.optimizers[0]
    first = optimizer.param_groups[0]
    optimizer.add_param_group({key: value for key, value in first.items() if key != "params"} | {"params": missing})
    for config in trainer.lr_scheduler_configs:
        if config.scheduler.optimizer is optimizer:
            _add_group(config.scheduler)


def _add_group(scheduler: Any) -> None:
    """Extend the values that a scheduler has for each group of parameters by those of its first group."""
    for part in getattr(scheduler, "_schedulers", ()):  # those of SequentialLR and ChainedScheduler
        _add_group(part)
    for name in _VALUES_OF_GROUPS:
        values = getattr(scheduler, name, None)
        if isinstance(values, list):
            setattr(scheduler, name, [*values, values[0]])  # not in place, because parts may share a list
