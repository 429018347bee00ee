"""Seeds of a series of runs."""

from collections.abc import Sequence


def seed_plans(num_seeds: int, overrides: Sequence[str]) -> dict[str, list[str]]:
    """Arguments of ``fit`` for each seed, by the name of its folder.

    Raises:
        ValueError: There is no seed.
    """
    if num_seeds < 1:
        raise ValueError(f"expected num_seeds of at least 1, got {num_seeds}")
    return {
        f"seed_{seed}": [*overrides, f"--seed_everything={seed}", f"--data.seed={seed}"] for seed in range(num_seeds)
    }
