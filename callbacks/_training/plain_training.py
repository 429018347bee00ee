"""Trainings whose steps and gradients a callback can follow."""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, SingleDeviceStrategy
from torch.optim import Optimizer


def check_plain_training(trainer: Trainer, module: LightningModule) -> None:
    """Raise ``ValueError`` unless Lightning makes the steps and each process has all weights and gradients."""
    if not module.automatic_optimization:
        raise ValueError(f"expected automatic optimisation, got {type(module).__name__} with its own steps")
    strategy = trainer.strategy
    if isinstance(strategy, DeepSpeedStrategy) or not isinstance(strategy, SingleDeviceStrategy | DDPStrategy):
        name = type(strategy).__name__
        raise ValueError(f"expected a strategy with whole gradients, of a single device or DDP, got {name}")


def loss_scale(trainer: Trainer) -> float:
    """By what a scaler for float16 multiplies the loss before its backward pass."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return 1.0 if scaler is None else scaler.get_scale()


def gradient_scale(trainer: Trainer, optimizer: Optimizer) -> float:
    """By what gradients are still multiplied before a step: some optimisers, fused ones, undo the scale themselves."""
    return loss_scale(trainer) if getattr(optimizer, "_step_supports_amp_scaling", False) else 1.0
