"""Weights & Biases, which never stops a run: without an account or a network it logs offline, else not at all.

What fails while a run is at work is told once, and the run goes on without it.

Nothing heavy is imported: the command line asks for credentials before anything else.
"""

import netrc
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import WandbLogger

MAX_WAIT_S = 8.0
"""How long a run waits for an answer of W&B's server before it logs offline."""

_MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")
_WITHOUT_SERVER = ("offline", "disabled", "dryrun")
_NO_SERVER = (502, 503, 504)
"""What a proxy answers for a server that it does not reach."""
_USED_IN_A_RUN = ("log_metrics", "log_hyperparams", "log_table", "log_text", "log_image", "log_audio", "log_video",
                  "watch", "after_save_checkpoint", "save", "finalize")  # fmt: skip
"""Methods of W&B's logger that trainer and callbacks call."""


def prepare_wandb() -> None:
    """Log offline without an account, and take back variables of the environment that W&B would stumble over."""
    mode = os.environ.get("WANDB_MODE", "")
    if mode not in _MODES:
        if mode.strip():
            sys.stderr.write(f"WANDB_MODE is none of {', '.join(_MODES)}, but {mode!r}: it is not used.\n")
        os.environ.pop("WANDB_MODE", None)
    if not os.environ.get("WANDB_API_KEY", "").strip():
        os.environ.pop("WANDB_API_KEY", None)
    if "WANDB_MODE" not in os.environ and not has_wandb_credentials():
        os.environ["WANDB_MODE"] = "offline"
        # wandb would say a dozen lines; finish_wandb says the one that matters
        os.environ.setdefault("WANDB_SILENT", "true")


def has_wandb_credentials() -> bool:
    """Whether W&B knows an account here; a file that cannot be read has none."""
    if os.environ.get("WANDB_API_KEY", "").strip():
        return True
    host = urlparse(_server()).hostname or ""
    for name in (os.environ.get("NETRC"), "~/.netrc", "~/_netrc"):
        try:
            path = Path(name or "").expanduser()
            if path.is_file():
                account = netrc.netrc(path).authenticators(host)
                return account is not None and bool(account[2])
        except (OSError, ValueError, RuntimeError, netrc.NetrcParseError):  # no rights, no text, no home folder
            continue
    return False


def start_wandb(trainer: "Trainer") -> None:
    """Start W&B where a trainer logs to it: offline where its server does not answer, else the run goes without it."""
    from lightning.pytorch.loggers import WandbLogger
    from lightning.pytorch.utilities import rank_zero_only

    if rank_zero_only(lambda: True, default=False)():
        trainer.loggers = [
            logger for logger in trainer.loggers if not isinstance(logger, WandbLogger) or _starts(logger)
        ]
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _let_no_error_pass(logger)


def _starts(logger: "WandbLogger") -> bool:
    """Whether W&B runs for this logger, perhaps offline."""
    from lightning.pytorch.utilities import rank_zero_warn

    why = _why_unreachable() if _wants_server(logger) else None
    if why is None:
        why = _why_not_started(logger)
        if why is None:
            return True
    if _wants_server(logger):
        rank_zero_warn(f"W&B logs offline, for {_server()} cannot be used: {why}")
        os.environ["WANDB_MODE"] = "offline"  # so that later runs of this process do not wait again
        os.environ.setdefault("WANDB_SILENT", "true")
        logger._wandb_init["mode"] = "offline"
        why = _why_not_started(logger)
        if why is None:
            return True
    rank_zero_warn(f"this run goes without W&B, which does not start: {why}")
    return False


def _let_no_error_pass(logger: "WandbLogger") -> None:
    """Have a logger fall silent in place of raising what goes wrong within a run, such as the end of W&B's process."""
    errors: list[Exception] = []
    run: Any = logger.experiment
    for owner, name in ((run, "log"), *((logger, name) for name in _USED_IN_A_RUN)):
        setattr(owner, name, _Attempt(getattr(owner, name), errors))


class _Attempt:
    """A call that raises no error, and does nothing once it or one with the same list of errors has failed."""

    def __init__(self, call: Callable[..., Any], errors: list[Exception]) -> None:
        self._call, self._errors = call, errors

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from lightning.pytorch.utilities import rank_zero_warn

        if self._errors:
            return None
        try:
            return self._call(*args, **kwargs)
        except Exception as error:
            self._errors.append(error)
            rank_zero_warn(f"the run goes on without W&B, which failed: {_in_a_line(error)}")


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _wants_server(logger: "WandbLogger") -> bool:
    mode = logger._wandb_init.get("mode") or os.environ.get("WANDB_MODE", "online")
    return not logger._offline and mode not in _WITHOUT_SERVER


def _why_not_started(logger: "WandbLogger") -> str | None:
    try:
        _ = logger.experiment
    except Exception as error:  # whatever it is: a run does not need W&B
        return _in_a_line(error)
    return None


def _why_unreachable() -> str | None:
    """Why W&B's server gives no answer in time; ``None`` if it gives any. Proxies of the environment are used."""
    from ssl import SSLError
    from urllib.error import HTTPError
    from urllib.request import urlopen

    answer: list[str | None] = [f"no answer within {MAX_WAIT_S:.0f} s"]

    def ask() -> None:
        try:
            with urlopen(_server(), timeout=MAX_WAIT_S):
                answer[0] = None
        except HTTPError as error:
            answer[0] = str(error) if error.code in _NO_SERVER else None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            # a server whose certificate Python does not know is there; W&B may know it
            answer[0] = None if isinstance(reason, SSLError) else str(reason)

    # names are looked up without a time limit, hence the thread
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(MAX_WAIT_S)
    return answer[0]


def _server() -> str:
    return os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"


def finish_wandb(trainer: "Trainer | None") -> None:
    """End the W&B run, for the next run in this process would go on with it."""
    from lightning.pytorch.loggers import WandbLogger
    from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

    wandb = sys.modules.get("wandb")
    if not (trainer and wandb and wandb.run and any(isinstance(logger, WandbLogger) for logger in trainer.loggers)):
        return
    if wandb.run.offline and (trainer.global_step > 0 or trainer.state.finished):
        rank_zero_info(how_to_sync(wandb.run))
    try:
        wandb.finish()
    except Exception as error:
        rank_zero_warn(f"W&B did not end as it should: {_in_a_line(error)}")
        with suppress(Exception):
            wandb.teardown()  # or it fails once more when the process ends


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
