"""The one folder of a run: where it lies, how a resumed run goes on in it, and when it is not worth keeping."""

import csv
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from callbacks._checkpoint import read_checkpoint
from recipes._cli import last_checkpoint

_SAID_BEFORE_THE_START = {"config.yaml", "hparams.yaml"}


TAKEN = "LIGHTNING_EDGE_RUN"
"""Environment variable with the name of the folder that the first process took."""


class RunFolder:
    """Where all that a run writes lies: the folder of its ``CSVLogger``, or a new one where there is none.

    Args:
        trainer: Parsed arguments of the trainer; changed in place so that all output goes there.
        root: Where runs are numbered; by default ``trainer.default_root_dir``, else the logger's own choice.
        resumed: Checkpoint that the run goes on from; if it lies in the folder of a run, that folder is used again,
            unless it is outside of ``root``.
    """

    def __init__(self, trainer: Namespace, root: Path | None, resumed: Path | None) -> None:
        self._metrics: list[dict[str, str]] = []
        self.path: Path | None = None
        root = root or trainer.default_root_dir
        loggers = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
        table = next((logger for logger in loggers if _is_config_of(logger, CSVLogger)), None)
        if table is None:
            if root is None and trainer.logger in (False, []):
                root = Path("lightning_logs", time.strftime("nologger_%Y%m%d-%H%M%S"))
            trainer.default_root_dir = None if root is None else str(root)
            return
        if root is not None and not Path(table.init_args.save_dir).is_absolute():
            table.init_args.save_dir, table.init_args.name = str(root), ""
        earlier = None if resumed is None else run_of(resumed)
        if earlier is not None and resumed is not None and _is_within(earlier, root):
            self._metrics = _rows_before(earlier / "metrics.csv", resumed)
            table.init_args.save_dir, table.init_args.name = str(earlier.parent), ""
            table.init_args.version = earlier.name
        self.path, self._is_new = _take_folder(table)
        trainer.default_root_dir = str(self.path)
        for other in loggers:
            if _is_config_of(other, WandbLogger) and other.init_args.save_dir == ".":
                other.init_args.save_dir = str(self.path)

    @rank_zero_only
    def restore_metrics(self, trainer: Trainer) -> None:
        """Put back what the resumed run logged up to its checkpoint: Lightning's logger begins with an empty table."""
        for logger in trainer.loggers:
            if self._metrics and isinstance(logger, CSVLogger):
                logger.experiment.metrics = self._metrics  # pyright: ignore[reportAttributeAccessIssue]
                logger.save()

    @rank_zero_only
    def discard_if_unused(self) -> None:
        """Remove the folder if it is new and the run failed before it left anything but its configuration."""
        if self.path is None or not self._is_new or not self.path.exists():
            return
        files = [path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file()]
        if all(path.parts[0] == "wandb" or str(path) in _SAID_BEFORE_THE_START for path in files):
            shutil.rmtree(self.path)


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
        table.init_args.version = logger.version
        os.environ[TAKEN] = folder.name
        return folder, is_new


def check_checkpoint(path: Path, runs: Path) -> None:
    """Raise an error that a person understands if ``path`` is no whole checkpoint.

    Args:
        path: What was given as ``--ckpt_path``.
        runs: Where to look for one that may have been meant.
    """
    if not path.exists():
        newest = last_checkpoint(runs)
        hint = f"; the newest one there is in {runs} is {newest}" if newest else ""
        raise FileNotFoundError(f"expected ckpt_path to be a checkpoint, got {path}, which does not exist{hint}")
    with suppress(UnpicklingError):  # holds more than plain values: Lightning says what it makes of it
        if path.is_file():  # a sharded one is a folder
            read_checkpoint(path, "ckpt_path")


def run_of(checkpoint: Path) -> Path | None:
    """Folder of the recipe's run that wrote a checkpoint, if it was one."""
    return next((folder for folder in checkpoint.parents if (folder / "config.yaml").is_file()), None)


def _is_within(folder: Path, root: Path | str | None) -> bool:
    return root is None or folder.resolve().is_relative_to(Path(root).resolve())


def _rows_before(table: Path, checkpoint: Path) -> list[dict[str, str]]:
    if not table.is_file():
        return []
    num_steps = read_checkpoint(checkpoint, "ckpt_path")["global_step"]
    with table.open(newline="") as file:
        rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
    return [row for row in rows if int(row["step"]) < num_steps]


def _is_config_of(config: Any, kind: type) -> bool:
    return isinstance(config, Namespace) and config.get("class_path", "").rpartition(".")[2] == kind.__name__
