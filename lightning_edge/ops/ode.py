"""Ordinary differential equations by fixed steps, and ways to the gradient that differ in memory.

The gradient is that of the steps that were made (discretise, then optimise), so it is exact whatever the step. Sources:
Gholami et al., *ANODE*, arXiv:1902.10298, for keeping one state of a block; Griewank and Walther, ACM TOMS 26 (2000),
for how few states suffice; Chen et al., *Neural ODEs*, arXiv:1806.07366, for the continuous adjoint.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import checkpoint

State = Any
"""A tensor, or tuples, lists and dicts of tensors."""

Field = Callable[[float, State], State]
"""Time derivative of a state: ``field(time, state)``, of the state's structure."""

Step = Callable[[Field, float, float, State], State]
"""State after a step: ``step(field, time, duration, state)``."""


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
    return _map(lambda x, a, b, c, d: x + duration / 6 * (a + 2 * (b + c) + d), state, slope1, slope2, slope3, slope4)


@runtime_checkable
class Gradient(Protocol):
    """A way to run steps so that a gradient flows through them."""

    def __call__(self, run: Callable[[int, int, State], State], num_steps: int, state: State, field: Field) -> State:
        """State after all steps; ``run(first, last, state)`` makes those from one up to another."""
        ...


class Backprop:
    """Keep what every step computed: the fastest, its memory grows with the steps."""

    def __call__(self, run: Callable[[int, int, State], State], num_steps: int, state: State, field: Field) -> State:
        """State after all steps."""
        return run(0, num_steps, state)


class BlockCheckpoint:
    """Keep the first state, and run all steps again for the gradient: that of ANODE.

    Between forward and backward pass one state is kept; during the backward pass what all steps compute. ``n`` steps
    are evaluated ``2 n`` times.
    """

    def __call__(self, run: Callable[[int, int, State], State], num_steps: int, state: State, field: Field) -> State:
        """State after all steps."""
        return _checkpointed(lambda state: run(0, num_steps, state), state, field)


class BinomialCheckpoint:
    """Keep the first state, and halve the steps until one is left for the gradient of it.

    During the backward pass about ``log2(num_steps)`` states are kept and what one step computes; ``n`` steps are
    evaluated ``2 n + n log2(n) / 2`` times.
    """

    def __call__(self, run: Callable[[int, int, State], State], num_steps: int, state: State, field: Field) -> State:
        """State after all steps."""

        def halve(first: int, last: int, state: State) -> State:
            if last - first == 1:
                return _checkpointed(lambda state: run(first, last, state), state, field)
            middle = (first + last) // 2

            def both(state: State) -> State:
                return halve(middle, last, halve(first, middle, state))

            return _checkpointed(both, state, field)

        return halve(0, num_steps, state)


class StepCheckpoint:
    """Keep the first state, in the backward pass that of each step, and what one step computes.

    ``n`` steps are evaluated ``3 n - 1`` times.
    """

    def __call__(self, run: Callable[[int, int, State], State], num_steps: int, state: State, field: Field) -> State:
        """State after all steps."""

        def steps(state: State) -> State:
            for index in range(num_steps):
                state = _checkpointed(lambda state, index=index: run(index, index + 1, state), state, field)
            return state

        return _checkpointed(steps, state, field)


def odeint(
    field: Field,
    state: State,
    num_steps: int,
    step: Step = euler,
    gradient: Gradient | None = None,
    start_time: float = 0.0,
    end_time: float = 1.0,
) -> State:
    """State at the end time, after equal steps.

    Args:
        field: Time derivative; a module's batch norms keep statistics of each step once, however it is repeated.
        state: At the start time.
        num_steps: How many.
        step: :func:`euler`, :func:`midpoint`, :func:`rk4` or another.
        gradient: How a gradient is found; :class:`Backprop` if ``None``.
        start_time: Of the state.
        end_time: Of the result; before the start to go back.

    Raises:
        ValueError: There is no step, or the field gives another structure than the state's.
    """
    if num_steps < 1:
        raise ValueError(f"expected num_steps of at least 1, got {num_steps}")
    duration = (end_time - start_time) / num_steps

    def run(first: int, last: int, state: State) -> State:
        for index in range(first, last):
            state = step(field, start_time + index * duration, duration, state)
        return state

    return (Backprop() if gradient is None else gradient)(run, num_steps, state, field)


def _add(state: State, factor: float, slope: State) -> State:
    return _map(lambda x, dx: torch.add(x, dx, alpha=factor), state, slope)


def _map(function: Callable[..., Tensor], state: State, *others: State) -> State:
    if isinstance(state, Tensor):
        return function(state, *others)
    return tree_map(function, state, *others)


def _checkpointed(run: Callable[[State], State], state: State, field: Field) -> State:
    """Run without keeping anything but the state, and again when the gradient is asked for."""
    return checkpoint(run, state, use_reentrant=False, context_fn=lambda: (nullcontext(), holding_statistics(field)))


@contextmanager
def holding_statistics(field: Field) -> Iterator[None]:
    """Within, batch norms of a module use a batch's statistics and do not note them: they did so the first time."""
    norms = [norm for norm in _batch_norms(field) if norm.track_running_stats]
    noted = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, noted, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def _batch_norms(field: Field) -> list[nn.modules.batchnorm._BatchNorm]:
    modules = field.modules() if isinstance(field, nn.Module) else ()
    return [module for module in modules if isinstance(module, nn.modules.batchnorm._BatchNorm)]
