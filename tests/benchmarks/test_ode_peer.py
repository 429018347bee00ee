"""Fixed steps and their gradients beside torchdiffeq, on one convolutional block.

The peer's ``odeint`` with plain backpropagation and its ``odeint_adjoint`` make the same steps as ours; the exact
gradient is that of plain backpropagation through those steps.
"""

from functools import partial

import pytest
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.profiler import ProfilerActivity, profile

from lightning_edge.ops.ode import STEPS, odeint
from lightning_edge.ops.ode_gradients import GRADIENTS
from lightning_edge.timing import interleave, ratio

pytestmark = pytest.mark.benchmark

SHAPE = (32, 16, 32, 32)
NUM_STEPS = 8
ROUNDS = 30


class Field(nn.Module):
    """What a block's field is, without batch norm, which the peer would update twice."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1), nn.Tanh(), nn.Conv2d(16, 16, 3, padding=1), nn.Tanh()
        )
        for parameter in self.parameters():
            parameter.data *= 3  # fast enough to have an error

    def forward(self, time, state):
        return self.layers(state)


def image(shape=SHAPE, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def solvers(torchdiffeq, step, num_steps):
    """What maps a field and a state to its end, by name; the peer's rk4 is the one of the 3/8 rule."""
    ours = {f"ours, {name}": partial(_ours, STEPS[step], way, num_steps) for name, way in GRADIENTS.items()}
    options = {"method": step, "options": {"step_size": 1 / num_steps}}
    peers = {
        f"torchdiffeq, {name}": partial(_theirs, getattr(torchdiffeq, name), options)
        for name in ("odeint", "odeint_adjoint")
    }
    return ours | peers


def _ours(step, gradient, num_steps, field, state):
    return odeint(field, state, num_steps, step, gradient)


def _theirs(solver, options, field, state):
    return solver(field, state, torch.tensor([0.0, 1.0], dtype=state.dtype), **options)[-1]


def gradients(solve, field, state):
    """Of the mean square of the end, by the parameters."""
    return torch.autograd.grad(solve(field, state).square().mean(), list(field.parameters()))


def relative_error(actual, exact):
    actual, exact = (torch.cat([part.flatten() for part in parts]) for parts in (actual, exact))
    return ((actual - exact).norm() / exact.norm()).item()


def show(table, capsys):
    with capsys.disabled():
        Console(width=110).print(table)


def test_error_of_state_and_gradient(capsys):
    torchdiffeq = pytest.importorskip("torchdiffeq")
    field, state = Field().double(), image((4, *SHAPE[1:]), torch.float64)
    with torch.no_grad():
        truth = odeint(field, state, 512, STEPS["rk4"])
    table = Table(
        "step", "steps", "error of the end", "torchdiffeq", "gradient, checkpoint", "our adjoint", "theirs",
        title="relative errors, float64; the gradient's against backpropagation through the same steps",
    )  # fmt: skip
    for step in STEPS:
        for num_steps in (1, 2, 4, 8, 16, 32):
            actual = solvers(torchdiffeq, step, num_steps)
            with torch.no_grad():
                ends = [actual[name](field, state) for name in ("ours, backprop", "torchdiffeq, odeint")]
            errors = [((end - truth).norm() / truth.norm()).item() for end in ends]
            exact = gradients(actual["ours, backprop"], field, state)
            of_gradients = [
                relative_error(gradients(actual[name], field, state), exact)
                for name in ("ours, block_checkpoint", "ours, continuous_adjoint", "torchdiffeq, odeint_adjoint")
            ]
            assert of_gradients[0] == 0
            table.add_row(step, str(num_steps), *(f"{error:.1e}" for error in (*errors, *of_gradients)))
    show(table, capsys)


@pytest.mark.parametrize("step", list(STEPS))
def test_time_forward_and_backward(step, capsys):
    torchdiffeq = pytest.importorskip("torchdiffeq")
    field, state = Field(), image()
    functions = {
        name: partial(gradients, solve, field, state) for name, solve in solvers(torchdiffeq, step, NUM_STEPS).items()
    }
    times = interleave(functions, ROUNDS)
    references = ("ours, backprop", "torchdiffeq, odeint_adjoint")
    table = Table(
        "", "p50 ms", *(f"of {name}" for name in references),
        title=f"{NUM_STEPS} {step} steps forward and backward, {SHAPE}, {torch.get_num_threads()} threads",
    )  # fmt: skip
    for name, samples in times.items():
        ratios = [ratio(samples, times[reference]) for reference in references]
        cells = (f"{r.value:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in ratios)
        table.add_row(name, f"{samples.percentile(50).value:.1f}", *cells)
    show(table, capsys)


def test_peak_memory(capsys):
    torchdiffeq = pytest.importorskip("torchdiffeq")
    state = image()
    settings = [(1, num_steps) for num_steps in (2, 4, 8, 16, 32)] + [(depth, 8) for depth in (2, 4, 8)]
    names = list(solvers(torchdiffeq, "euler", 1))
    table = Table(
        "blocks", "steps", *(name.removeprefix("ours, ").replace("_checkpoint", "") for name in names),
        title=f"most memory beyond that of the input, in multiples of its {state.nbytes / 2**20:.0f} MiB",
    )  # fmt: skip
    for depth, num_steps in settings:
        fields = nn.ModuleList(Field() for _ in range(depth))

        def run(solve, fields=fields):
            end = state
            for field in fields:
                end = solve(field, end)
            torch.autograd.grad(end.square().mean(), list(fields.parameters()))

        peaks = [peak_bytes(partial(run, solve)) for solve in solvers(torchdiffeq, "euler", num_steps).values()]
        table.add_row(str(depth), str(num_steps), *(f"{peak / state.nbytes:.1f}" for peak in peaks))
    show(table, capsys)


def peak_bytes(function):
    """Most bytes that torch's allocator on the CPU had lent since the call began."""
    function()  # what is allocated once and for all
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    lent = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        lent += event.nbytes()
        most = max(most, lent)
    return most
