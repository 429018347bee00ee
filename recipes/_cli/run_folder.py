"""The folder of a run: how it is chosen, how a resumed run continues in it, and when it is removed.

Why the folder is not simply named on the command line: a user should not have to invent a name for each run, and
the number of the folder is known only when it has been created. Of two runs that start at once, the one that creates
``version_3`` has it, and the other one tries the next. Lightning starts the other processes of a run with the command
line of the first one, which does not have the number, so an environment variable passes it on.
"""

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

_WRITTEN_BEFORE_THE_START = {"config.yaml", "hparams.yaml", LOCK}

TAKEN = "LIGHTNING_EDGE_RUN"
"""Environment variable with the name of the folder that the first process chose."""


class RunFolder:
    """The folder for all files of a run: that of its ``CSVLogger``, or a new one if it has no such logger.

    The folder is locked by this process until ``release``.

    Args:
        trainer: Parsed arguments of the trainer. They are changed in place so that all output goes to the folder.
        recipe: Name of the recipe. It is the parent folder of the numbered runs, unless the logger has its own name.
        root: Parent folder of the numbered runs; by default ``trainer.default_root_dir``, else that of the logger.
        resumed: Checkpoint that the run resumes from. If it is inside the folder of a run, that folder is used again,
            unless it is outside of ``root``.
        trains: Whether the command writes checkpoints.

    Raises:
        ValueError: Another process is already running in the folder.
        OSError: The folder is not writable.
    """

    def __init__(
        self, trainer: Namespace, recipe: str, root: Path | None, resumed: Path | None, trains: bool = True
    ) -> None:
        self._lock: RunLock | None = None
        self._resumes = False
        self.path: Path | None = None
        self._unlogged: Path | None = None
        is_locked_by_caller = root is not None  # the caller who chose the folder has locked it
        root = root or trainer.default_root_dir
        loggers = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
        table = next((logger for logger in loggers if _is_config_of(logger, CSVLogger)), None)
        if table is None:
            if root is not None and trains and not is_locked_by_caller:
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
            self._resumes = True
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
        """Restore the rows up to the checkpoint, because Lightning's logger starts with an empty table.

        Args:
            trainer: The trainer.
            checkpoint: Content of the checkpoint. If it has no ``global_step``, all rows are kept.
        """
        if self.path is None or not self._resumes:
            return
        rows = with_its_row(rows_before(self.path, checkpoint.get("global_step")), checkpoint)
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):
                put_back(rows, logger)

    def release(self) -> None:
        """Unlock the folder."""
        if self._lock is not None:
            self._lock.release()

    @property
    def is_unused(self) -> bool:
        """Whether the folder is new and contains no files except its configuration and those of W&B."""
        return self._unused() is not None

    @rank_zero_only
    def discard_if_unused(self) -> None:
        """Remove the folder if it is unused."""
        if (folder := self._unused()) is not None:
            shutil.rmtree(folder)

    def _unused(self) -> Path | None:
        folder = self._unlogged if self.path is None else self.path if self._is_new else None
        if folder is None or not folder.exists():
            return None
        files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
        is_unused = all(path.parts[0] == "wandb" or str(path) in _WRITTEN_BEFORE_THE_START for path in files)
        return folder if is_unused else None


def _take_folder(table: Namespace) -> tuple[Path, bool]:
    """Set the version of a configured ``CSVLogger``; return its folder and whether that is new.

    A new folder is created at once, so that another run that starts meanwhile takes the next number. Processes that
    Lightning starts for this run inherit its number.
    """
    if inherited := _inherited_name():
        table.init_args.version = inherited
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
    """A unique folder for a run without a logger. If the run writes checkpoints, the folder is created at once."""
    if inherited := _inherited_name():
        return Path("lightning_logs", inherited)
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


def _inherited_name() -> str | None:
    """Name of the folder that the first process of this run chose; ``None`` in the first process itself."""
    is_first = rank_zero_only(lambda: True, default=False)()
    return None if is_first else os.environ.get(TAKEN)


def _is_within(folder: Path, root: Path | str | None) -> bool:
    return root is None or folder.resolve().is_relative_to(Path(root).resolve())


def _is_config_of(config: Any, kind: type) -> bool:
    return isinstance(config, Namespace) and config.get("class_path", "").rpartition(".")[2] == kind.__name__
