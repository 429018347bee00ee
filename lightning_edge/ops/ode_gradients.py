"""Gradients of the solution of a differential equation, which trade memory for computation.

The first three compute the exact gradient of the discrete steps (discretize, then optimize). The continuous adjoint has
another value. Sources: Gholami et al., *ANODE*, arXiv:1902.10298, for one checkpoint per block; Griewank and Walther,
ACM TOMS 26 (2000), for the minimal number of checkpoints; Chen et al., *Neural ODEs*, arXiv:1806.07366, for the
continuous adjoint.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from lightning_edge.ops.ode import Gradient, Solve, State
from lightning_edge.torch_internals import TreeSpec, tree_flatten, tree_unflatten


def block_checkpoint(solve: Solve, state: State) -> State:
    """Keep the first state, and repeat all steps for the gradient, as in ANODE.

    Between the forward and the backward pass one state is kept. During the backward pass the intermediate results of
    all steps are kept. ``n`` steps need ``2 n`` evaluations.
    """
    return _checkpointed(lambda state: solve.run(0, solve.num_steps, state), state, solve)


def step_checkpoint(solve: Solve, state: State) -> State:
    """Keep the first state; in the backward pass, keep all states and the intermediate results of one step.

    ``n`` steps need ``3 n - 1`` evaluations.
    """

    def steps(state: State) -> State:
        for index in range(solve.num_steps):
            state = _checkpointed(lambda state, index=index: solve.run(index, index + 1, state), state, solve)
        return state

    return _checkpointed(steps, state, solve)


def binomial_checkpoint(solve: Solve, state: State) -> State:
    """Keep the first state, and halve the sequence of steps recursively until it has one step.

    During the backward pass about ``log2(n)`` states and the intermediate results of one step are kept. ``n`` steps
    need ``2 n + n log2(n) / 2`` evaluations.
    """

    def halve(first: int, last: int, state: State) -> State:
        if last - first == 1:
            return _checkpointed(lambda state: solve.run(first, last, state), state, solve)
        middle = (first + last) // 2
        return _checkpointed(lambda state: halve(middle, last, halve(first, middle, state)), state, solve)

    return halve(0, solve.num_steps, state)


def continuous_adjoint(solve: Solve, state: State) -> State:
    """Keep the last state, and solve the adjoint equation backward in time by the same steps, as in Neural ODEs.

    This is optimize, then discretize: the gradient approximates that of the exact solution and not that of the discrete
    steps, and the backward solution may not return to the initial state. It is meant for comparisons. Gradients are
    computed for the parameters of the solve's module.
    """
    parameters = tuple(solve.module.parameters()) if solve.module is not None else ()
    values, spec = tree_flatten(state)
    return tree_unflatten(_ContinuousAdjoint.apply(solve, spec, len(values), *values, *parameters), spec)


GRADIENTS: dict[str, Gradient | None] = {
    "backprop": None,
    "block_checkpoint": block_checkpoint,
    "step_checkpoint": step_checkpoint,
    "binomial_checkpoint": binomial_checkpoint,
    "continuous_adjoint": continuous_adjoint,
}
"""Gradient functions by name. ``backprop`` keeps all intermediate results."""


class _ContinuousAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, solve: Solve, spec: TreeSpec, num_values: int, *inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            end, _ = tree_flatten(solve.run(0, solve.num_steps, tree_unflatten(list(inputs[:num_values]), spec)))
        ctx.solve, ctx.spec, ctx.parameters = solve, spec, inputs[num_values:]
        device = inputs[0].device.type
        device = device if torch.amp.is_autocast_available(device) else "cpu"  # the device "meta" has no autocast
        ctx.autocast = device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        ctx.save_for_backward(*end)
        return tuple(end)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *adjoint: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        solve, parameters = ctx.solve, [parameter for parameter in ctx.parameters if parameter.requires_grad]

        def field(time: float, augmented: State) -> State:
            values, adjoint, _ = augmented
            with torch.enable_grad(), torch.autocast(*ctx.autocast):
                values = [value.detach().requires_grad_() for value in values]
                slope = lambda state: solve.field(time, state)  # noqa: E731
                state, _ = _run_on(_buffers(solve.module), slope, tree_unflatten(values, ctx.spec), solve.module)
                slopes, _ = tree_flatten(state)
                wanted = [*values, *parameters]
                input_gradients = torch.autograd.grad(
                    slopes, wanted, [-part for part in adjoint], materialize_grads=True
                )
            return (
                [slope.detach() for slope in slopes],
                list(input_gradients[: len(values)]),
                list(input_gradients[len(values) :]),
            )

        start = list(ctx.saved_tensors), list(adjoint), [torch.zeros_like(parameter) for parameter in parameters]
        back = solve._replace(field=field, start_time=solve.end_time, end_time=solve.start_time)
        with torch.no_grad():
            _, adjoint_at_start, gradients = back.run(0, solve.num_steps, start)
        by_parameter = dict(zip(map(id, parameters), gradients, strict=True))
        return None, None, None, *adjoint_at_start, *(by_parameter.get(id(parameter)) for parameter in ctx.parameters)


def _checkpointed(run: Callable[[State], State], state: State, solve: Solve) -> State:
    """Run and keep only the initial state, and run again when the gradient is computed.

    Batch norms must update their buffers once for each step, and not again when the step is repeated. So the run reads
    and writes copies of the buffers, as a function without side effects. ``torch.compile`` needs this as well.
    """
    if not torch.is_grad_enabled():
        return run(state)
    buffers = _buffers(solve.module)
    if not buffers:
        return checkpoint(run, state, use_reentrant=False)
    copies = {name: buffer.clone() for name, buffer in buffers.items()}  # the checkpoint keeps its arguments
    end, updated = checkpoint(_run_on, copies, run, state, solve.module, use_reentrant=False)
    with torch.no_grad():
        for name, buffer in buffers.items():
            buffer.copy_(updated[name])
    return end


class _WithModule(nn.Module):
    """Wraps a function as a module, with the module that the function uses as a submodule."""

    def __init__(self, module: nn.Module, run: Callable[[State], State]) -> None:
        super().__init__()
        self.module = module
        self.run = run

    def forward(self, state: State) -> State:
        return self.run(state)


def _run_on(
    buffers: dict[str, Tensor], run: Callable[[State], State], state: State, module: nn.Module | None
) -> tuple[State, dict[str, Tensor]]:
    """Run while a module uses copies of its buffers. Returns the result and the updated copies."""
    if module is None or not buffers:
        return run(state), {}
    copies = {f"module.{name}": buffer.clone() for name, buffer in buffers.items()}
    end = functional_call(_WithModule(module, run), copies, (state,), tie_weights=False)
    return end, {name: copies[f"module.{name}"] for name in buffers}


def _buffers(module: nn.Module | None) -> dict[str, Tensor]:
    return {} if module is None else dict(module.named_buffers())
