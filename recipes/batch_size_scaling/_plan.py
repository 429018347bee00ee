"""The runs of a sweep over batch sizes, and their folders."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from recipes._experiments.jobs import Job
from recipes.batch_size_scaling._grid import Grid, largest_divisor

_SET_BY_SWEEP = (
    "seed_everything",
    "data.batch_size",
    "data.seed",
    "data.train_fraction",
    "model.optimizer.lr",
    "model.schedule",
    "trainer.accumulate_grad_batches",
    "trainer.max_steps",
    "trainer.max_epochs",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.callbacks",
)
"""Options that the sweep sets; ``trainer.callbacks+`` adds to its callbacks."""

_NUM_CHECKPOINTS = 20
_MEASURED_STEPS = 10
"""Largest number of steps between two measurements of the gradient noise."""
_AVERAGED_EVALUATIONS = 4
"""Number of evaluation intervals over which the gradient noise is averaged."""


class Setting(NamedTuple):
    """The learning rate of a run, and whether it has a warm-up and LARS."""

    learning_rate: float
    warms_up: bool = False
    by_lars: bool = False

    def __str__(self) -> str:
        return f"{'lars_' if self.by_lars else ''}lr_{self.learning_rate:.4g}{'_warmup' if self.warms_up else ''}"


class PlannedRun(NamedTuple):
    """One run of a sweep."""

    fraction: float
    size: int
    setting: Setting
    seed: int

    @property
    def path(self) -> Path:
        """Path of its folder in the sweep's folder."""
        return Path(f"fraction_{self.fraction:g}", f"size_{self.size}", str(self.setting), f"seed_{self.seed}")

    def __str__(self) -> str:
        share = "" if self.fraction == 1 else f", {self.fraction:.0%} of the data"
        return f"batch size {self.size}, {str(self.setting).replace('_', ' ')}, seed {self.seed}{share}"


@dataclass(frozen=True, kw_only=True)
class Sweep(Grid):
    """The runs of a recipe over a grid.

    Args:
        recipe: Name of the recipe.
        fit_arguments: Arguments of all trainings of the recipe.
        base_size: Batch size of the base.
        base_lr: Learning rate at the base.
        weight_decay: Weight decay of the recipe's optimizer, which LARS uses too.

    Raises:
        ValueError: A value is out of range, or ``fit_arguments`` has an option that the sweep sets.
    """

    recipe: str
    fit_arguments: tuple[str, ...] = ()
    base_size: int  # pyright: ignore[reportGeneralTypeIssues]
    base_lr: float  # pyright: ignore[reportGeneralTypeIssues]
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [rule for rule in self.lr_rules if rule not in RULES]:
            raise ValueError(f"expected lr_rules among {list(RULES)}, got {unknown}")
        if "tuned" in self.lr_rules and not self.settings("tuned", self.base_size):
            raise ValueError("expected tuned_lrs or other lr_rules for the rule tuned, got none")
        warms_up = any(run.setting.warms_up for run in self.runs())
        if warms_up and self.warmup_examples >= self.max_examples:
            raise ValueError(
                f"expected warmup_examples below max_examples ({self.max_examples}), got {self.warmup_examples}"
            )
        if conflicts := [word for word in self.fit_arguments if _is_set_by_sweep(word)]:
            raise ValueError(
                f"expected options other than {', '.join(_SET_BY_SWEEP)}, which the sweep sets, got {conflicts}"
            )

    def settings(self, rule: str, size: int) -> list[Setting]:
        """The settings of a rule at a batch size. The rule ``tuned`` has several."""
        return RULES[rule](self, size / self.base_size)

    def runs(self) -> list[PlannedRun]:
        """All runs, each once even if rules share it. Large batches of few data come first, as they may fail."""
        runs = {
            PlannedRun(fraction, size, setting, seed)
            for fraction in self.fractions
            for size in self.sizes
            for rule in self.lr_rules
            for setting in self.settings(rule, size)
            for seed in range(self.num_seeds)
        }
        return sorted(runs, key=lambda run: (run.seed, -run.size, run.fraction, run.setting))

    def job(self, run: PlannedRun, folder: Path) -> Job:
        """The run as arguments of its recipe."""
        return Job(self.recipe, tuple(self._arguments(run)), folder / run.path)

    def _arguments(self, run: PlannedRun) -> Iterator[str]:
        # later arguments override earlier ones, so the sweep's own come last
        further = [word for word in self.fit_arguments if word.startswith("--trainer.callbacks+")]
        yield from (word for word in self.fit_arguments if word not in further)
        micro = largest_divisor(run.size, self.micro_batch_size)
        yield f"--data.batch_size={micro}"
        yield f"--trainer.accumulate_grad_batches={run.size // micro}"
        yield from (f"--seed_everything={run.seed}", f"--data.seed={run.seed}")
        if run.fraction != 1:
            yield f"--data.train_fraction={run.fraction:g}"
        yield from self._learning(run)
        yield from ("--trainer.max_epochs=-1", f"--trainer.max_steps={math.ceil(self.max_examples / run.size)}")
        yield "--trainer.devices=1"  # several devices would multiply the batch size
        yield from ("--trainer.limit_val_batches=0", "--trainer.num_sanity_val_steps=0")
        yield from ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")
        yield f"--trainer.callbacks={json.dumps(self._callbacks(run))}"
        yield from further

    def _learning(self, run: PlannedRun) -> Iterator[str]:
        if run.setting.by_lars:
            yield from ("--model.optimizer=timm.optim.Lars", "--model.optimizer.momentum=0.9")
            yield f"--model.optimizer.weight_decay={self.weight_decay:g}"
        yield f"--model.optimizer.lr={run.setting.learning_rate:.6g}"
        warmup = self.warmup_examples / self.max_examples if run.setting.warms_up else 0
        yield from ("--model.schedule=lightning_edge.methods.PolynomialDecay", "--model.schedule.power=0")
        yield f"--model.schedule.warmup={warmup:.6g}"

    def _callbacks(self, run: PlannedRun) -> list[dict[str, Any]]:
        scaling = {
            "target": self.target,
            "split": self.split,
            "num_samples": self.num_samples,
            "every_n_examples": self.every_n_examples,
            "window": self.window,
            "linear_error_every": 4,
            "eval_batch_size": self.eval_batch_size,
        }
        # by steps, because a checkpoint between accumulated batches would lose the earlier ones
        every = math.ceil(self.max_examples / run.size / _NUM_CHECKPOINTS)
        last = {"filename": "last", "every_n_train_steps": every, "enable_version_counter": False}
        return [
            {"class_path": "callbacks.BatchSizeScaling", "init_args": scaling},
            *self._noise(run),
            {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": last},
        ]

    def _noise(self, run: PlannedRun) -> list[dict[str, Any]]:
        """The callback for gradient noise, averaged over the same number of examples at every batch size."""
        if run.size == 1:
            return []  # the measurement splits a batch into parts
        every = max(1, min(_MEASURED_STEPS, self.every_n_examples // (2 * run.size)))
        decay = math.exp(-every * run.size / (_AVERAGED_EVALUATIONS * self.every_n_examples))
        return [
            {
                "class_path": "callbacks.GradientNoiseScale",
                "init_args": {"every_n_steps": every, "decay": round(decay, 6)},
            }
        ]


def _fixed(sweep: Sweep, ratio: float) -> list[Setting]:
    del ratio
    return [Setting(sweep.base_lr)]


def _linear(sweep: Sweep, ratio: float) -> list[Setting]:
    return [Setting(sweep.base_lr * ratio, warms_up=ratio > 1)]


def _square_root(sweep: Sweep, ratio: float) -> list[Setting]:
    return [Setting(sweep.base_lr * math.sqrt(ratio))]


def _lars(sweep: Sweep, ratio: float) -> list[Setting]:
    return [Setting(sweep.lars_lr * ratio, warms_up=ratio > 1, by_lars=True)]


def _tuned(sweep: Sweep, ratio: float) -> list[Setting]:
    others = [
        setting for rule in sweep.lr_rules if rule not in ("tuned", "lars") for setting in RULES[rule](sweep, ratio)
    ]
    return list(dict.fromkeys([*others, *map(Setting, sweep.tuned_lrs)]))


RULES: Mapping[str, Callable[[Sweep, float], list[Setting]]] = {
    "fixed": _fixed,
    "linear": _linear,
    "sqrt": _square_root,
    "lars": _lars,
    "tuned": _tuned,
}
"""Settings for a batch that is ``ratio`` times as large as the base."""


def _is_set_by_sweep(word: str) -> bool:
    name = word.partition("=")[0].lstrip("-").replace("init_args.", "")
    return any(name == own or name.startswith(f"{own}.") for own in _SET_BY_SWEEP)


def one_of_each_kind(sweep: Sweep) -> list[PlannedRun]:
    """A few runs that together use every argument that a recipe may lack. The largest batch comes first."""
    kinds = {(run.fraction != 1, run.setting.by_lars, run.setting.warms_up): run for run in reversed(sweep.runs())}
    return list(reversed(kinds.values()))


def base_of(config: Mapping[str, Any]) -> tuple[int | None, float | None, float]:
    """Batch size, learning rate and weight decay in a recipe's configuration, as far as it has them."""
    size = config.get("data", {}).get("init_args", {}).get("batch_size")
    optimizer = config.get("model", {}).get("init_args", {}).get("optimizer", {})
    arguments = optimizer.get("init_args", {}) if isinstance(optimizer, Mapping) else {}
    return size, arguments.get("lr"), arguments.get("weight_decay") or 0.0


def in_words(sweep: Sweep) -> str:
    """Description of a sweep in one line."""
    least, largest = min(sweep.sizes), max(sweep.sizes)
    sizes = f"batch size {least}" if least == largest else f"batch sizes {least} to {largest}"
    num_runs = len(sweep.runs())
    shares = (
        "" if sweep.fractions == (1.0,) else f", {', '.join(f'{share:.0%}' for share in sweep.fractions)} of the data"
    )
    return (
        f"{num_runs} run{'s' if num_runs > 1 else ''} of {sweep.recipe}: {sizes}, "
        f"{', '.join(sweep.lr_rules)}, {sweep.num_seeds} seed{'s' if sweep.num_seeds > 1 else ''}{shares}"
    )
