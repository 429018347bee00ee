"""Checks and scales for callbacks that read the steps and gradients of a training."""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, SingleDeviceStrategy
from torch.optim import Optimizer

STEPS_WITH_SCALED_GRADIENTS = "_step_supports_amp_scaling"
"""Private flag of torch's fused optimizers, by which torch's own scaler knows them; there is no public one."""


def check_plain_training(trainer: Trainer, module: LightningModule) -> None:
    """Raise ``ValueError`` unless optimization is automatic and each process has all weights and gradients."""
    if not module.automatic_optimization:
        raise ValueError(
            f"expected automatic optimization, got {type(module).__name__}, which uses manual optimization"
        )
    strategy = trainer.strategy
    if isinstance(strategy, DeepSpeedStrategy) or not isinstance(strategy, SingleDeviceStrategy | DDPStrategy):
        name = type(strategy).__name__
        raise ValueError(f"expected a strategy without sharded gradients (a single device or DDP), got {name}")


def loss_scale(trainer: Trainer) -> float:
    """Factor by which a scaler for float16 multiplies the loss before the backward pass."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return 1.0 if scaler is None else scaler.get_scale()


def gradient_scale(trainer: Trainer, optimizer: Optimizer) -> float:
    """Factor of the gradients before a step. It is not 1 for fused optimizers, which undo the scale themselves."""
    return loss_scale(trainer) if getattr(optimizer, STEPS_WITH_SCALED_GRADIENTS, False) else 1.0
