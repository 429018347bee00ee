"""Accuracies on real CIFAR-10 of the nets of both comparisons, all trained side by side on one GPU.

``compare`` trains one net after another, whose steps are hundreds of kernels too small for a GPU. Here the whole step
of a net, from the draw of images to SGD, is recorded once as a CUDA graph, and the graphs of all nets replay at once.
Nets, loss, augmentation, rate of learning and its schedule are those of ``compare``; the random numbers are not.
"""

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from lightning_edge.data.cifar_archive import read_cifar
from lightning_edge.methods import StepSchedule
from lightning_edge.nn import TimmClassifier
from lightning_edge.nn.anodev2 import ODEBlock
from lightning_edge.seeds import mean_with_interval
from recipes import _anodev2_compare, _shift_compare

_REAL = Path(__file__).parents[3] / "shared/data/cifar10_subset"
pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    pytest.mark.skipif(not _REAL.exists(), reason="needs real CIFAR-10"),
]

WARM_UP, CONNECTIONS = 3, 32
PADDING_PX = 4
SHIFTS = [name for name in _shift_compare.VARIANTS if name not in ("depthwise6", "depthwise9")]
EQUATIONS = list(_anodev2_compare.VARIANTS)


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
    schedule = schedule_of(recipe)
    trainings = {}
    for seed in range(num_seeds):
        for name in names:
            torch.manual_seed(seed)
            model = make_net(recipe, name, net).to("cuda")
            trainings[name, seed] = Training(
                model, images, labels, epochs, batch_size, lambda done: rate * schedule(done), seed
            )
    train(list(trainings.values()))
    tests, answers = load("test", "cuda")
    accuracies = {key: training.accuracy(tests, answers) for key, training in trainings.items()}
    with capsys.disabled():
        print_table(accuracies, recipe, names, f"{net or recipe}, {epochs} epochs of {len(images):,} images")
    assert min(accuracies.values()) > 0.3


def load(split: str, device: str) -> tuple[Tensor, Tensor]:
    images, labels = read_cifar(_REAL, 10, split)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device), torch.from_numpy(labels).to(device)


def schedule_of(recipe: str) -> StepSchedule:
    path = Path(import_module(f"recipes.{recipe}").__file__).with_name(f"{recipe}_cifar10.yaml")
    return StepSchedule(**yaml.safe_load(path.read_text())["model"]["init_args"]["schedule"]["init_args"])


def make_net(recipe: str, name: str, net: str | None) -> nn.Module:
    """The net of a variant of ``compare``."""
    arguments = import_module(f"recipes._{recipe}_compare").VARIANTS[name].arguments
    given = dict(argument.removeprefix("--model.net.init_args.").split("=", 1) for argument in arguments)
    made = TimmClassifier(given.get("model", net), 10, model_options=yaml.safe_load(given["model_options"]))
    for part in made.modules():
        if isinstance(part, ODEBlock):
            part.check_finite = False  # a graph cannot wait for an answer
    return made


class Training:
    """A net that is trained by cross-entropy and SGD on images that are all in the memory of a device.

    Args:
        net: Maps images in [0, 1] to scores.
        images: ``[N, 3, H, W]``, bytes.
        labels: ``[N]``.
        epochs: Passes over the images; what does not fill a batch is left out of each.
        batch_size: Images of a step.
        rate: Of learning, of the share of training done.
        seed: Of order and augmentation.
        momentum: Of SGD.
        weight_decay: Of SGD.
    """

    def __init__(
        self,
        net: nn.Module,
        images: Tensor,
        labels: Tensor,
        epochs: int,
        batch_size: int,
        rate: Callable[[float], float],
        seed: int,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
    ) -> None:
        self.net, self.labels = net.train().to(memory_format=torch.channels_last), labels
        self.padded, self.size = F.pad(images, [PADDING_PX] * 4), images.shape[2:]
        self.momentum, self.weight_decay = momentum, weight_decay
        self.num_steps = epochs * (len(images) // batch_size)
        shape, generator = (self.num_steps, batch_size), torch.Generator().manual_seed(seed)
        used = len(images) // batch_size * batch_size
        orders = [torch.randperm(len(images), generator=generator)[:used] for _ in range(epochs)]
        self.order = torch.cat(orders).view(shape).to(images.device)
        self.corner = torch.randint(0, 2 * PADDING_PX + 1, (2, *shape), generator=generator).to(images.device)
        self.is_flipped = torch.randint(0, 2, shape, generator=generator).to(images.device)
        self.rates = torch.tensor([rate(step / self.num_steps) for step in range(self.num_steps)], device=images.device)
        self.index = torch.zeros(1, dtype=torch.long, device=images.device)
        self.parameters = list(net.parameters())
        self.velocities = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.step = self._record() if images.is_cuda else self._step

    @torch.no_grad()
    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Share of right answers on other images."""
        self.net.eval()
        found = torch.cat([self._scores(part).argmax(1) for part in images.split(500)])
        self.net.train()
        return (found == labels).double().mean().item()

    def _scores(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, cache_enabled=False):
            return self.net((images.float() / 255).contiguous(memory_format=torch.channels_last))

    def _step(self) -> None:
        chosen = self._at_this_step(self.order)
        for parameter in self.parameters:
            parameter.grad = None
        F.cross_entropy(self._scores(self._augmented(chosen)).float(), self.labels[chosen]).backward()
        with torch.no_grad():
            torch._foreach_mul_(self.velocities, self.momentum)
            torch._foreach_add_(self.velocities, [parameter.grad for parameter in self.parameters])
            torch._foreach_add_(self.velocities, self.parameters, alpha=self.weight_decay)
            torch._foreach_add_(self.parameters, torch._foreach_mul(self.velocities, -self._at_this_step(self.rates)))
            self.index.add_(1).remainder_(self.num_steps)

    def _at_this_step(self, table: Tensor) -> Tensor:
        return table.index_select(0, self.index)[0]

    def _augmented(self, chosen: Tensor) -> Tensor:
        """Windows of the padded images, some of them flipped."""
        height, width = (torch.arange(size, device=chosen.device) for size in self.size)
        is_flipped = self._at_this_step(self.is_flipped)[:, None] == 1
        y = height + self._at_this_step(self.corner[0])[:, None]
        x = torch.where(is_flipped, width.flip(0), width) + self._at_this_step(self.corner[1])[:, None]
        channels = torch.arange(3, device=chosen.device)[:, None, None]
        return self.padded[chosen[:, None, None, None], channels, y[:, None, :, None], x[:, None, None, :]]

    def _record(self) -> Callable[[], None]:
        state = [*self.net.state_dict().values(), *self.velocities, self.index]
        before = [value.clone() for value in state]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            self._step()
        for value, old in zip(state, before, strict=True):
            value.copy_(old)

        def step() -> None:
            with torch.cuda.stream(stream):
                graph.replay()

        return step


def train(trainings: Sequence[Training]) -> None:
    """Make all steps of trainings of equal length, side by side."""
    torch.cuda.synchronize()
    for _ in range(trainings[0].num_steps):
        for training in trainings:
            training.step()
    torch.cuda.synchronize()


def print_table(accuracies: dict[tuple[str, int], float], recipe: str, names: Sequence[str], title: str) -> None:
    variants = import_module(f"recipes._{recipe}_compare").VARIANTS
    seeds = sorted({seed for _, seed in accuracies})
    table = Table("", "mean", "min", "max", "- rival", title=f"Accuracy %, {title}, {len(seeds)} seeds")
    for name in names:
        found = [100 * accuracies[name, seed] for seed in seeds]
        rival = variants[name].rival
        rivals = [100 * accuracies[rival, seed] for seed in seeds] if rival else []
        difference = mean_with_interval([one - other for one, other in zip(found, rivals, strict=bool(rival))])
        table.add_row(name, mean_with_interval(found), f"{min(found):.1f}", f"{max(found):.1f}", difference)
    Console(width=120).print(table)
