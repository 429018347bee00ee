"""The command that compares shift nets with nets of the same number of parameters."""

from pathlib import Path

from recipes._experiments.comparison import compare_classifiers
from recipes._experiments.jobs import Backend
from recipes._experiments.study import Variant, choose_variants

_NET = "--model.net.init_args.model"


def _variant(model: str, baseline: str | None = None, **options: float) -> Variant:
    return Variant((f"{_NET}={model}", f"{_NET}_options={options}"), baseline=baseline)


VARIANTS = {
    "shift1": _variant("shiftresnet20", expansion=1),
    "shift3": _variant("shiftresnet20", expansion=3),
    "shift6": _variant("shiftresnet20", expansion=6),
    "shift9": _variant("shiftresnet20", expansion=9),
    # as many parameters as the shift net of the same number, within 7 % (resnet1), 3 % (resnet9) or 1 % (others)
    "resnet1": _variant("cifar_resnet20", "shift1", block_reduction=8.05),
    "resnet3": _variant("cifar_resnet20", "shift3", block_reduction=2.8),
    "resnet6": _variant("cifar_resnet20", "shift6", block_reduction=1.45),
    "resnet9": _variant("cifar_resnet20", "shift9"),
    "depthwise1": _variant("cifar_dwresnet20", "shift1", expansion=0.9),
    "depthwise3": _variant("cifar_dwresnet20", "shift3", expansion=2.7),
    "depthwise6": _variant("cifar_dwresnet20", "shift6", expansion=5.35),
    "depthwise9": _variant("cifar_dwresnet20", "shift9", expansion=8.05),
}


def compare(
    folder: Path = Path("runs/shift_comparison"),
    num_seeds: int = 3,
    variants: tuple[str, ...] = tuple(VARIANTS),
    backend: Backend = "process",
    fit_arguments: tuple[str, ...] = (),
) -> dict[str, float]:
    """Train shift nets, and residual and depthwise nets of the same size, and print their accuracies.

    A stopped comparison continues when it is started again, and one with more seeds or variants reuses the existing
    runs.

    Args:
        folder: Folder of the runs, with a subfolder for each seed. ``comparison.csv`` has a row for each run of this
            call, and ``comparison.png`` shows them.
        num_seeds: Number of runs of each variant.
        variants: The variants to train. ``shift1``, ``shift3``, ``shift6`` and ``shift9`` are ShiftResNet-20 with these
            expansions. ``resnet1`` and so on are ResNet-20 with blocks reduced to the same number of parameters;
            ``resnet9`` is the full net. ``depthwise1`` and so on have depthwise blocks and as many parameters.
        backend: ``process`` runs the trainings one after the other, ``ray`` in parallel.
        fit_arguments: All other options, for every ``fit``, such as ``-c cifar10.yaml --data.root=path/to/cifar10``.
    """
    chosen = choose_variants(VARIANTS, variants)
    baseline = "the shift net of the same size"
    return compare_classifiers("shift", chosen, folder, num_seeds, fit_arguments, backend, baseline)
