"""The one folder of a run: where it lies, how a resumed run goes on in it, and when it is not worth keeping."""

import os
import shutil
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from recipes._cli.logged_metrics import with_its_row
from recipes._cli.metrics_table import put_back, rows_before
from recipes._cli.run_checkpoints import run_of
from recipes._cli.run_lock import LOCK, RunLock, unwritable

_SAID_BEFORE_THE_START = {"config.yaml", "hparams.yaml", LOCK}


TAKEN = "LIGHTNING_EDGE_RUN"
"""Environment variable with the name of the folder that the first process took."""


class RunFolder:
    """Where all that a run writes lies: the folder of its ``CSVLogger``, or a new one where there is none.

    The folder belongs to this process until ``release``.

    Args:
        trainer: Parsed arguments of the trainer; changed in place so that all output goes there.
        recipe: Name of the recipe, which its runs are numbered below unless the logger has a name of its own.
        root: Where runs are numbered; by default ``trainer.default_root_dir``, else the logger's own choice.
        resumed: Checkpoint that the run goes on from; if it lies in the folder of a run, that folder is used again,
            unless it is outside of ``root``.
        trains: Whether the command writes checkpoints.

    Raises:
        ValueError: Another process is at work in the folder.
        OSError: The folder cannot be written to.
    """

    def __init__(
        self, trainer: Namespace, recipe: str, root: Path | None, resumed: Path | None, trains: bool = True
    ) -> None:
        self._lock: RunLock | None = None
        self._goes_on = False
        self.path: Path | None = None
        self._unlogged: Path | None = None
        is_alone = root is not None  # who gives it holds it
        root = root or trainer.default_root_dir
        loggers = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
        table = next((logger for logger in loggers if _is_config_of(logger, CSVLogger)), None)
        if table is None:
            if root is not None and trains and not is_alone:
                self._lock = RunLock(Path(root))
            if root is None and trainer.logger in (False, []):
                root = self._unlogged = _take_dated_folder(trains)
            trainer.default_root_dir = None if root is None else str(root)
            return
        if table.init_args.name is None:
            table.init_args.name = recipe
        if root is not None and not Path(table.init_args.save_dir).is_absolute():
            table.init_args.save_dir, table.init_args.name = str(root), ""
        earlier = None if resumed is None else run_of(resumed)
        if earlier is not None and _is_within(earlier, root):
            self._goes_on = True
            table.init_args.save_dir, table.init_args.name = str(earlier.parent), ""
            table.init_args.version = earlier.name
        self.path, self._is_new = _take_folder(table)
        self._lock = RunLock(self.path)
        trainer.default_root_dir = str(self.path)
        for other in loggers:
            if _is_config_of(other, WandbLogger) and other.init_args.save_dir == ".":
                other.init_args.save_dir = str(self.path)

    @rank_zero_only
    def restore_metrics(self, trainer: Trainer, checkpoint: Mapping[str, Any]) -> None:
        """Put back what the resumed run logged up to its checkpoint: Lightning's logger begins with an empty table.

        Args:
            trainer: The trainer.
            checkpoint: Content of the checkpoint; one that does not say its step keeps all rows.
        """
        if self.path is None or not self._goes_on:
            return
        rows = with_its_row(rows_before(self.path, checkpoint.get("global_step")), checkpoint)
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):
                put_back(rows, logger)

    def release(self) -> None:
        """Leave the folder to other processes."""
        if self._lock is not None:
            self._lock.release()

    @rank_zero_only
    def discard_if_unused(self) -> None:
        """Remove the folder if it is new and the run failed before it left anything but its configuration."""
        folder = self._unlogged if self.path is None else self.path if self._is_new else None
        if folder is None or not folder.exists():
            return
        files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
        if all(path.parts[0] == "wandb" or str(path) in _SAID_BEFORE_THE_START for path in files):
            shutil.rmtree(folder)


def _take_folder(table: Namespace) -> tuple[Path, bool]:
    """The folder of a configured ``CSVLogger``, whose version is set, and whether it is new.

    A new one is made at once, so that another run that starts meanwhile counts on. Processes that Lightning starts for
    this run inherit its number.
    """
    if not rank_zero_only(lambda: True, default=False)() and TAKEN in os.environ:
        table.init_args.version = os.environ[TAKEN]
    is_numbered = table.init_args.version is None
    while True:
        logger = CSVLogger(**table.init_args.as_dict())
        folder = Path(logger.log_dir)
        is_new = not folder.exists()
        if is_new:
            try:
                rank_zero_only(folder.mkdir)(parents=True)
            except FileExistsError:
                if is_numbered:
                    continue
                is_new = False
            except OSError as error:
                raise unwritable(folder, error) from error
        table.init_args.version = logger.version
        os.environ[TAKEN] = folder.name
        return folder, is_new


def _take_dated_folder(trains: bool) -> Path:
    """A folder that no other run without a logger has; it is made at once for a run that writes checkpoints."""
    if not rank_zero_only(lambda: True, default=False)() and TAKEN in os.environ:
        return Path("lightning_logs", os.environ[TAKEN])
    first = folder = Path("lightning_logs", time.strftime("nologger_%Y%m%d-%H%M%S"))
    for number in count(1):
        try:
            if trains:
                folder.mkdir(parents=True)
            elif folder.exists():
                raise FileExistsError
        except FileExistsError:
            folder = first.with_name(f"{first.name}_{number}")
        except OSError as error:
            raise unwritable(folder, error) from error
        else:
            break
    os.environ[TAKEN] = folder.name
    return folder


def _is_within(folder: Path, root: Path | str | None) -> bool:
    return root is None or folder.resolve().is_relative_to(Path(root).resolve())


def _is_config_of(config: Any, kind: type) -> bool:
    return isinstance(config, Namespace) and config.get("class_path", "").rpartition(".")[2] == kind.__name__
