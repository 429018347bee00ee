"""Trainings of small nets that share a GPU, each of whose steps is one CUDA graph."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WARM_UP = 3
PADDING_PX = 4


def pad(images: Tensor) -> Tensor:
    """Images with the black border in which windows move, as :class:`Training` takes them."""
    return F.pad(images, [PADDING_PX] * 4)


class Training:
    """A net that is trained by cross-entropy and SGD on images that are all in the memory of a device.

    On a GPU in bfloat16 where autocast allows it, elsewhere in the net's type.

    Args:
        net: Maps images in [0, 1] to scores.
        padded: Images by :func:`pad`, bytes.
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
        padded: Tensor,
        labels: Tensor,
        epochs: int,
        batch_size: int,
        rate: Callable[[float], float],
        seed: int,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
    ) -> None:
        self.net, self.labels = net.train().to(memory_format=torch.channels_last), labels
        self.padded, self.size = padded, [side - 2 * PADDING_PX for side in padded.shape[2:]]
        self.momentum, self.weight_decay = momentum, weight_decay
        self.num_steps = epochs * (len(padded) // batch_size)
        shape, generator = (self.num_steps, batch_size), torch.Generator().manual_seed(seed)
        used = self.num_steps // epochs * batch_size
        orders = [torch.randperm(len(padded), generator=generator)[:used] for _ in range(epochs)]
        self.order = torch.cat(orders).view(shape).to(padded.device)
        self.corner = torch.randint(0, 2 * PADDING_PX + 1, (2, *shape), generator=generator).to(padded.device)
        self.is_flipped = torch.randint(0, 2, shape, generator=generator).to(padded.device)
        self.rates = torch.tensor([rate(step / self.num_steps) for step in range(self.num_steps)], device=padded.device)
        self.index = torch.zeros(1, dtype=torch.long, device=padded.device)
        self.parameters = list(net.parameters())
        self.velocities = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.step = self._record() if padded.is_cuda else self._step

    @torch.no_grad()
    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Share of right answers on other images."""
        self.net.eval()
        actual = torch.cat([self._scores(part).argmax(1) for part in images.split(500)])
        self.net.train()
        return (actual == labels).double().mean().item()

    def _scores(self, images: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16, enabled=images.is_cuda, cache_enabled=False):
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
