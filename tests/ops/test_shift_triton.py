"""The kernel for GPUs: on one, and without one as Triton's interpreter runs it."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from lightning_edge.ops.shift import grid_shifts, opposite, shift2d

INTERPRETED = """
import torch

from lightning_edge.ops.shift import grid_shifts, opposite, shift_by_slices
from lightning_edge.ops import shift_triton

MAX_SIZE = shift_triton._MAX_SIZE_OF_INT32
generator = torch.Generator().manual_seed(0)
for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
    for shape, arguments in (((2, 20, 5, 7), (3, 1)), ((1, 9, 33, 40), (3, 2)), ((2, 30, 4, 4), (5, 9))):
        for layout in (torch.contiguous_format, torch.channels_last):
            image = torch.randn(shape, generator=generator).to(dtype).to(memory_format=layout)
            image[0, 0, 0, 0] = float("inf")
            for shifts in (grid_shifts(shape[1], *arguments), opposite(grid_shifts(shape[1], *arguments))):
                wanted = shift_by_slices(image, shifts, image.clone())
                for shift_triton._MAX_SIZE_OF_INT32 in (MAX_SIZE, 0):  # places of 32 bits and of 64
                    assert torch.equal(shift_triton.shift_on_gpu(image, shifts, torch.full_like(image, 7)), wanted)
print("all equal")
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")
def test_the_kernel_interpreted_on_a_cpu():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    ended = subprocess.run([sys.executable, "-c", INTERPRETED], capture_output=True, text=True, env=environment)
    assert ended.stdout == "all equal\n", ended.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_gpu_gives_what_a_cpu_gives(dtype, memory_format):
    image = torch.randn(8, 100, 33, 40, generator=torch.Generator().manual_seed(0)).to(dtype)
    for shifts in (grid_shifts(100), grid_shifts(100, 5, 2), opposite(grid_shifts(100))):
        on_gpu = shift2d(image.cuda().to(memory_format=memory_format), shifts)
        assert on_gpu.is_contiguous(memory_format=memory_format)
        assert torch.equal(on_gpu.cpu(), shift2d(image, shifts))
