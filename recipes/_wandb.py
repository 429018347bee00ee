"""Weights & Biases without an account, and a run that ends when its recipe does.

Nothing heavy is imported: the command line asks for credentials before anything else.
"""

import netrc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


def has_wandb_credentials() -> bool:
    """Whether W&B knows an account here."""
    if "WANDB_API_KEY" in os.environ:
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    for name in (os.environ.get("NETRC"), "~/.netrc", "~/_netrc"):
        path = Path(name or "").expanduser()
        if path.is_file():
            try:
                return netrc.netrc(path).authenticators(host) is not None
            except netrc.NetrcParseError:
                return False
    return False


def finish_wandb(trainer: "Trainer | None") -> None:
    """End the W&B run, for the next run in this process would go on with it."""
    from lightning.pytorch.loggers import WandbLogger
    from lightning.pytorch.utilities import rank_zero_info

    wandb = sys.modules.get("wandb")
    if not (trainer and wandb and wandb.run and any(isinstance(logger, WandbLogger) for logger in trainer.loggers)):
        return
    if wandb.run.offline and (trainer.global_step > 0 or trainer.state.finished):
        rank_zero_info(how_to_sync(wandb.run))
    wandb.finish()


def how_to_sync(run: Any) -> str:
    """What to tell whoever logged a run offline."""
    folder = Path(run.dir).parent
    return f"W&B logged offline; `wandb sync {folder}` uploads the run once you have called `wandb login`."


def leave_anonymous_unset(trainer: "Trainer") -> None:
    """Take back an argument that Lightning's logger always gives and W&B warns of."""
    from lightning.pytorch.loggers import WandbLogger

    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger) and logger._wandb_init.get("anonymous", "") is None:
            del logger._wandb_init["anonymous"]
