"""Residual blocks as differential equations whose weights change over time by an equation of their own.

Source: Zhang et al., *ANODEV2: A Coupled Neural ODE Framework*, arXiv:1906.04596, whose authors released no code:

    dz/dt = f(z, theta(t)),    dw/dt = q(w),    theta(t) = integral of K(t - s) w(s) ds

The kernels of f are w, and q makes them react, diffuse and drift. Settings give what came before: without
an evolution of the weights ANODE (arXiv:1902.10298) or, with the continuous adjoint, the Neural ODE (arXiv:1806.07366),
and with one Euler step a residual block.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from lightning_edge.nn.statistics_by_time import StatisticsByTime
from lightning_edge.ops.ode import Gradient, Step, euler, odeint, times_of
from lightning_edge.ops.ode_gradients import continuous_adjoint

Weights = dict[str, Tensor]
"""Kernels of convolutions by the names of their parameters."""


_SLIGHT_DIFFUSION = 0.01
"""Cells squared in the whole time: dims the highest frequencies of a 3x3 kernel by less than a tenth."""


class ReactionDiffusionAdvection(nn.Module):
    """How the kernel of a convolution changes: ``dw/dt = tau * laplacian(w) + upsilon . gradient(w) + rho * w``.

    The kernel is a picture with periodic borders for each pair of channels, on which a step of any duration is exact in
    Fourier space. The coefficients learn; at first the diffusion is slight and the others are none. Diffusion is
    positive, for its reverse has no solution. The nonlinearity follows each step whatever its duration, so that with it
    another number of steps is another model.

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
        frequency = _frequencies(precise)
        decay = self.reaction[:, None, None] - self.diffusion[:, None, None] * frequency.square().sum(0)
        drift = (self.advection[:, :, None, None] * frequency).sum(1)  # autocast would round a product of matrices
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
        shapes = {name: weight.shape for name, weight in _spatial_kernels(net).items()}
        if not shapes:
            raise ValueError(f"expected a net with spatial convolutions, got {type(net).__name__} without")
        self.num_steps = num_steps
        self.memory = memory
        self.equations = nn.ModuleDict({_key(name): equation(shape) for name, shape in shapes.items()})

    def forward(self, start: Weights) -> list[Weights]:
        """Weights at the times 0, 1 / num_steps, ..., 1."""
        duration = 1 / self.num_steps
        passed = [start]
        for _ in range(self.num_steps):
            last = passed[-1]
            passed.append({name: self.equations[_key(name)](kernel, duration) for name, kernel in last.items()})
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


class ODEBlock(nn.Module):
    """Activations that follow a differential equation from time 0 to 1.

    Args:
        net: Their time derivative, of their shape.
        num_steps: Steps of the activations.
        evolution: How the net's weights change meanwhile; not at all if ``None``.
        weights_first: The weights evolve to their end before they are applied, configuration 2 of the paper: at
            inference a plain net, which :meth:`bake` returns. Otherwise both advance together, configuration 1: a step
            reads the weights of its own times, so two of Euler see those of the times 0 and 1/2.
        step: Of the activations: :func:`~lightning_edge.ops.ode.euler` or another of that module.
        gradient: As in :func:`~lightning_edge.ops.ode.odeint`.
        time_channel: The net sees the time too, as one more channel behind those of the activations.
        check_finite: Look whether the result is finite, which a GPU has to wait for.
        norm_by_time: Batch norms have :class:`~lightning_edge.nn.statistics_by_time.StatisticsByTime`, in place of one
            mean over all steps, by which no step is normalised as it was in training. Evaluations at one time, as in
            ``rk4``, share them; at one that no step looks at, as the continuous adjoint does, those of the latest time
            before it count.

    Raises:
        ValueError: There is no step, ``weights_first`` without an evolution, an evolution of other kernels or with the
            continuous adjoint, which knows of no weights that change, one Euler step of weights that do not come first:
            it would see those of time 0 alone; a name in place of a function, or ``norm_by_time`` with a net that it
            does not suit.
    """

    def __init__(
        self,
        net: nn.Module,
        num_steps: int = 1,
        evolution: WeightEvolution | None = None,
        weights_first: bool = False,
        step: Step = euler,
        gradient: Gradient | None = None,
        time_channel: bool = False,
        check_finite: bool = True,
        norm_by_time: bool = False,
    ) -> None:
        super().__init__()
        if num_steps < 1:
            raise ValueError(f"expected num_steps of at least 1, got {num_steps}")
        if num_steps != int(num_steps):
            raise ValueError(f"expected a whole number as num_steps, got {num_steps}")
        for name, function in {"step": step, "gradient": gradient}.items():
            if not (function is None or callable(function)):
                raise ValueError(f"expected a function as {name}, as in lightning_edge.ops, got {function!r}")
        if weights_first and evolution is None:
            raise ValueError("expected an evolution of the weights that come first, got none")
        if evolution is not None:
            _check_evolution(evolution, net, weights_first, num_steps, step, gradient)
        self.net = net
        self.num_steps = num_steps
        self.evolution = evolution
        self.weights_first = weights_first
        self.step = step
        self.gradient = gradient
        self.time_channel = time_channel
        self.check_finite = check_finite
        self.statistics = StatisticsByTime(net, times_of(step, num_steps)) if norm_by_time else None

    def forward(self, activations: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """Activations at time 1.

        Raises:
            FloatingPointError: They are not finite.
            ValueError: The net gives another shape than theirs.
        """
        kernels = _spatial_kernels(self.net)
        if torch.is_inference_mode_enabled():  # torch's counter of FLOPs stumbles there over a parameter as an argument
            kernels = {name: kernel.detach() for name, kernel in kernels.items()}
        passed = [{}] if self.evolution is None else self.evolution(kernels)
        if self.weights_first:
            passed = passed[-1:]

        def field(time: float, state: Tensor) -> Tensor:
            parts = _at(passed, time) | (self.statistics(time) if self.statistics else {})
            slope = functional_call(self.net, parts, (self._with_time(state, time),))
            if slope.shape != state.shape:
                shapes = f"{tuple(state.shape)}, got {tuple(slope.shape)}"
                raise ValueError(f"expected a net that gives the shape of the activations, {shapes}")
            return slope

        return odeint(
            field,
            activations,
            self.num_steps,
            self.step,
            self.gradient,
            module=self.net,
            check_finite=self.check_finite,
        )

    def bake(self) -> "ODEBlock":
        """A block without evolution that computes the same, of weights that came first.

        Raises:
            ValueError: The weights change while they are applied.
        """
        if self.evolution is None:
            raise ValueError("expected a block whose weights evolve, got one that is plain already")
        if not self.weights_first:
            raise ValueError("expected weights_first, for weights that change with the activations make no plain net")
        block = copy.deepcopy(self)
        with torch.no_grad():
            block.net.load_state_dict(self.evolution(_spatial_kernels(self.net))[-1], strict=False)
        block.evolution, block.weights_first = None, False
        return block

    def _with_time(self, state: Tensor, time: float) -> Tensor:
        return torch.cat([state, torch.full_like(state[:, :1], time)], 1) if self.time_channel else state


def baked(net: nn.Module) -> nn.Module:
    """A copy of a net in which every block whose weights come first is without evolution, and computes the same.

    Raises:
        ValueError: Weights of a block change while they are applied.
    """
    if isinstance(net, ODEBlock):
        return copy.deepcopy(net) if net.evolution is None else net.bake()
    net = copy.deepcopy(net)
    for name, block in [(name, part) for name, part in net.named_modules() if isinstance(part, ODEBlock)]:
        net.set_submodule(name, baked(block))
    return net


def _check_evolution(
    evolution: WeightEvolution, net: nn.Module, weights_first: bool, num_steps: int, step: Step, gradient: Any
) -> None:
    if gradient is continuous_adjoint:
        raise ValueError("expected another gradient than continuous_adjoint for weights that evolve")
    if num_steps == 1 and step is euler and not weights_first:
        raise ValueError("expected weights_first, or num_steps of at least 2 for weights that evolve meanwhile, got 1")
    theirs, ours = set(evolution.equations), {_key(name) for name in _spatial_kernels(net)}
    if theirs != ours:
        raise ValueError(f"expected an evolution of the net's kernels ({sorted(ours)}), got one of {sorted(theirs)}")


def _frequencies(kernel: Tensor) -> Float[Tensor, "2 height half_width"]:
    """Radians for each cell, down and right, of the half of the plane that a real transform keeps."""
    height, width = kernel.shape[-2:]
    rows = torch.fft.fftfreq(height, dtype=kernel.dtype, device=kernel.device)
    columns = torch.fft.rfftfreq(width, dtype=kernel.dtype, device=kernel.device)
    return 2 * math.pi * torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


def _at(passed: list[Weights], time: float) -> Weights:
    """Weights at a time, linear between steps of their evolution."""
    if len(passed) == 1:
        return passed[0]
    place = time * (len(passed) - 1)
    index = min(int(place), len(passed) - 2)
    share = place - index
    if share == 0:
        return passed[index]
    return {name: torch.lerp(kernel, passed[index + 1][name], share) for name, kernel in passed[index].items()}


def _spatial_kernels(net: nn.Module) -> Weights:
    convolutions = {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    return {
        f"{name}.weight" if name else "weight": conv.weight
        for name, conv in convolutions.items()
        if max(conv.kernel_size) > 1
    }


def _key(name: str) -> str:
    """As a name that a module takes, another for each."""
    return name.replace(".", "-")


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
