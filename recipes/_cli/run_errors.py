"""What an error in a run means: an interruption, the weights of another net, or a fault in a constructor."""

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import Trainer

from recipes._cli.run_checkpoints import run_of

OTHER_WEIGHTS = "Error(s) in loading state_dict"
"""Start of torch's error about the weights of another net, whose type is just ``RuntimeError``."""


def interrupted_status(error: BaseException, trainer: Trainer | None) -> int | None:
    """Exit status of a run that Ctrl-C or SIGTERM has ended; ``None`` if the error has another cause.

    SIGTERM to a process group also kills the workers of the data loader, which raises an error in this process.
    """
    if trainer is not None and trainer.received_sigterm:
        return 128 + signal.SIGTERM
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    # after Ctrl-C Lightning saves its checkpoints and exits with 1
    return 128 + signal.SIGINT if isinstance(error, SystemExit) and trainer and trainer.interrupted else None


@contextmanager
def refuse_other_weights(checkpoint: Path | None) -> Iterator[None]:
    """Report a checkpoint of another net in one line, without the names of all its weights."""
    try:
        yield
    except RuntimeError as error:
        if checkpoint is None or not str(error).startswith(OTHER_WEIGHTS):
            raise
        _, first, *others = str(error).splitlines()
        run = run_of(checkpoint)
        raise ValueError(
            f"expected ckpt_path to contain the weights of the configured model, got those of another in {checkpoint} "
            f"({first.strip():.100}{f' ... and {len(others)} more' if others else ''})"
            + (f"; use -c {run / 'config.yaml'} to configure the model of that run" if run else "")
        ) from None


def constructor_error(error: BaseException) -> BaseException:
    """The error that a constructor raised, without the errors that the parser adds."""
    while error.__cause__ is not None and _raised_in(error).startswith("jsonargparse"):
        error = error.__cause__
    return error


def _raised_in(error: BaseException) -> str:
    *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
    return innermost.f_globals["__name__"]
