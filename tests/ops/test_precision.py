import pytest
import torch

from lightning_edge.ops.precision import at_least_float32


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_only_lower_precision_is_converted(dtype, expected):
    values = torch.tensor([1.0, 1 / 3], dtype=dtype)
    converted = at_least_float32(values)
    assert converted.dtype == expected
    assert (converted is values) == (dtype == expected)
    assert torch.equal(converted.double(), values.double())
