"""Every way of shifting, against a depthwise convolution with one-hot kernels and against the definition."""

import inspect
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from lightning_edge.ops.shift import (
    Shift,
    grid_shifts,
    opposite,
    shift2d,
    shift_by_slices,
    shift_pointwise,
    shifts_of_offsets,
)

SHAPES = [(2, 9, 5, 7), (1, 20, 4, 4), (3, 50, 6, 5), (1, 9, 1, 1), (2, 144, 8, 8), (4, 27, 3, 9)]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def random_image(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def one_hot_convolution(image, shifts):
    """The shift as a depthwise convolution."""
    reach = max(max(abs(dy), abs(dx)) for _, dy, dx in shifts)
    kernels = torch.zeros(image.shape[1], 1, 2 * reach + 1, 2 * reach + 1, dtype=image.dtype)
    first = 0
    for num, dy, dx in shifts:
        kernels[first : first + num, 0, reach + dy, reach + dx] = 1
        first += num
    return F.conv2d(image, kernels, padding=reach, groups=image.shape[1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (3, 1), (3, 2), (3, 9), (5, 1), (5, 3)])
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_grid_of_shifts_is_a_one_hot_convolution(shape, kernel_size, dilation, back, memory_format):
    if shape[1] < kernel_size**2:
        pytest.skip("fewer channels than places")
    image = random_image(*shape).to(memory_format=memory_format)
    shifts = grid_shifts(shape[1], kernel_size, dilation)
    shifts = opposite(shifts) if back else shifts
    shifted = shift2d(image, shifts)
    assert torch.equal(shifted, one_hot_convolution(image, shifts))
    assert shifted.stride() == image.stride()


def test_any_offsets_follow_the_definition():
    generator = torch.Generator().manual_seed(1)

    def draw(least, most, *size):
        return torch.randint(least, most + 1, size, generator=generator).tolist()

    for _ in range(200):
        (batch, channels), (height, width) = draw(1, 8, 2), draw(1, 6, 2)
        shifts = shifts_of_offsets([tuple(offset) for offset in draw(-7, 7, channels, 2)])
        # a view into a larger tensor, whose neighbours must not leak in
        image = random_image(batch + 2, channels, height, width)[1:-1]
        expected = torch.zeros_like(image)
        offsets = [(dy, dx) for num, dy, dx in shifts for _ in range(num)]
        for channel, y, x in itertools.product(range(channels), range(height), range(width)):
            dy, dx = offsets[channel]
            if 0 <= y + dy < height and 0 <= x + dx < width:
                expected[:, channel, y, x] = image[:, channel, y + dy, x + dx]
        assert torch.equal(shift2d(image, shifts), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_copied_bit_by_bit(dtype):
    image = random_image(2, 20, 5, 6, dtype=dtype)
    image[0, 3, 2, 2], image[-1, -1, -1, -1], image[0, 0, 0, 0] = float("inf"), float("nan"), -0.0
    for shifts in (grid_shifts(20), opposite(grid_shifts(20))):
        expected = shift_by_slices(image, shifts, torch.empty_like(image))
        torch.testing.assert_close(shift2d(image, shifts), expected, rtol=0, atol=0, equal_nan=True)
        # what comes in is zero and not zero times what was there
        assert shift2d(torch.full_like(image, float("inf")), shifts).isnan().sum() == 0


def test_channels_left_over_do_not_move():
    shifts = grid_shifts(23)
    assert sum(num for num, _, _ in shifts) == 23
    image = random_image(1, 23, 4, 4)
    assert torch.equal(shift2d(image, shifts)[:, 18:], image[:, 18:])


def test_every_place_of_the_kernel_has_as_many_channels():
    places = [(dy, dx) for num, dy, dx in grid_shifts(75, 5, 2) for _ in range(num)]
    assert {place: places.count(place) for place in places} == {
        (2 * row, 2 * column): 3 for row in range(-2, 3) for column in range(-2, 3)
    }


def test_out_is_written_in_full():
    image, shifts = random_image(2, 20, 5, 6), grid_shifts(20)
    for layout in (torch.contiguous_format, torch.channels_last):
        out = torch.full_like(image, float("nan")).to(memory_format=layout)
        assert shift2d(image, shifts, out) is out
        assert torch.equal(out, shift2d(image, shifts))


def test_the_gradient_is_exact():
    image = random_image(2, 20, 5, 4, dtype=torch.float64).requires_grad_()
    shifts = grid_shifts(20)
    assert torch.autograd.gradcheck(lambda values: shift2d(values, shifts), image)
    assert torch.autograd.gradgradcheck(lambda values: shift2d(values, shifts), image)
    shift2d(image, shifts).sum().backward()
    assert torch.equal(image.grad, one_hot_convolution(torch.ones_like(image), opposite(shifts)))


def test_the_operator_keeps_the_rules_of_torch():
    plan = [value for shift in grid_shifts(20) for value in shift]
    for layout in (torch.contiguous_format, torch.channels_last):
        image = random_image(2, 20, 5, 4).to(memory_format=layout).requires_grad_()
        torch.library.opcheck(torch.ops.lightning_edge.shift, (image, plan))


def test_it_is_compiled_in_one_piece():
    shifts = grid_shifts(20)
    shift = inspect.unwrap(shift2d)  # the suite's type checks are Python that is not compiled
    compiled = torch.compile(lambda image: (shift(2 * image, shifts) ** 2).sum(), fullgraph=True, backend="aot_eager")
    image = random_image(2, 20, 5, 4).requires_grad_()
    compiled(image).backward()
    gradient, image.grad = image.grad, None
    (shift2d(2 * image, shifts) ** 2).sum().backward()
    torch.testing.assert_close(image.grad, gradient)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda image: grid_shifts(20, 2), "expected an odd kernel_size of at least 1, got 2"),
        (lambda image: grid_shifts(20, 3, -1), "expected dilation of at least 1, got -1"),
        (lambda image: grid_shifts(8), "expected a channel for each of 9 places of the kernel, got 8"),
        (lambda image: shift2d(image, [Shift(3, 0, 1)]), r"expected shifts of 20 channels, those of the image, got 3"),
        (lambda image: shift2d(image, grid_shifts(20), image), "expected out with memory of its own"),
        (
            lambda image: shift2d(image, grid_shifts(20), image.double()),
            "expected out like the image .*64",
        ),
        (
            lambda image: shift2d(image.requires_grad_(), grid_shifts(20), torch.empty(2, 20, 5, 4)),
            "expected out where no gradient is asked for",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(random_image(2, 20, 5, 4))


@pytest.mark.parametrize("batch", [0, 1, 7])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_shift_and_product_in_one_is_both_in_turn(batch, bias, memory_format, dtype, monkeypatch):
    monkeypatch.setattr("lightning_edge.ops.shift._CACHE_BYTES", 2 * 20 * 30 * 4)
    image = random_image(batch, 20, 5, 6, dtype=dtype).to(memory_format=memory_format)
    weight, offset = random_image(3, 20, dtype=dtype), random_image(3, dtype=dtype) if bias else None
    expected = F.conv2d(shift2d(image, grid_shifts(20)), weight[..., None, None], offset)
    torch.testing.assert_close(shift_pointwise(image, grid_shifts(20), weight, offset), expected)


def test_shift_and_product_in_one_have_gradients():
    image = random_image(2, 20, 5, 4, dtype=torch.float64).requires_grad_()
    weight = random_image(3, 20, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *values: shift_pointwise(values[0], grid_shifts(20), values[1]), (image, weight)
    )


def test_a_tangent_is_shifted_too():
    image, tangent, shifts = random_image(2, 9, 5, 7), random_image(2, 9, 5, 7) + 1, grid_shifts(9)
    outputs = torch.func.jvp(lambda x: shift2d(x, shifts), (image,), (tangent,))
    assert all(
        torch.equal(*pair) for pair in zip(outputs, (shift2d(image, shifts), shift2d(tangent, shifts)), strict=True)
    )
    weight = torch.rand(4, 9)
    _, of_product = torch.func.jvp(lambda x: shift_pointwise(x, shifts, weight), (image,), (tangent,))
    torch.testing.assert_close(of_product, shift_pointwise(tangent, shifts, weight))


def test_a_fake_image_leaves_nothing_behind_for_real_ones():
    image, shifts = torch.rand(1, 9, 11, 13), grid_shifts(9)
    with FakeTensorMode() as mode:
        assert shift2d(mode.from_tensor(image), shifts).shape == image.shape
    assert torch.equal(shift2d(image, shifts), shift_by_slices(image, shifts, torch.empty_like(image)))
