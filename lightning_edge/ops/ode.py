"""Fixed-step solvers of ordinary differential equations; gradients: :mod:`~lightning_edge.ops.ode_gradients`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_edge.checks import check_at_least
from lightning_edge.torch_internals import tree_leaves, tree_map

State = Any
"""A tensor, or tuples, lists and dicts of tensors."""

Field = Callable[[float, State], State]
"""Time derivative of a state, called as ``field(time, state)``. It has the structure of the state."""

Step = Callable[[Field, float, float, State], State]
"""State after a step, called as ``step(field, time, duration, state)``."""


def euler(field: Field, time: float, duration: float, state: State) -> State:
    """Euler's method: one evaluation per step, first-order accuracy."""
    return _add(state, duration, field(time, state))


def midpoint(field: Field, time: float, duration: float, state: State) -> State:
    """Midpoint method (RK2): two evaluations per step, second-order accuracy."""
    middle = _add(state, duration / 2, field(time, state))
    return _add(state, duration, field(time + duration / 2, middle))


def rk4(field: Field, time: float, duration: float, state: State) -> State:
    """Classical Runge-Kutta method (RK4): four evaluations per step, fourth-order accuracy."""
    half = duration / 2
    slope1 = field(time, state)
    slope2 = field(time + half, _add(state, half, slope1))
    slope3 = field(time + half, _add(state, half, slope2))
    slope4 = field(time + duration, _add(state, duration, slope3))
    slope = _map(lambda a, b, c, d: torch.add(a, b + c, alpha=2).add_(d), slope1, slope2, slope3, slope4)
    return _add(state, duration / 6, slope)


STEPS: dict[str, Step] = {"euler": euler, "midpoint": midpoint, "rk4": rk4}
"""Integration schemes by name."""


class Solve(NamedTuple):
    """An integration by equal steps."""

    field: Field
    step: Step
    num_steps: int
    start_time: float
    end_time: float
    module: nn.Module | None
    """Module that the field uses, for its gradient and its batch norms."""

    def run(self, first: int, last: int, state: State) -> State:
        """State after the steps from ``first`` to ``last``, of which ``last`` is excluded."""
        duration = (self.end_time - self.start_time) / self.num_steps
        for index in range(first, last):
            state = self.step(self.field, self.start_time + index * duration, duration, state)
        return state


Gradient = Callable[[Solve, State], State]
"""Function that makes all steps of a solve so that gradients flow through them."""


def odeint(
    field: Field,
    state: State,
    num_steps: int,
    step: Step = euler,
    gradient: Gradient | None = None,
    start_time: float = 0.0,
    end_time: float = 1.0,
    module: nn.Module | None = None,
    check_finite: bool = False,
) -> State:
    """State at the end time, after equal steps.

    Args:
        field: Time derivative of the state.
        state: State at the start time.
        num_steps: Number of steps.
        step: Integration scheme: :func:`euler`, :func:`midpoint`, :func:`rk4` or your own.
        gradient: Function of :mod:`~lightning_edge.ops.ode_gradients`. ``None`` is plain backpropagation, which keeps
            all intermediate results.
        start_time: Time of the given state.
        end_time: Time of the result. It can be before the start time.
        module: Module that the field uses; the field itself if that is a module. Its batch norms update their
            statistics once for each step, even if a gradient repeats the step.
        check_finite: Whether to check that the result is finite, for which the host has to wait for the GPU. With
            ``torch.compile`` there is no check.

    Raises:
        ValueError: ``num_steps`` is less than 1.
        FloatingPointError: The result is not finite, and ``check_finite`` is set.
    """
    check_at_least(1, num_steps=num_steps)
    if module is None and isinstance(field, nn.Module):
        module = field
    solve = Solve(field, step, num_steps, start_time, end_time, module)
    end = solve.run(0, num_steps, state) if gradient is None else gradient(solve, state)
    if check_finite and not torch.compiler.is_compiling() and not _is_finite(end):
        cause = "more steps, smaller weights or a lower learning rate" if _is_finite(state) else "a finite start"
        raise FloatingPointError(f"expected a finite state after {num_steps} steps, got NaN or infinity: try {cause}")
    return end


def times_of(step: Step, num_steps: int) -> tuple[float, ...]:
    """The times from 0 to 1 at which the field is evaluated, in ascending order."""
    seen: set[float] = set()

    def look(time: float, state: State) -> State:
        seen.add(round(time, 9))  # the end of a step and the start of the next are the same time
        return state

    odeint(look, torch.zeros(1), num_steps, step)
    return tuple(sorted(seen))


def _is_finite(state: State) -> bool:
    return all(value.is_meta or bool(value.isfinite().all()) for value in tree_leaves(state))


def _add(state: State, factor: float, slope: State) -> State:
    return _map(lambda x, dx: torch.add(x, dx, alpha=factor), state, slope)


def _map(function: Callable[..., Tensor], state: State, *others: State) -> State:
    if isinstance(state, Tensor):
        return function(state, *others)
    return tree_map(function, state, *others)
