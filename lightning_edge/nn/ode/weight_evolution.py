"""Evolution of a net's convolution kernels over time by reaction, diffusion and advection.

Source: Zhang et al., *ANODEV2: A Coupled Neural ODE Framework*, arXiv:1906.04596.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.checks import check_at_least
from lightning_edge.ops.precision import at_least_float32

Weights = dict[str, Tensor]
"""Kernels of convolutions by the names of their parameters."""


_SLIGHT_DIFFUSION = 0.01
"""Initial diffusion, in squared cells for the whole time. It damps a 3x3 kernel's highest frequencies by under 10 %."""


class ReactionDiffusionAdvection(nn.Module):
    """Evolution of a convolution kernel: ``dw/dt = tau * laplacian(w) + upsilon . gradient(w) + rho * w``.

    For each pair of channels the kernel is an image with periodic borders, so a step of any duration is exact in
    Fourier space. A kernel of even size has one frequency of which its cells represent the cosine but not the sine. The
    slope of this frequency is zero in every cell, so it does not drift along that axis. The coefficients are learned.
    At first the diffusion is slight and the other coefficients are zero. Diffusion is always positive, because its
    reverse has no solution. The nonlinearity follows each step whatever its duration, so with it another number of
    steps is another model.

    Args:
        shape: Shape of the kernel: filters, channels, height, width.
        per_channel: Whether each filter has its own coefficients instead of one set for the whole kernel.
        nonlinearity: Function that is applied after each step; ``None`` applies none.
    """

    def __init__(
        self,
        shape: Sequence[int],
        per_channel: bool = False,
        nonlinearity: Callable[[Tensor], Tensor] | None = torch.tanh,
    ) -> None:
        super().__init__()
        sets = shape[0] if per_channel else 1
        # an offset from the slight diffusion, so that weight decay pulls towards it
        self.raw_diffusion = nn.Parameter(torch.zeros(sets))
        self.advection = nn.Parameter(torch.zeros(sets, 2))
        self.reaction = nn.Parameter(torch.zeros(sets))
        self.nonlinearity = nonlinearity

    @property
    def diffusion(self) -> Float[Tensor, " sets"]:
        """Positive coefficients of the Laplacian."""
        return F.softplus(self.raw_diffusion + _inverse_softplus(_SLIGHT_DIFFUSION))

    def forward(self, kernel: Float[Tensor, "f c h w"], duration: float) -> Float[Tensor, "f c h w"]:
        """The kernel after a step."""
        precise = at_least_float32(kernel)
        cycles = _cycles(precise)
        frequency = 2 * math.pi * cycles
        slope = frequency.masked_fill(cycles.abs() == 0.5, 0)  # otherwise two half steps would differ from a whole step
        decay = self.reaction[:, None, None] - self.diffusion[:, None, None] * frequency.square().sum(0)
        drift = (self.advection[:, :, None, None] * slope).sum(1)  # autocast would round a product of matrices
        factor = torch.exp(duration * torch.complex(decay, drift))[:, None]
        evolved = torch.fft.irfft2(factor * torch.fft.rfft2(precise), s=kernel.shape[-2:]).to(kernel.dtype)
        return evolved if self.nonlinearity is None else self.nonlinearity(evolved)


class WeightEvolution(nn.Module):
    """Computes all states of a net's spatial convolution kernels from time 0 to 1.

    Args:
        net: Net whose kernels evolve. Only kernels larger than 1x1 do.
        num_steps: Number of steps of the evolution.
        equation: Function that creates, from a kernel's shape, the module that maps a kernel and a duration to the
            kernel after that duration.
        memory: ``K`` of the integral as a function of the elapsed time. With it the weights are zero at time 0.
            ``None`` is Dirac's delta, with which the weights are ``w`` itself.

    Raises:
        ValueError: ``num_steps`` is less than 1, or the net has no spatial convolution.
    """

    def __init__(
        self,
        net: nn.Module,
        num_steps: int = 10,
        equation: Callable[[Sequence[int]], nn.Module] = ReactionDiffusionAdvection,
        memory: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__()
        check_at_least(1, num_steps=num_steps)
        shapes = {name: weight.shape for name, weight in spatial_kernels(net).items()}
        if not shapes:
            raise ValueError(f"expected a net with spatial convolutions, got {type(net).__name__} without any")
        self.num_steps = num_steps
        self.memory = memory
        self.equations = nn.ModuleDict({kernel_key(name): equation(shape) for name, shape in shapes.items()})

    def forward(self, start: Weights) -> list[Weights]:
        """Weights at the times 0, 1 / num_steps, ..., 1."""
        duration = 1 / self.num_steps
        states = [start]
        for _ in range(self.num_steps):
            last = states[-1]
            states.append({name: self.equations[kernel_key(name)](kernel, duration) for name, kernel in last.items()})
        return states if self.memory is None else [self._integral(states[: n + 1]) for n in range(len(states))]

    def _integral(self, states: list[Weights]) -> Weights:
        """The integral over the states so far, by the trapezoidal rule."""
        assert self.memory is not None
        duration, last = 1 / self.num_steps, len(states) - 1
        ends = [0.5 if index in (0, last) else 1.0 for index in range(last + 1)] if last else [0.0]
        shares = [self.memory((last - index) * duration) * duration * end for index, end in enumerate(ends)]
        return {
            name: sum((share * weights[name] for share, weights in zip(shares, states, strict=True)), torch.zeros(()))
            for name in states[0]
        }


def weights_at(states: list[Weights], time: float) -> Weights:
    """Weights at a time, interpolated linearly between the steps of their evolution."""
    if len(states) == 1:
        return states[0]
    place = time * (len(states) - 1)
    index = min(int(place), len(states) - 2)
    share = place - index
    if share == 0:
        return states[index]
    return {name: torch.lerp(kernel, states[index + 1][name], share) for name, kernel in states[index].items()}


def spatial_kernels(net: nn.Module) -> Weights:
    """Convolution kernels of a net that are larger than 1x1."""
    convolutions = {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    return {
        f"{name}.weight" if name else "weight": conv.weight
        for name, conv in convolutions.items()
        if max(conv.kernel_size) > 1
    }


def kernel_key(name: str) -> str:
    """A unique module name for a kernel, which must not contain dots."""
    return name.replace(".", "-")


def _cycles(kernel: Tensor) -> Float[Tensor, "2 height half_width"]:
    """Frequencies in cycles per cell, down and right, of the half plane that a real Fourier transform keeps."""
    height, width = kernel.shape[-2:]
    rows = torch.fft.fftfreq(height, dtype=kernel.dtype, device=kernel.device)
    columns = torch.fft.rfftfreq(width, dtype=kernel.dtype, device=kernel.device)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
