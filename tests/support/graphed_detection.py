"""Trainings of small detectors that share a GPU, each of whose steps is one CUDA graph."""

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_edge.nn.conditioning import in_domain
from lightning_edge.nn.detection.center_detector import CenterMaps
from lightning_edge.ops.center_targets import PaddedBoxes

WARM_UP = 3
SCALE = (0.8, 1.25)
COLOR = 0.1
MIN_VISIBLE = 0.3


class Images(NamedTuple):
    """All images of a split on one device."""

    image: Tensor
    """``[N, 3, H, W]``, bytes."""
    objects: PaddedBoxes
    ignored: PaddedBoxes
    size: Tensor
    """Width and height."""


class Told(NamedTuple):
    """What a net is told of domains."""

    table: Tensor
    """``[domains, features]``."""
    row: Tensor
    """Domain of each image, ``[N]``."""


class Changes(NamedTuple):
    """Random changes to the images of all steps, each ``[steps, batch]``."""

    is_flipped: Tensor
    scale: Tensor
    shift: Tensor
    """``[steps, batch, 2]``, within [0, 1], of the room that the scale leaves."""
    color: Tensor
    """``[steps, batch, 3]``: factors of brightness, contrast and saturation."""


class Training:
    """A detector that is trained by AdamW, on a GPU in bfloat16 where autocast allows it.

    Args:
        net: With ``losses_of`` in it, in the device's memory.
        data: What it learns.
        told: Of domains; ``None`` for nets that are not told.
        chosen: Images of each step, ``[steps, batch]``.
        changes: To them.
        rate: Of learning, of the share of training done.
        weight_decay: Of AdamW.
        stream: On which its steps are.
    """

    def __init__(
        self,
        net: nn.Module,
        data: Images,
        told: Told | None,
        chosen: Tensor,
        changes: Changes,
        rate: Callable[[float], float],
        weight_decay: float = 1e-2,
    ) -> None:
        self.net, self.data, self.told = net.train(), data, told
        device = data.image.device
        self.chosen, self.changes = chosen.to(device), Changes(*(values.to(device) for values in changes))
        self.num_steps = len(chosen)
        self.rates = torch.tensor([rate((step + 0.5) / self.num_steps) for step in range(self.num_steps)]).to(device)
        self.index = torch.zeros(1, dtype=torch.long, device=device)
        is_graph = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(
            net.parameters(), torch.zeros((), device=device), weight_decay=weight_decay, capturable=is_graph
        )
        self.loss = torch.zeros((), device=device)
        self.step = self._record() if is_graph else self._step

    def _step(self) -> None:
        chosen = self._now(self.chosen)
        image, objects, ignored = changed(self.data, chosen, Changes(*(self._now(values) for values in self.changes)))
        told = contextlib.nullcontext()
        if self.told is not None:
            told = in_domain(self.net, self.told.table, self.told.row[chosen])
        with told, torch.autocast("cuda", torch.bfloat16, enabled=image.is_cuda, cache_enabled=False):
            maps = self.net(image)
        losses = getattr(self.net, "body", self.net).losses_of(CenterMaps(*maps), objects, ignored)
        loss = torch.stack(list(losses.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"].copy_(self._now(self.rates))
        self.optimizer.step()
        with torch.no_grad():
            self.loss.copy_(loss)
            self.index.add_(1).remainder_(self.num_steps)

    def _now(self, table: Tensor) -> Tensor:
        return table.index_select(0, self.index)[0]

    def _record(self) -> Callable[[], None]:
        before = {name: value.clone() for name, value in self.net.state_dict().items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            self._step()
        self.net.load_state_dict(before)
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()
        self.index.zero_()

        def step() -> None:
            with torch.cuda.stream(stream):
                graph.replay()

        return step


def train(trainings: Sequence[Training]) -> None:
    """Make all steps of trainings side by side."""
    for number in range(max(training.num_steps for training in trainings)):
        for training in trainings:
            if number < training.num_steps:
                training.step()
    if trainings and trainings[0].data.image.is_cuda:
        torch.cuda.synchronize()


def draw(
    num_images: int, epochs: int, batch_size: int, seed: int, among: Tensor | None = None
) -> tuple[Tensor, Changes]:
    """Images of each step, in another order in each epoch, and changes to them."""
    generator = torch.Generator().manual_seed(seed)
    among = torch.arange(num_images) if among is None else among
    batch_size = min(batch_size, len(among))
    used = len(among) // batch_size * batch_size
    orders = [among[torch.randperm(len(among), generator=generator)[:used]] for _ in range(epochs)]
    chosen = torch.cat(orders).view(-1, batch_size)
    shape = chosen.shape
    low, high = torch.tensor(SCALE).log()
    uniform = torch.rand(*shape, 7, generator=generator)
    changes = Changes(
        uniform[..., 0] < 0.5,
        (low + (high - low) * uniform[..., 1]).exp(),
        uniform[..., 2:4],
        1 + COLOR * (2 * uniform[..., 4:] - 1),
    )
    return chosen, changes


def changed(data: Images, chosen: Tensor, changes: Changes) -> tuple[Tensor, PaddedBoxes, PaddedBoxes]:
    """Images in [0, 1] after flip, scale, shift and changes of color, with their boxes."""
    image = data.image[chosen].float() / 255
    size = data.size
    zoom = changes.scale[:, None]
    # an enlarged image is cut anywhere, a shrunk one lies anywhere on black
    corner = changes.shift * size * (1 - zoom)
    mirror = torch.where(changes.is_flipped, -1.0, 1.0)
    # where a pixel of the result comes from, in the units of grid_sample
    center = 2 * (size / 2 - corner) / (zoom * size) - 1
    theta = image.new_zeros(len(image), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = mirror / changes.scale, 1 / changes.scale
    theta[:, 0, 2], theta[:, 1, 2] = mirror * center[:, 0], center[:, 1]
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    image = F.grid_sample(image, grid, align_corners=False, padding_mode="zeros")
    image = _colored(image, changes.color)
    objects, ignored = (_picked(boxes, chosen) for boxes in (data.objects, data.ignored))
    moved = [_moved(boxes, changes, corner, size) for boxes in (objects, ignored)]
    return image, *moved


def _colored(image: Tensor, color: Tensor) -> Tensor:
    brightness, contrast, saturation = (color[:, index, None, None, None] for index in range(3))
    image = image * brightness
    image = (image - image.mean((1, 2, 3), keepdim=True)) * contrast + image.mean((1, 2, 3), keepdim=True)
    gray = image.mean(1, keepdim=True)
    return ((image - gray) * saturation + gray).clamp(0, 1)


def _picked(boxes: PaddedBoxes, chosen: Tensor) -> PaddedBoxes:
    return PaddedBoxes(*(values[chosen] for values in boxes))


def _moved(boxes: PaddedBoxes, changes: Changes, corner: Tensor, size: Tensor) -> PaddedBoxes:
    x0, y0, x1, y1 = boxes.boxes_xyxy.unbind(-1)
    is_flipped = changes.is_flipped[:, None]
    x0, x1 = torch.where(is_flipped, size[0] - x1, x0), torch.where(is_flipped, size[0] - x0, x1)
    sides = torch.stack([x0, y0, x1, y1], -1) * changes.scale[:, None, None] + corner.repeat(1, 2)[:, None]
    seen = sides.clamp(min=0).minimum(size.repeat(2))
    area, area_seen = ((box[..., 2:] - box[..., :2]).clamp(min=0).prod(-1) for box in (sides, seen))
    return PaddedBoxes(seen, boxes.label, boxes.is_box & (area_seen > MIN_VISIBLE * area))
