"""What a sweep over batch sizes refuses before anything runs."""

import math

from recipes.batch_size_scaling._plan import RULES, Sweep, largest_divisor

_AT_LEAST_ONE = (
    "num_seeds",
    "micro_batch_size",
    "base_size",
    "max_examples",
    "every_n_examples",
    "num_samples",
    "eval_batch_size",
)

_OWN = (
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
"""Arguments that are the sweep's own; ``trainer.callbacks+`` adds to its callbacks."""


def check(sweep: Sweep) -> None:
    """Raise ``ValueError`` where an argument is out of range."""
    for name in _AT_LEAST_ONE:
        if getattr(sweep, name) < 1:
            raise ValueError(f"expected {name} of at least 1, got {getattr(sweep, name)}")
    if not sweep.sizes or min(sweep.sizes) < 1:
        raise ValueError(f"expected sizes from 1, got {sweep.sizes}")
    unknown = [rule for rule in sweep.rules if rule not in RULES]
    if unknown or not sweep.rules:
        raise ValueError(f"expected rules among {list(RULES)}, got {unknown or 'none'}")
    if "tuned" in sweep.rules and not sweep.settings("tuned", sweep.base_size):
        raise ValueError("expected tuned_lrs or other rules for the rule tuned, got none")
    if max(sweep.sizes) > sweep.max_examples:
        raise ValueError(f"expected sizes of at most max_examples ({sweep.max_examples}), got {max(sweep.sizes)}")
    if not sweep.fractions or not all(0 < fraction <= 1 for fraction in sweep.fractions):
        raise ValueError(f"expected fractions within (0, 1], got {sweep.fractions}")
    for name in ("sizes", "rules", "tuned_lrs", "fractions"):
        if len(set(getattr(sweep, name))) < len(getattr(sweep, name)):
            raise ValueError(f"expected {name} that differ, got {getattr(sweep, name)}")
    if not all(0 < rate < math.inf for rate in (sweep.base_lr, sweep.lars_lr, *sweep.tuned_lrs)):
        raise ValueError(
            f"expected base_lr, lars_lr and tuned_lrs above 0, got {sweep.base_lr}, {sweep.lars_lr} and "
            f"{sweep.tuned_lrs}"
        )
    if sweep.window < 1 or sweep.window % 2 == 0:
        raise ValueError(f"expected window to be odd, from 1, got {sweep.window}")
    if sweep.warmup_examples < 0 or (_warms_up(sweep) and sweep.warmup_examples >= sweep.max_examples):
        raise ValueError(
            f"expected warmup_examples from 0 to below max_examples ({sweep.max_examples}), got {sweep.warmup_examples}"
        )
    for size in sweep.sizes:
        micro = largest_divisor(size, sweep.micro_batch_size)
        if 2 * micro < min(size, sweep.micro_batch_size):
            raise ValueError(
                f"expected sizes above micro_batch_size ({sweep.micro_batch_size}) to be multiples of at least half of "
                f"it, got {size}, whose largest part is {micro}"
            )
    taken = [word for word in sweep.overrides if _is_own(word)]
    if taken:
        raise ValueError(f"expected overrides that leave {', '.join(_OWN)} to the sweep, got {taken}")


def _warms_up(sweep: Sweep) -> bool:
    """Whether any run has a warm-up: its rule asks for one, at a batch larger than the base."""
    settings = (sweep.settings(rule, size) for rule in sweep.rules for size in sweep.sizes)
    return any(setting.warms_up for alternatives in settings for setting in alternatives)


def _is_own(word: str) -> bool:
    name = word.partition("=")[0].lstrip("-").replace("init_args.", "")
    return any(name == own or name.startswith(f"{own}.") for own in _OWN)
