"""How the kernels of a net's convolutions change over time: they react, diffuse and drift.

Source: Zhang et al., *ANODEV2: A Coupled Neural ODE Framework*, arXiv:1906.04596.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Weights = dict[str, Tensor]
"""Kernels of convolutions by the names of their parameters."""


_SLIGHT_DIFFUSION = 0.01
"""Cells squared in the whole time: dims the highest frequencies of a 3x3 kernel by less than a tenth."""


class ReactionDiffusionAdvection(nn.Module):
    """How the kernel of a convolution changes: ``dw/dt = tau * laplacian(w) + upsilon . gradient(w) + rho * w``.

    The kernel is a picture with periodic borders for each pair of channels, on which a step of any duration is exact in
    Fourier space. An even size has one frequency of which its cells hold the cosine but not the sine. Its slope is zero
    in every cell, so along that axis it does not drift. The coefficients learn; at first the diffusion is slight and
    the others are none. Diffusion is positive, for its reverse has no solution. The nonlinearity follows each step
    whatever its duration, so that with it another number of steps is another model.

    Args:
        shape: Of the kernel: filters, channels, height, width.
        per_channel: Coefficients for each filter in place of one set for the kernel.
        nonlinearity: Applied after each step; ``None`` is none.
    """

    def __init__(
        self,
        shape: Sequence[int],
        per_channel: bool = False,
        nonlinearity: Callable[[Tensor], Tensor] | None = torch.tanh,
    ) -> None:
        super().__init__()
        sets = shape[0] if per_channel else 1
        self.raw_diffusion = nn.Parameter(torch.zeros(sets))  # so that the decay of weights draws it to the slight one
        self.advection = nn.Parameter(torch.zeros(sets, 2))
        self.reaction = nn.Parameter(torch.zeros(sets))
        self.nonlinearity = nonlinearity

    @property
    def diffusion(self) -> Float[Tensor, " sets"]:
        """Coefficients of the Laplacian, positive."""
        return F.softplus(self.raw_diffusion + _inverse_softplus(_SLIGHT_DIFFUSION))

    def forward(self, kernel: Float[Tensor, "f c h w"], duration: float) -> Float[Tensor, "f c h w"]:
        """The kernel after a step."""
        precise = kernel if kernel.dtype in (torch.float32, torch.float64) else kernel.float()
        cycles = _cycles(precise)
        frequency = 2 * math.pi * cycles
        slope = frequency.masked_fill(cycles.abs() == 0.5, 0)  # else two steps of a half would not be a whole one
        decay = self.reaction[:, None, None] - self.diffusion[:, None, None] * frequency.square().sum(0)
        drift = (self.advection[:, :, None, None] * slope).sum(1)  # autocast would round a product of matrices
        factor = torch.exp(duration * torch.complex(decay, drift))[:, None]
        evolved = torch.fft.irfft2(factor * torch.fft.rfft2(precise), s=kernel.shape[-2:]).to(kernel.dtype)
        return evolved if self.nonlinearity is None else self.nonlinearity(evolved)


class WeightEvolution(nn.Module):
    """All states that the kernels of a net's spatial convolutions pass through from time 0 to 1.

    Args:
        net: Whose kernels; those larger than 1x1 evolve.
        num_steps: Steps of the evolution.
        equation: Makes, of a kernel's shape, the module that maps a kernel and a duration to the kernel after it.
        memory: ``K`` of the integral, of the time passed, which makes the weights zero at time 0; ``None`` is Dirac's,
            by which they are ``w`` itself.

    Raises:
        ValueError: There is no step, or no spatial convolution.
    """

    def __init__(
        self,
        net: nn.Module,
        num_steps: int = 10,
        equation: Callable[[Sequence[int]], nn.Module] = ReactionDiffusionAdvection,
        memory: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__()
        if num_steps < 1:
            raise ValueError(f"expected num_steps of at least 1, got {num_steps}")
        shapes = {name: weight.shape for name, weight in spatial_kernels(net).items()}
        if not shapes:
            raise ValueError(f"expected a net with spatial convolutions, got {type(net).__name__} without")
        self.num_steps = num_steps
        self.memory = memory
        self.equations = nn.ModuleDict({kernel_key(name): equation(shape) for name, shape in shapes.items()})

    def forward(self, start: Weights) -> list[Weights]:
        """Weights at the times 0, 1 / num_steps, ..., 1."""
        duration = 1 / self.num_steps
        passed = [start]
        for _ in range(self.num_steps):
            last = passed[-1]
            passed.append({name: self.equations[kernel_key(name)](kernel, duration) for name, kernel in last.items()})
        return passed if self.memory is None else [self._remembered(passed[: n + 1]) for n in range(len(passed))]

    def _remembered(self, passed: list[Weights]) -> Weights:
        """The integral over what has passed, by the trapezoidal rule."""
        assert self.memory is not None
        duration, last = 1 / self.num_steps, len(passed) - 1
        ends = [0.5 if index in (0, last) else 1.0 for index in range(last + 1)] if last else [0.0]
        shares = [self.memory((last - index) * duration) * duration * end for index, end in enumerate(ends)]
        return {
            name: sum((share * weights[name] for share, weights in zip(shares, passed, strict=True)), torch.zeros(()))
            for name in passed[0]
        }


def weights_at(passed: list[Weights], time: float) -> Weights:
    """Weights at a time, linear between steps of their evolution."""
    if len(passed) == 1:
        return passed[0]
    place = time * (len(passed) - 1)
    index = min(int(place), len(passed) - 2)
    share = place - index
    if share == 0:
        return passed[index]
    return {name: torch.lerp(kernel, passed[index + 1][name], share) for name, kernel in passed[index].items()}


def spatial_kernels(net: nn.Module) -> Weights:
    """Kernels of a net that look at more than one pixel."""
    convolutions = {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    return {
        f"{name}.weight" if name else "weight": conv.weight
        for name, conv in convolutions.items()
        if max(conv.kernel_size) > 1
    }


def kernel_key(name: str) -> str:
    """Name of a kernel as that of a module, another for each."""
    return name.replace(".", "-")


def _cycles(kernel: Tensor) -> Float[Tensor, "2 height half_width"]:
    """Frequencies in cycles for each cell, down and right, of the half of the plane that a real transform keeps."""
    height, width = kernel.shape[-2:]
    rows = torch.fft.fftfreq(height, dtype=kernel.dtype, device=kernel.device)
    columns = torch.fft.rfftfreq(width, dtype=kernel.dtype, device=kernel.device)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
