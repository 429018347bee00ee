"""Residual blocks as differential equations whose weights evolve over time by another differential equation.

Source: Zhang et al., *ANODEV2: A Coupled Neural ODE Framework*, arXiv:1906.04596. The authors released no code:

    dz/dt = f(z, theta(t)),    dw/dt = q(w),    theta(t) = integral of K(t - s) w(s) ds

The kernels of f are w, and q consists of reaction, diffusion and advection. Earlier methods are special cases. Without
an evolution of the weights, this is ANODE (arXiv:1902.10298) or, with the continuous adjoint, the Neural ODE
(arXiv:1806.07366). With one Euler step it is a residual block.
"""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from lightning_edge.checks import check_at_least
from lightning_edge.nn.ode.statistics_by_time import StatisticsByTime
from lightning_edge.nn.ode.weight_evolution import WeightEvolution, kernel_key, spatial_kernels, weights_at
from lightning_edge.ops.ode import Gradient, Step, euler, odeint, times_of
from lightning_edge.ops.ode_gradients import continuous_adjoint


class ODEBlock(nn.Module):
    """Integrates a differential equation of the activations from time 0 to 1.

    Args:
        net: Time derivative of the activations. Its output must have the shape of the activations.
        num_steps: Number of integration steps of the activations.
        evolution: Evolution of the net's weights during the integration; ``None`` keeps the weights constant.
        weights_first: Whether the weights evolve to time 1 before they are applied (configuration 2 of the paper). At
            inference this is a plain net, which :meth:`bake` returns. Otherwise weights and activations advance
            together (configuration 1): a step reads the weights at its own times, so two Euler steps use those of the
            times 0 and 1/2.
        step: Integration scheme of the activations: :func:`~lightning_edge.ops.ode.euler` or another one of that
            module.
        gradient: See :func:`~lightning_edge.ops.ode.odeint`.
        time_channel: Whether the net gets the time as one additional channel, behind those of the activations.
        check_finite: Whether to check that the result is finite, for which the host has to wait for the GPU.
        norm_by_time: Whether batch norms have running statistics for each time
            (:class:`~lightning_edge.nn.ode.statistics_by_time.StatisticsByTime`). With a single mean over all steps, no
            step would be normalized as it was in training. Several evaluations at one time, as in ``rk4``, share their
            statistics. An evaluation at a time that no step uses, as in the continuous adjoint, takes those of the
            latest earlier time.

    Raises:
        ValueError: ``num_steps`` is less than 1 or not a whole number; ``weights_first`` is set without an evolution;
            the evolution is for other kernels than those of ``net``; an evolution is combined with the continuous
            adjoint, which does not support weights that change; an evolution without ``weights_first`` has a single
            Euler step, which would use only the weights at time 0; ``step`` or ``gradient`` is a name instead of a
            function; or ``norm_by_time`` is set for a net without suitable batch norms.
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
        check_at_least(1, num_steps=num_steps)
        if num_steps != int(num_steps):
            raise ValueError(f"expected num_steps to be a whole number, got {num_steps}")
        for name, function in {"step": step, "gradient": gradient}.items():
            if not (function is None or callable(function)):
                raise ValueError(f"expected {name} to be a function, as in lightning_edge.ops, got {function!r}")
        if weights_first and evolution is None:
            raise ValueError("expected an evolution with weights_first, got None")
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
            FloatingPointError: The activations are not finite.
            ValueError: The net's output has another shape than the activations.
        """
        return _solve(self, activations)

    def _integrate(self, activations: Tensor) -> Tensor:
        states = [{}] if self.evolution is None else self.evolution(spatial_kernels(self.net))
        if self.weights_first:
            states = states[-1:]

        def field(time: float, state: Tensor) -> Tensor:
            parts = weights_at(states, time) | (self.statistics.rows(self.net, time) if self.statistics else {})
            slope = functional_call(self.net, parts, (self._with_time(state, time),))
            if slope.shape != state.shape:
                shapes = f"{tuple(state.shape)}, got {tuple(slope.shape)}"
                raise ValueError(f"expected a net whose output has the shape of the activations, {shapes}")
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
        """An equivalent block without an evolution, for a block with ``weights_first``.

        Raises:
            ValueError: The block has no evolution, or its weights change while they are applied.
        """
        if self.evolution is None:
            raise ValueError("expected a block whose weights evolve, got a block without evolution")
        if not self.weights_first:
            raise ValueError("expected weights_first: weights that change during the integration cannot be baked")
        block = copy.deepcopy(self)
        with torch.no_grad():
            block.net.load_state_dict(self.evolution(spatial_kernels(self.net))[-1], strict=False)
        block.evolution, block.weights_first = None, False
        return block

    def _with_time(self, state: Tensor, time: float) -> Tensor:
        return torch.cat([state, torch.full_like(state[:, :1], time)], 1) if self.time_channel else state


@torch.fx.wrap
def _solve(block: ODEBlock, activations: Tensor) -> Tensor:
    """Integrate a block as one operation of ``torch.fx``, whose trace would lack the weights and statistics by time."""
    return block._integrate(activations)


def baked(net: nn.Module) -> nn.Module:
    """An equivalent copy of a net in which no block with ``weights_first`` has an evolution.

    Raises:
        ValueError: The weights of a block change while they are applied.
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
        raise ValueError("expected another gradient for weights that evolve, got continuous_adjoint")
    if num_steps == 1 and step is euler and not weights_first:
        raise ValueError("expected num_steps of at least 2 for weights that evolve without weights_first, got 1")
    evolving, kernels = set(evolution.equations), {kernel_key(name) for name in spatial_kernels(net)}
    if evolving != kernels:
        raise ValueError(f"expected an evolution of the net's kernels {sorted(kernels)}, got one of {sorted(evolving)}")
