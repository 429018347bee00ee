"""Weights & Biases, which never stops a run: without an account or a network it logs offline, or not at all.

If W&B fails during a run, one warning is shown and the run continues without it.
"""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from ssl import SSLError
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn

from recipes._cli.wandb_environment import wandb_server
from recipes._cli.wandb_internals import is_set_offline, silence, start_arguments

MAX_WAIT_S = 8.0
"""How long a run waits for W&B's server before it logs offline."""

_WITHOUT_SERVER = ("offline", "disabled", "dryrun")
_NO_SERVER = (502, 503, 504)
"""Status codes of a proxy that cannot reach the server."""
_USED_IN_A_RUN = ("log_metrics", "log_hyperparams", "log_table", "log_text", "log_image", "log_audio", "log_video",
                  "watch", "after_save_checkpoint", "save", "finalize")  # fmt: skip
"""Methods of W&B's logger that the trainer and the callbacks call."""


class RunLabels(NamedTuple):
    """Default labels of a run in W&B."""

    recipe: str
    command: str
    method: str
    """Class of the LightningModule."""
    data: str
    """Class of the data module."""
    seed: int | None


def start_wandb(trainer: Trainer, labels: RunLabels) -> None:
    """Start W&B if a trainer logs to it: offline if the server does not answer, and not at all if that fails too.

    ``predict`` logs nothing, so it does not start W&B.
    """
    if not rank_zero_only(lambda: True, default=False)():
        return
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            _label(logger, labels)
    trainer.loggers = [
        logger
        for logger in trainer.loggers
        if not isinstance(logger, WandbLogger) or (labels.command != "predict" and _starts(logger))
    ]
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            _summarize_best(logger, trainer)
            _catch_errors(logger)


def _label(logger: WandbLogger, labels: RunLabels) -> None:
    """Set name, group, job type and tags, unless the configuration does."""
    data = labels.data.removesuffix("DataModule")
    seed = "" if labels.seed is None else f" seed {labels.seed}"
    defaults = {
        "name": f"{labels.recipe} {data}{seed}",
        "group": os.environ.get("WANDB_RUN_GROUP") or labels.recipe,
        "job_type": labels.command,
        "tags": [labels.recipe, labels.method, data],
    }
    arguments = start_arguments(logger)
    arguments.update({key: value for key, value in defaults.items() if arguments.get(key) is None})


def _summarize_best(logger: WandbLogger, trainer: Trainer) -> None:
    """Show the best value of each monitored score in the summary of a run, not the last one."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
            logger.experiment.define_metric(callback.monitor, summary=callback.mode)


def _starts(logger: WandbLogger) -> bool:
    """Start W&B for this logger, perhaps offline; return whether that worked."""
    why = _why_unreachable() if _wants_server(logger) else None
    if why is None:
        why = _why_not_started(logger)
        if why is None:
            return True
    if _wants_server(logger):
        rank_zero_warn(f"W&B logs offline because {wandb_server()} cannot be used: {why}")
        os.environ["WANDB_MODE"] = "offline"  # so that later runs of this process do not wait again
        os.environ.setdefault("WANDB_SILENT", "true")
        start_arguments(logger)["mode"] = "offline"
        why = _why_not_started(logger)
        if why is None:
            return True
    rank_zero_warn(f"W&B does not start, so this run does not use it: {why}")
    return False


def _catch_errors(logger: WandbLogger) -> None:
    """Silence a logger after its first error during a run, such as the end of W&B's process."""
    errors: list[Exception] = []
    run: Any = logger.experiment
    for owner, name in ((run, "log"), *((logger, name) for name in _USED_IN_A_RUN)):
        setattr(owner, name, _Attempt(getattr(owner, name), errors))


class _Attempt:
    """A call that never raises. After a failure, all calls with the same list of errors do nothing."""

    def __init__(self, call: Callable[..., Any], errors: list[Exception]) -> None:
        self._call, self._errors = call, errors

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._errors:
            return None
        try:
            return self._call(*args, **kwargs)
        except Exception as error:
            self._errors.append(error)
            rank_zero_warn(f"W&B failed, so the run continues without it: {_in_a_line(error)}")


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _wants_server(logger: WandbLogger) -> bool:
    mode = start_arguments(logger).get("mode") or os.environ.get("WANDB_MODE", "online")
    return not is_set_offline(logger) and mode not in _WITHOUT_SERVER


def _why_not_started(logger: WandbLogger) -> str | None:
    try:
        _ = logger.experiment
    except Exception as error:  # any error, because a run does not need W&B
        return _in_a_line(error)
    return None


def _why_unreachable() -> str | None:
    """Why W&B's server does not answer in time; ``None`` if it does. Proxies of the environment are used."""
    answer: list[str | None] = [f"no answer within {MAX_WAIT_S:.0f} s"]

    def ask() -> None:
        try:
            with urlopen(wandb_server(), timeout=MAX_WAIT_S):
                answer[0] = None
        except HTTPError as error:
            answer[0] = str(error) if error.code in _NO_SERVER else None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            # the server answers with a certificate that Python does not know, but W&B may know it
            answer[0] = None if isinstance(reason, SSLError) else str(reason)

    # a thread, because looking up a host name has no time limit
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(MAX_WAIT_S)
    return answer[0]


def finish_wandb(trainer: Trainer | None, is_kept: bool = True) -> None:
    """End the W&B run, because the next run in this process would continue it.

    Args:
        trainer: The trainer of the run, if there is one.
        is_kept: Whether the run's folder is kept, so that an offline run can be uploaded later.
    """
    wandb = sys.modules.get("wandb")
    if not (trainer and wandb and wandb.run and any(isinstance(logger, WandbLogger) for logger in trainer.loggers)):
        return
    if is_kept and wandb.run.offline and (trainer.global_step > 0 or trainer.state.finished):
        rank_zero_info(how_to_sync(wandb.run))
    try:
        if not is_kept:
            silence(wandb.run)  # W&B's own last lines would advise to upload the run
        wandb.finish()
    except Exception as error:
        rank_zero_warn(f"W&B did not end properly: {_in_a_line(error)}")
        with suppress(Exception):
            wandb.teardown()  # otherwise it fails again when the process ends


def how_to_sync(run: Any) -> str:
    """How to upload a run that was logged offline."""
    folder = Path(run.dir).parent
    return f"W&B logged offline. To upload the run, call `wandb login` and then `wandb sync {folder}`."


def leave_anonymous_unset(trainer: Trainer) -> None:
    """Remove an argument that Lightning's logger always passes and W&B warns about."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger) and start_arguments(logger).get("anonymous", "") is None:
            del start_arguments(logger)["anonymous"]
