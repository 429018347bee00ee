"""Ordinary differential equations by fixed steps; :mod:`~lightning_edge.ops.ode_gradients` has ways to gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

State = Any
"""A tensor, or tuples, lists and dicts of tensors."""

Field = Callable[[float, State], State]
"""Time derivative of a state, called as ``field(time, state)``; it has the state's structure."""

Step = Callable[[Field, float, float, State], State]
"""State after a step, called as ``step(field, time, duration, state)``."""


def euler(field: Field, time: float, duration: float, state: State) -> State:
    """One evaluation, an error that falls with the step."""
    return _add(state, duration, field(time, state))


def midpoint(field: Field, time: float, duration: float, state: State) -> State:
    """Two evaluations (RK2), an error that falls with the square of the step."""
    middle = _add(state, duration / 2, field(time, state))
    return _add(state, duration, field(time + duration / 2, middle))


def rk4(field: Field, time: float, duration: float, state: State) -> State:
    """Four evaluations, the classical method of Runge and Kutta: an error that falls with the step's fourth power."""
    half = duration / 2
    slope1 = field(time, state)
    slope2 = field(time + half, _add(state, half, slope1))
    slope3 = field(time + half, _add(state, half, slope2))
    slope4 = field(time + duration, _add(state, duration, slope3))
    slope = _map(lambda a, b, c, d: torch.add(a, b + c, alpha=2).add_(d), slope1, slope2, slope3, slope4)
    return _add(state, duration / 6, slope)


STEPS: dict[str, Step] = {"euler": euler, "midpoint": midpoint, "rk4": rk4}
"""By name."""


class Solve(NamedTuple):
    """Equal steps that are to be made."""

    field: Field
    step: Step
    num_steps: int
    start_time: float
    end_time: float
    module: nn.Module | None
    """What the field computes with, as far as its gradient and its batch norms are concerned."""

    def run(self, first: int, last: int, state: State) -> State:
        """State after the steps from one up to another."""
        duration = (self.end_time - self.start_time) / self.num_steps
        for index in range(first, last):
            state = self.step(self.field, self.start_time + index * duration, duration, state)
        return state


Gradient = Callable[[Solve, State], State]
"""Makes all steps of a solve so that a gradient flows through them."""


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
        field: Time derivative.
        state: At the start time.
        num_steps: How many.
        step: :func:`euler`, :func:`midpoint`, :func:`rk4` or another.
        gradient: One of :mod:`~lightning_edge.ops.ode_gradients`; if ``None`` everything that is computed is kept.
        start_time: Of the state.
        end_time: Of the result; before the start to go back.
        module: What the field computes with, whose batch norms note the statistics of each step once, however often a
            gradient needs it; the field itself if that is a module.
        check_finite: Look whether the result is finite, which a GPU has to wait for; ``torch.compile`` leaves it out.

    Raises:
        ValueError: There is no step.
        FloatingPointError: The result is not finite, and ``check_finite``.
    """
    if num_steps < 1:
        raise ValueError(f"expected num_steps of at least 1, got {num_steps}")
    if module is None and isinstance(field, nn.Module):
        module = field
    solve = Solve(field, step, num_steps, start_time, end_time, module)
    end = solve.run(0, num_steps, state) if gradient is None else gradient(solve, state)
    if check_finite and not torch.compiler.is_compiling() and not _is_finite(end):
        cause = "more steps, smaller weights or a lower learning rate" if _is_finite(state) else "a finite start"
        raise FloatingPointError(f"expected a finite state after {num_steps} steps, got NaN or infinity: try {cause}")
    return end


def times_of(step: Step, num_steps: int) -> tuple[float, ...]:
    """The times, from 0 to 1, at which so many steps look at their field, ascending."""
    seen: set[float] = set()

    def look(time: float, state: State) -> State:
        seen.add(round(time, 9))  # the end of a step and the beginning of the next are one
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
