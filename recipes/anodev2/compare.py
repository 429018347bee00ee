"""The command that compares coupled equations with the nets that they extend."""

import json
from pathlib import Path
from typing import Any

from recipes._experiments.comparison import compare_classifiers
from recipes._experiments.jobs import Backend
from recipes._experiments.study import Variant, choose_variants


def _variant(baseline: str | None = None, **settings: Any) -> Variant:
    return Variant((f"--model.net.init_args.model_options={json.dumps(settings)}",), baseline=baseline)


_ADJOINT = {"num_steps": 2, "gradient": "continuous_adjoint"}
_COUPLED = {"num_steps": 2, "weight_steps": 10}
VARIANTS = {
    "baseline": _variant(num_steps=1),
    "neural_ode": _variant("baseline", **_ADJOINT),
    "neural_ode_t": _variant("baseline", **_ADJOINT, time_channel=True),
    "anode": _variant("baseline", num_steps=2),
    "anodev2_1": _variant("baseline", **_COUPLED),
    "anodev2_2": _variant("baseline", num_steps=1, weight_steps=10, weights_first=True),
    "neural_ode_by_time": _variant("baseline", **_ADJOINT, norm_by_time=True),
    "anode_by_time": _variant("baseline", num_steps=2, norm_by_time=True),
    "anodev2_1_by_time": _variant("baseline", **_COUPLED, norm_by_time=True),
}


def compare(
    folder: Path = Path("runs/anodev2_comparison"),
    num_seeds: int = 5,
    variants: tuple[str, ...] = tuple(VARIANTS),
    backend: Backend = "process",
    fit_arguments: tuple[str, ...] = (),
) -> dict[str, float]:
    """Train one net with several types of blocks, and print the accuracies.

    A stopped comparison continues when it is started again, and one with more seeds or variants reuses the existing
    runs.

    Args:
        folder: Folder of the runs, with a subfolder for each seed. ``comparison.csv`` has a row for each run of this
            call, and ``comparison.png`` shows them.
        num_seeds: Number of runs of each variant.
        variants: The variants to train: ``baseline`` (residual blocks), ``neural_ode`` (two steps, gradient by the
            continuous adjoint), ``neural_ode_t`` (the same with the time as an input), ``anode`` (two steps),
            ``anodev2_1`` (weights evolve with the activations) and ``anodev2_2`` (weights evolve first). In
            ``neural_ode_by_time``, ``anode_by_time`` and ``anodev2_1_by_time``, batch norms have separate statistics
            for each time.
        backend: ``process`` runs the trainings one after the other, ``ray`` in parallel.
        fit_arguments: All other options, for every ``fit``, such as ``-c cifar10.yaml --data.root=path/to/cifar10``.
    """
    chosen = choose_variants(VARIANTS, variants)
    return compare_classifiers("anodev2", chosen, folder, num_seeds, fit_arguments, backend, "baseline")
