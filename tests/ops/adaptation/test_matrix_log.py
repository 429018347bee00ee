import pytest
import torch
from domain_features import normal
from scipy.linalg import logm

from lightning_edge.ops.adaptation.matrix_log import symmetric_log


def with_eigenvalues(*values):
    vectors, _ = torch.linalg.qr(normal(0, len(values), len(values)))
    return (vectors * torch.tensor(values, dtype=torch.float64)) @ vectors.T


MATRICES = [(1.0, 2.0, 3.0), (2.0, 2.0, 2.0), (1.0, 1.0, 5.0), (1.0, 1 + 1e-9, 5.0), (0.01, 1.0, 30.0)]


@pytest.mark.parametrize("values", MATRICES)
def test_equals_scipy(values):
    matrix = with_eigenvalues(*values)
    torch.testing.assert_close(symmetric_log(matrix), torch.from_numpy(logm(matrix.numpy())))


@pytest.mark.parametrize("values", MATRICES)
def test_gradients_are_exact_also_for_equal_eigenvalues(values):
    weights = normal(1, 3, 3)
    matrix = with_eigenvalues(*values).requires_grad_()

    def loss(matrix):
        return (weights * symmetric_log((matrix + matrix.T) / 2)).sum()

    assert torch.autograd.gradcheck(loss, matrix, eps=1e-6 * values[0])


def test_the_gradient_at_the_identity_is_the_identity():
    matrix = torch.eye(3, requires_grad=True)
    weights = normal(1, 3, 3, dtype=torch.float32)
    (weights * symmetric_log(matrix)).sum().backward()
    torch.testing.assert_close(matrix.grad, weights)
