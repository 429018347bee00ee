"""Precision of tensors."""

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32 if its precision is lower, otherwise the tensor itself."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
