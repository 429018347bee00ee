"""Private interfaces of Lightning's logger for W&B, and of W&B.

``tests/upgrade/test_wandb_internals.py`` checks what each of them promises here.
"""

from collections.abc import MutableMapping
from typing import Any

from lightning.pytorch.loggers import WandbLogger


def start_arguments(logger: WandbLogger) -> MutableMapping[str, Any]:
    """The arguments with which a logger will call ``wandb.init``.

    A change has an effect until the run starts. No public method reads or changes them after the logger is created.
    """
    return logger._wandb_init


def is_set_offline(logger: WandbLogger) -> bool:
    """Whether a logger was created with ``offline=True``, which it does not say in public."""
    return logger._offline


def silence(run: Any) -> None:
    """Make a W&B run print nothing more. Its public settings are a copy, and those for all runs need a restart."""
    run._settings.silent = True
