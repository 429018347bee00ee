"""Logarithm of symmetric matrices."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def symmetric_log(matrix: Float[Tensor, "size size"]) -> Float[Tensor, "size size"]:
    """Logarithm of a symmetric matrix with eigenvalues above 0.

    Its gradient is exact for equal eigenvalues too, where that of :func:`torch.linalg.eigh` is not defined. It can be
    differentiated once.
    """
    return _SymmetricLog.apply(matrix)


class _SymmetricLog(torch.autograd.Function):
    """The derivative is that of Daleckii and Krein: divided differences of the logarithm in the eigenbasis."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        ctx.save_for_backward(values, vectors)
        return (vectors * values.log()) @ vectors.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        values, vectors = ctx.saved_tensors
        inner = vectors.T @ gradient @ vectors
        return vectors @ (inner * _divided_differences(values)) @ vectors.T


def _divided_differences(values: Tensor) -> Tensor:
    """(log a - log b) / (a - b) of all pairs of values, and 1 / a where they are equal.

    Close values lose no digits, because log a - log b is 2 artanh((a - b) / (a + b)).
    """
    first, second = values[:, None], values
    difference, total = first - second, first + second
    ratio = difference / total
    is_close = ratio.abs() < 0.5
    near = torch.where(ratio == 0, 1.0, torch.atanh(ratio) / ratio) * 2 / total
    return torch.where(is_close, near, (first.log() - second.log()) / difference)
