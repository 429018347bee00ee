"""Steps of a kernel's equation against the exponential of its matrix of derivatives, for kernels of all sizes."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import nn

from lightning_edge.nn.ode.weight_evolution import ReactionDiffusionAdvection, WeightEvolution

SIZES = [(1, 1), (2, 2), (4, 4), (2, 3), (3, 2), (3, 3), (5, 5), (1, 4), (6, 1), (7, 8)]


def make_equation(shape, per_channel=False, dtype=torch.float64):
    equation = ReactionDiffusionAdvection(shape, per_channel, nonlinearity=None).to(dtype)
    generator = torch.Generator().manual_seed(0)
    for parameter in equation.parameters():
        parameter.data += torch.randn(parameter.shape, generator=generator)
    return equation


def kernel_of(size, dtype=torch.float64):
    return torch.randn(3, 2, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def derivatives(count):
    """First and second derivative of the trigonometric interpolant of a period's values, for each cell.

    Formulas for even counts: Trefethen, *Spectral Methods in MATLAB* (2000), chapter 3. For odd ones, whose
    interpolant has no lone cosine, the second derivative is the first one of the first.
    """
    if count == 1:
        return np.zeros((1, 1)), np.zeros((1, 1))
    unit = 2 * np.pi / count
    first, second = np.zeros((count, count)), np.full((count, count), -(count**2 + 2) / 12)
    for row in range(count):
        for column in set(range(count)) - {row}:
            half, sign = (row - column) * unit / 2, (-1) ** (row - column)
            first[row, column] = sign / 2 / (np.sin(half) if count % 2 else np.tan(half))
            second[row, column] = -sign / 2 / np.sin(half) ** 2
    return unit * first, unit**2 * (first @ first if count % 2 else second)


def solution(equation, kernel, duration, index=0):
    """The kernel after a time, by the exponential of the equation's matrix."""
    diffusion, reaction = (float(values.detach()[index]) for values in (equation.diffusion, equation.reaction))
    down, right = equation.advection.detach()[index].tolist()
    (first_y, second_y), (first_x, second_x) = (derivatives(count) for count in kernel.shape[-2:])
    one_y, one_x = np.eye(len(first_y)), np.eye(len(first_x))
    matrix = diffusion * (np.kron(second_y, one_x) + np.kron(one_y, second_x))
    matrix += down * np.kron(first_y, one_x) + right * np.kron(one_y, first_x) + reaction * np.eye(len(matrix))
    return torch.from_numpy(kernel.flatten(-2).numpy() @ expm(duration * matrix).T).view(kernel.shape)


@pytest.mark.parametrize("duration", [0.1, 1.0, 2.7])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_step_is_the_solution(size, duration):
    kernel = kernel_of(size)
    equation = make_equation(kernel.shape)
    torch.testing.assert_close(equation(kernel, duration), solution(equation, kernel, duration), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_steps_follow_one_another_to_the_same_end(size):
    kernel = kernel_of(size)
    equation = make_equation(kernel.shape)
    for durations in ([0.5, 0.5], [0.2, 0.7, 0.1], [1.5, -0.5]):
        end = kernel
        for duration in durations:
            end = equation(end, duration)
        torch.testing.assert_close(end, equation(kernel, 1.0), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(2, 2), (3, 3), (4, 3)], ids=str)
def test_each_filter_has_a_solution_of_its_own(size):
    kernel = kernel_of(size)
    equation = make_equation(kernel.shape, per_channel=True)
    expected = torch.cat([solution(equation, kernel[n : n + 1], 0.7, n) for n in range(3)])
    torch.testing.assert_close(equation(kernel, 0.7), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("size", [(2, 2), (3, 4), (4, 5)], ids=str)
def test_steps_in_float32_are_the_solution_too(size):
    kernel = kernel_of(size, torch.float32)
    equation = make_equation(kernel.shape, dtype=torch.float32)
    torch.testing.assert_close(
        equation(kernel, 1.0).double(), solution(equation, kernel.double(), 1.0), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("size", [2, 3, 4])
def test_more_steps_of_an_evolution_change_nothing(size):
    """Without a nonlinearity, whatever the size of a net's kernels."""
    torch.manual_seed(0)
    net = nn.Conv2d(3, 3, size)
    evolutions = [WeightEvolution(net, steps, make_equation).double() for steps in (1, 4)]
    ends = [evolution({"weight": net.weight.double()})[-1]["weight"] for evolution in evolutions]
    torch.testing.assert_close(*ends, rtol=1e-11, atol=1e-11)
    assert (ends[0] - net.weight).abs().max() > 0.01
