"""The last lines of a run: its scores, its files, and the commands to run next."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from rich.console import Console

from callbacks._latency_report import is_latency
from lightning_edge.ops.names import key_of
from recipes._cli.data_summary import DataSummary
from recipes._cli.run_lock import LOCK

_STAGES = {"fit": "val", "validate": "val", "test": "test"}
_NO_RESULTS = ("wandb", LOCK)
_SERIES = re.compile(r".*_d\d+")
"""Scores by distance from the key frame. They are left out here, because a figure and metrics.csv show them."""


def closing_block(
    trainer: Trainer, command: str, command_line: str, own_commands: Sequence[str], checkpoint: Path | None
) -> str:
    """The last lines of a fit, a validation or a test.

    Args:
        trainer: The trainer, after the run.
        command: ``fit``, ``validate`` or ``test``.
        command_line: How the user called the recipe, such as ``python -m recipes.accel``.
        own_commands: Names of the recipe's commands that take a checkpoint or the folder of a run.
        checkpoint: The checkpoint that the run was given with ``--ckpt_path``, if any.
    """
    folder = Path(trainer.default_root_dir)
    lines = ["", *_scores(trainer, command)]
    if command == "fit":
        best, last = _best(trainer), _last(trainer)
        lines += [f"Best checkpoint: {_path(Path(path))} ({score})" for path, score in best]
        lines += [f"Last checkpoint: {_path(path)}" for path in last]
        checkpoint = next((Path(path) for path, _ in best), last[0] if last else None)
    outputs = sorted(
        f"{path.name}{'/' if path.is_dir() else ''}" for path in folder.glob("*") if path.name not in _NO_RESULTS
    )
    if outputs and not getattr(trainer, "fast_dev_run", False):
        lines.append(f"Folder: {_path(folder)} with {', '.join(outputs)}")
    if checkpoint is not None:
        lines += ["Next:", *_next(trainer, command, command_line, own_commands, checkpoint, folder)]
    return "\n".join(lines)


def print_closing_block(trainer: Trainer, *args: Any) -> None:
    """Print :func:`closing_block`, on the first process only."""
    if trainer.is_global_zero:
        Console(soft_wrap=True, highlight=False).print(closing_block(trainer, *args), markup=False)


def _scores(trainer: Trainer, command: str) -> Iterator[str]:
    stage = _STAGES[command]
    groups = {name.partition("/")[0] for name in trainer.callback_metrics}
    title = "Scores of the last validation" if command == "fit" else f"Scores on the {stage} data"
    has_scores = False
    for group in sorted(group for group in groups if group == stage or group.startswith(f"{stage}_")):
        scores = {
            name.removeprefix(f"{group}/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith(f"{group}/") and not is_latency(name) and not _SERIES.fullmatch(name)
        }
        if scores:
            has_scores = True
            loader = group.removeprefix(stage).removeprefix("_")
            yield f"{title}{f', {loader}' if loader else ''}:"
            yield from _lines(scores, group, trainer.lightning_module)
    if has_scores:
        names = getattr(getattr(trainer, "datamodule", None), "evaluation_names", ())
        has_own_keys = any("/dataloader_idx_" in name for name in trainer.callback_metrics)
        for name in (name for name in names if name and f"{stage}_{name}" not in groups and not has_own_keys):
            yield f"No scores, {name}: none were logged. Data without labels have none."
    else:
        yield "No validation ran, so there are no scores." if command == "fit" else "No score was logged."


def _lines(scores: dict[str, float], group: str, module: Any) -> Iterator[str]:
    """Lines of the scores of one loader, those of all classes or domains on one line."""
    parts = {"class": _names(getattr(module, "class_names", None), getattr(module, "num_classes", 0))}
    parts["domain"] = _names(getattr(module, "domain_names", None), 0)
    by_part: dict[tuple[str, str], dict[str, float]] = {}
    single: dict[str, float] = {}
    for key, value in scores.items():
        for kind, names in parts.items():
            if part := max((name for name in names if key.endswith(f"_{name}")), key=len, default=None):
                by_part.setdefault((key.removesuffix(f"_{part}"), kind), {})[part] = value
                break
        else:
            single[key] = value
    width = max(map(len, single), default=0) + len(group) + 3
    yield from (f"  {f'{group}/{key}':<{width}}{value:.4g}" for key, value in single.items())
    for (metric, kind), values in by_part.items():
        yield f"  {metric} by {kind}: {', '.join(f'{part} {value:.3f}' for part, value in values.items())}"


def _names(known: Sequence[str] | None, number: int) -> set[str]:
    """Names of classes or domains as they may occur in the keys of metrics."""
    names = [str(index) for index in range(number)] if known is None else list(known)
    return {*names, *map(key_of, names)} - {""}


def _best(trainer: Trainer) -> list[tuple[str, str]]:
    """The best checkpoint of each monitored score, and that score."""
    return [
        (callback.best_model_path, f"{callback.monitor} {float(callback.best_model_score):.4g}")
        for callback in _checkpoints(trainer)
        if callback.monitor is not None and callback.best_model_path and callback.best_model_score is not None
    ]


def _last(trainer: Trainer) -> list[Path]:
    paths = [
        callback.last_model_path or (callback.best_model_path if callback.monitor is None else "")
        for callback in _checkpoints(trainer)
    ]
    return [Path(path) for path in paths if path][:1]


def _checkpoints(trainer: Trainer) -> list[ModelCheckpoint]:
    return [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]


def _next(
    trainer: Trainer, command: str, command_line: str, own_commands: Sequence[str], checkpoint: Path, folder: Path
) -> Iterator[str]:
    config = next((path for path in (folder / "config.yaml",) if path.is_file()), None)
    same = f"{f'-c {_path(config)} ' if config else ''}--ckpt_path={_path(checkpoint)}"
    size = next(
        (callback.size for callback in trainer.callbacks if isinstance(callback, DataSummary)),  # pyright: ignore
        None,
    )
    if command != "test":
        yield f"  {command_line} test {same}"
    of_size = f" --data.size=[{size[0]},{size[1]}]" if size else ""
    yield f"  {command_line} predict {same} --data=FramesDataModule --data.source=FOLDER_OR_VIDEO{of_size}"
    yield from (f"  {command_line} {name} {same}" for name in own_commands if name == "export")
    if "choose" in own_commands and (folder / "tradeoff.csv").is_file():
        yield f"  {command_line} choose --run={_path(folder)} --budget_ms=15"


def _path(path: Path) -> Path:
    """The path relative to the current folder where possible, because that is shorter to type."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
