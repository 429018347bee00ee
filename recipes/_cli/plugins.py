"""Plug-ins that every recipe gives its trainer."""

from collections.abc import Mapping
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.strategies import Strategy

from callbacks.atomic_checkpoint import AtomicCheckpointIO


def with_atomic_checkpoints(trainer: Mapping[str, Any]) -> list[Any]:
    """Plug-ins in the trainer's arguments, plus one for atomic checkpoints unless another handles checkpoints."""
    configured = trainer.get("plugins") or []
    plugins = list(configured) if isinstance(configured, list | tuple) else [configured]
    strategy = trainer.get("strategy")
    brings_own = (
        any(isinstance(plugin, CheckpointIO) for plugin in plugins)
        or (isinstance(strategy, Strategy) and strategy._checkpoint_io is not None)
        or trainer.get("accelerator") == "tpu"  # it only works with the plug-in of XLA
    )
    return plugins if brings_own else [*plugins, AtomicCheckpointIO()]
