"""Residual blocks as differential equations whose weights change over time by an equation of their own.

Source: Zhang et al., *ANODEV2: A Coupled Neural ODE Framework*, arXiv:1906.04596, whose authors released no code:

    dz/dt = f(z, theta(t)),    dw/dt = q(w),    theta(t) = integral of K(t - s) w(s) ds

The kernels of f are w, and q makes them react, diffuse and drift. Settings give what came before: without
an evolution of the weights ANODE (arXiv:1902.10298) or, with the continuous adjoint, the Neural ODE (arXiv:1806.07366),
and with one Euler step a residual block.
"""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from lightning_edge.nn.ode.statistics_by_time import StatisticsByTime
from lightning_edge.nn.ode.weight_evolution import WeightEvolution, kernel_key, spatial_kernels, weights_at
from lightning_edge.ops.ode import Gradient, Step, euler, odeint, times_of
from lightning_edge.ops.ode_gradients import continuous_adjoint


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
        norm_by_time: Batch norms have :class:`~lightning_edge.nn.ode.statistics_by_time.StatisticsByTime`, in place of
            one mean over all steps, by which no step is normalized as it was in training. Evaluations at one time,
            as in ``rk4``, share them; at one that no step looks at, as the continuous adjoint does, those of the
            latest time before it count.

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
        return _solve(self, activations)

    def _integrate(self, activations: Tensor) -> Tensor:
        passed = [{}] if self.evolution is None else self.evolution(spatial_kernels(self.net))
        if self.weights_first:
            passed = passed[-1:]

        def field(time: float, state: Tensor) -> Tensor:
            parts = weights_at(passed, time) | (self.statistics.rows(self.net, time) if self.statistics else {})
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
            block.net.load_state_dict(self.evolution(spatial_kernels(self.net))[-1], strict=False)
        block.evolution, block.weights_first = None, False
        return block

    def _with_time(self, state: Tensor, time: float) -> Tensor:
        return torch.cat([state, torch.full_like(state[:, :1], time)], 1) if self.time_channel else state


@torch.fx.wrap
def _solve(block: ODEBlock, activations: Tensor) -> Tensor:
    """One operation to ``torch.fx``, which would trace the net without the weights and statistics of each time."""
    return block._integrate(activations)


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
    theirs, ours = set(evolution.equations), {kernel_key(name) for name in spatial_kernels(net)}
    if theirs != ours:
        raise ValueError(f"expected an evolution of the net's kernels ({sorted(ours)}), got one of {sorted(theirs)}")
