"""Accuracies on real CIFAR-10 of the nets of both comparisons, trained side by side on one GPU.

``compare`` trains one net after another, whose steps are hundreds of kernels too small for a GPU. Here the whole step
of a net, from the draw of images to SGD, is recorded once as a CUDA graph, and the graphs of all nets replay at once.
Nets, loss, augmentation, decay and schedule are those of ``compare``, and the rate but for AlexNet's. Trainings are
shorter, in bfloat16 by autocast and channels_last, and random numbers are others. (ShiftResNet-20 of expansion 1 came
to 72.85, 74.15 and 74.2 % so, and to 73.4 % by ``compare`` on a CPU, at the same length.)

The figures in the docs are of a script before it was put in order as this one, which has not run on a GPU yet.
"""

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml
from graphed_training import Training, pad, train
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from lightning_edge.analysis.intervals import mean_with_interval
from lightning_edge.data.formats.cifar import read_cifar
from lightning_edge.methods import StepSchedule
from lightning_edge.nn import TimmClassifier
from lightning_edge.nn.ode.anodev2 import ODEBlock
from recipes._experiments.figure import draw_comparison
from recipes.anodev2 import compare as _anodev2_compare
from recipes.shift import compare as _shift_compare

_REAL = Path(__file__).parents[3] / "shared/data/cifar10_subset"
pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    pytest.mark.skipif(not _REAL.exists(), reason="needs real CIFAR-10"),
]

OUTPUT = Path("runs/accuracy_on_gpu")
CONNECTIONS = 32
SHIFTS = [name for name in _shift_compare.VARIANTS if name not in ("depthwise6", "depthwise9")]
EQUATIONS = list(_anodev2_compare.VARIANTS)
PAIRS = {
    "shift": [(f"shift{n}", f"resnet{n}") for n in (1, 3, 6, 9)]
    + [(f"shift{n}", f"depthwise{n}") for n in (1, 3)]
    + [(f"shift{n}", "resnet9") for n in (3, 6)],
    "anodev2": [(name, "baseline") for name in EQUATIONS[1:]],
}


@pytest.mark.parametrize(
    ("recipe", "net", "names", "num_seeds", "epochs", "batch_size", "rate"),
    [
        ("anodev2", "ode_alexnet", EQUATIONS, 5, 40, 256, 0.05),  # at 0.1, the recipe's, it learns later
        ("anodev2", "ode_resnet10", EQUATIONS, 5, 65, 256, 0.1),
        ("shift", None, SHIFTS, 3, 55, 128, 0.1),
    ],
    ids=["ode_alexnet", "ode_resnet10", "shift"],
)
def test_accuracies(recipe, net, names, num_seeds, epochs, batch_size, rate, capsys, monkeypatch):
    monkeypatch.setitem(os.environ, "CUDA_DEVICE_MAX_CONNECTIONS", str(CONNECTIONS))  # before CUDA begins
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    images, labels = load("train", "cuda")
    padded = pad(images)
    schedule = schedule_of(recipe)
    trainings = {}
    for seed in range(num_seeds):
        for name in names:
            torch.manual_seed(seed)
            model = make_net(recipe, name, net).to("cuda")
            trainings[name, seed] = Training(
                model, padded, labels, epochs, batch_size, lambda done: rate * schedule(done), seed
            )
    train(list(trainings.values()))
    tests, answers = load("test", "cuda")
    accuracies = {
        name: [100 * trainings[name, seed].accuracy(tests, answers) for seed in range(num_seeds)] for name in names
    }
    title = f"{net or recipe}, {epochs} epochs of {len(images):,} images"
    with capsys.disabled():
        print_table(accuracies, PAIRS[recipe], title)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    sizes = {name: sum(value.numel() for value in trainings[name, 0].parameters) for name in names}
    rows = {f"{name}, {sizes[name]:,} parameters": actual for name, actual in accuracies.items()}
    draw_comparison(rows).savefig(OUTPUT / f"{net or recipe}.png", dpi=120)
    assert min(min(actual) for actual in accuracies.values()) > 50


def load(split: str, device: str) -> tuple[Tensor, Tensor]:
    images, labels = read_cifar(_REAL, 10, split)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device), torch.from_numpy(labels).to(device)


def schedule_of(recipe: str) -> StepSchedule:
    path = Path(import_module(f"recipes.{recipe}").__file__).with_name("cifar10.yaml")
    return StepSchedule(**yaml.safe_load(path.read_text())["model"]["init_args"]["schedule"]["init_args"])


def make_net(recipe: str, name: str, net: str | None) -> nn.Module:
    """The net of a variant of ``compare``."""
    arguments = import_module(f"recipes.{recipe}.compare").VARIANTS[name].arguments
    given = dict(argument.removeprefix("--model.net.init_args.").split("=", 1) for argument in arguments)
    made = TimmClassifier(given.get("model", net), 10, model_options=yaml.safe_load(given["model_options"]))
    for part in made.modules():
        if isinstance(part, ODEBlock):
            part.check_finite = False  # a graph cannot wait for an answer
    return made


def print_table(accuracies: dict[str, list[float]], pairs: Sequence[tuple[str, str]], title: str) -> None:
    table = Table("", "mean", "min", "max", title=f"Accuracy %, {title}")
    for name, actual in accuracies.items():
        table.add_row(name, mean_with_interval(actual), f"{min(actual):.1f}", f"{max(actual):.1f}")
    differences = Table("seed by seed", "difference")
    for one, other in pairs:
        actual = [a - b for a, b in zip(accuracies[one], accuracies[other], strict=True)]
        differences.add_row(f"{one} - {other}", mean_with_interval(actual))
    console = Console(width=120)
    console.print(table)
    console.print(differences)
