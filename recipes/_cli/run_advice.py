"""What a run says about a likely mistake, and about how to resume it."""

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lightning_edge.checkpoints import last_checkpoint
from recipes._cli.run_folder import RunFolder

_DOING = {"validate": "validating", "test": "testing", "predict": "predicting"}


def warn_of_untrained_weights(command: str) -> None:
    """Warn before a command without a checkpoint."""
    doing = _DOING.get(command, f"{command} runs")
    rank_zero_warn(f"No --ckpt_path given: {doing} with untrained weights.")


def warn_without_validation(trainer: Trainer | None) -> None:
    """Warn before a fit that will end without scores, pictures and a best checkpoint."""
    every = getattr(trainer, "check_val_every_n_epoch", None)
    last = getattr(trainer, "max_epochs", None)
    if every is not None and last is not None and 0 <= last < every:
        rank_zero_warn(
            "no validation will run, so there will be no scores and no best checkpoint: expected "
            f"trainer.check_val_every_n_epoch of at most trainer.max_epochs ({last}), got {every}; add "
            f"--trainer.check_val_every_n_epoch={max(last, 1)}"
        )


def say_how_to_resume(trainer: Trainer | None, run_folder: RunFolder | None, has_own_folder: bool) -> None:
    """Say after an interruption where the run is, and how to resume it.

    Args:
        trainer: The recipe's trainer; ``None`` for a command without one.
        run_folder: Folder that the run was given on its start, if it was.
        has_own_folder: Whether the caller chose the folder, so that the run finds its checkpoint there by itself.
    """
    if trainer is None:
        rank_zero_info("\nInterrupted.")
        return
    if run_folder is not None and run_folder.is_unused:
        rank_zero_info("\nInterrupted before the run wrote any results.")
        return
    folder = trainer.default_root_dir
    checkpoint = last_checkpoint(Path(folder))
    with_checkpoint = "" if has_own_folder else f" with --ckpt_path {checkpoint}"
    hint = f"; to resume, repeat the command{with_checkpoint}" if checkpoint else ""
    rank_zero_info(f"\nInterrupted. The run is in {folder}{hint}")
