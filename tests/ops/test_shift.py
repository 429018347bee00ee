"""Every way of shifting, against a depthwise convolution with one-hot kernels and against the definition."""

import inspect
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad

from lightning_edge.ops import shift as shift_module
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
        # a view into a larger tensor, whose neighbors must not leak in
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


def test_derivatives_of_both_modes_and_of_second_order_are_exact():
    image, shifts = random_image(1, 10, 2, 2, dtype=torch.float64).requires_grad_(), grid_shifts(10)

    def shift(values):
        return shift2d(values, shifts)

    both_modes = {"check_forward_ad": True, "check_batched_grad": True, "check_batched_forward_grad": True}
    assert torch.autograd.gradcheck(shift, image, **both_modes)
    assert torch.autograd.gradgradcheck(shift, image, check_fwd_over_rev=True, check_batched_grad=True)
    shift(image).sum().backward()
    assert torch.equal(image.grad, one_hot_convolution(torch.ones_like(image), opposite(shifts)))


def test_the_operator_keeps_the_rules_of_torch():
    plan = [value for shift in grid_shifts(20) for value in shift]
    for layout in (torch.contiguous_format, torch.channels_last):
        image = random_image(2, 20, 5, 4).to(memory_format=layout).requires_grad_()
        torch.library.opcheck(torch.ops.lightning_edge.shift, (image, plan))


@pytest.fixture
def without_type_checks(monkeypatch):
    """Those of this suite are Python that is not compiled."""
    for name in ("shift2d", "_follow", "shift_by_pads"):
        monkeypatch.setattr(shift_module, name, inspect.unwrap(getattr(shift_module, name)))


def test_it_is_compiled_in_one_piece(without_type_checks):
    shifts = grid_shifts(20)

    def loss(image):
        return (shift_module.shift2d(2 * image, shifts) ** 2).sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    image = random_image(2, 20, 5, 4).requires_grad_()
    compiled(image).backward()
    gradient, image.grad = image.grad, None
    (shift2d(2 * image, shifts) ** 2).sum().backward()
    torch.testing.assert_close(image.grad, gradient)


@pytest.mark.parametrize("transform", ["jvp", "vjp", "vmap"])
def test_a_transform_within_is_compiled_too(transform, without_type_checks):
    shifts, image = grid_shifts(9), random_image(1, 9, 5, 4)

    def actual(values):
        return TRANSFORMS[transform](lambda x: shift_module.shift2d(x, shifts), values)

    compiled = torch.compile(actual, fullgraph=True, backend="aot_eager")(image)
    expected = TRANSFORMS[transform](lambda x: one_hot_convolution(x, shifts), image)
    torch.testing.assert_close(compiled, expected)


def test_a_whole_number_may_come_as_a_float():
    assert repr(inspect.unwrap(grid_shifts)(9, 3, 2.0)) == repr(grid_shifts(9, 3, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda image: grid_shifts(20, 2), "expected an odd kernel_size of at least 1, got 2"),
        (lambda image: grid_shifts(20, 3, -1), "expected dilation of at least 1, got -1"),
        (lambda image: grid_shifts(8), r"expected num_channels of at least kernel_size\*\*2 \(9\), got 8"),
        (
            lambda image: shift2d(image, [Shift(3, 0, 1)]),
            r"expected shifts for the 20 channels of the image, got shifts for 3",
        ),
        (lambda image: shift2d(image, grid_shifts(20), image), "expected out with its own memory"),
        (
            lambda image: shift2d(image, grid_shifts(20), image.double()),
            "expected out like the image .*64",
        ),
        (
            lambda image: shift2d(image.requires_grad_(), grid_shifts(20), torch.empty(2, 20, 5, 4)),
            "expected no gradient to be required with out",
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
    image = random_image(2, 10, 3, 2, dtype=torch.float64).requires_grad_()
    weight = random_image(3, 10, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *values: shift_pointwise(values[0], grid_shifts(10), values[1]), (image, weight)
    )


def tangent_of(function, inputs, tangents):
    """By forward mode, without ``torch.func``; an input without a tangent is given as none."""
    with forward_ad.dual_level():
        pairs = zip(inputs, tangents, strict=True)
        result = function(*(value if t is None else forward_ad.make_dual(value, t) for value, t in pairs))
        return forward_ad.unpack_dual(result).tangent


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize(
    "with_tangent", [(True, False, False), (False, True, False), (False, False, True), (True,) * 3]
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_no_tangent_is_lost_at_any_size(mode, batch, with_tangent, memory_format, monkeypatch):
    monkeypatch.setattr("lightning_edge.ops.shift._CACHE_BYTES", 2 * 20 * 30 * 4)
    shifts, inputs = grid_shifts(20), (random_image(batch, 20, 5, 6), random_image(3, 20), random_image(3))
    inputs = inputs[0].to(memory_format=memory_format), *inputs[1:]
    tangents = [1 + value if has else None for value, has in zip(inputs, with_tangent, strict=True)]

    def expected(image, weight, bias):
        return F.conv2d(one_hot_convolution(image, shifts), weight[..., None, None], bias)

    with mode():
        actual = tangent_of(lambda image, *rest: shift_pointwise(image, shifts, *rest), inputs, tangents)
        torch.testing.assert_close(actual, tangent_of(expected, inputs, tangents), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_out_receives_the_tangent_too(memory_format):
    image, tangent, shifts = random_image(2, 9, 5, 7), random_image(2, 9, 5, 7) + 1, grid_shifts(9)
    image = image.to(memory_format=memory_format)
    with torch.no_grad():
        actual = tangent_of(lambda values: shift2d(values, shifts, torch.empty_like(image)), [image], [tangent])
    assert torch.equal(actual, one_hot_convolution(tangent, shifts))


TRANSFORMS = {
    "jvp": lambda function, image: torch.func.jvp(function, (image,), (image + 1,)),
    "vjp": lambda function, image: torch.func.vjp(lambda x: function(x) ** 2, image)[1](function(image + 1)),
    "vmap": lambda function, image: torch.vmap(function)(torch.stack([image, image + 1])),
    "vmap of channels": lambda function, image: torch.vmap(function, 3, 1)(torch.stack([image, image + 1], 3)),
    "jacfwd": lambda function, image: torch.func.jacfwd(function)(image),
    "jacrev": lambda function, image: torch.func.jacrev(function)(image),
    "hessian": lambda function, image: torch.func.hessian(lambda x: (function(x) ** 3).sum())(image),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@pytest.mark.parametrize("with_product", [False, True])
def test_transforms_see_a_one_hot_convolution(transform, with_product):
    shifts, weight = grid_shifts(9), random_image(2, 9, dtype=torch.float64)
    image = random_image(1, 9, 2, 3, dtype=torch.float64)

    def actual(values):
        return shift_pointwise(values, shifts, weight) if with_product else shift2d(values, shifts)

    def expected(values):
        shifted = one_hot_convolution(values, shifts)
        return F.conv2d(shifted, weight[..., None, None]) if with_product else shifted

    torch.testing.assert_close(transform(actual, image), transform(expected, image))


def test_each_image_of_a_batch_has_a_weight_of_its_own_under_vmap():
    image, shifts, weights = random_image(2, 9, 5, 7), grid_shifts(9), random_image(4, 3, 9)
    actual = torch.vmap(lambda weight: shift_pointwise(image, shifts, weight))(weights)
    torch.testing.assert_close(actual, torch.stack([shift_pointwise(image, shifts, weight) for weight in weights]))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_complex_values_are_pairs_of_real_ones(dtype, memory_format):
    image, shifts = random_image(2, 20, 5, 4, dtype=dtype).to(memory_format=memory_format), grid_shifts(20)
    image = image * (1 + 2j)

    def expected(values):
        return torch.complex(one_hot_convolution(values.real, shifts), one_hot_convolution(values.imag, shifts))

    assert torch.equal(shift2d(image, shifts), expected(image))
    assert torch.equal(shift2d(image.conj(), shifts), expected(image.conj()))
    assert torch.equal(shift2d(image.conj().imag, shifts), one_hot_convolution(-image.imag, shifts))
    assert torch.equal(shift2d(image, shifts, torch.empty_like(image)), expected(image))
    assert torch.equal(shift2d(image.requires_grad_(), shifts), expected(image))


def test_a_fake_image_leaves_nothing_behind_for_real_ones():
    image, shifts = torch.rand(1, 9, 11, 13), grid_shifts(9)
    with FakeTensorMode() as mode:
        assert shift2d(mode.from_tensor(image), shifts).shape == image.shape
    assert torch.equal(shift2d(image, shifts), one_hot_convolution(image, shifts))


@pytest.mark.parametrize("mode", [lambda: FakeTensorMode(allow_non_fake_inputs=True), lambda: torch.device("meta")])
def test_what_is_kept_for_a_size_does_not_depend_on_who_was_first(mode):
    image, shifts = torch.rand(1, 9, 12, 13), [*opposite(grid_shifts(9))]
    with mode():
        shift2d(image, shifts)
        shift2d(image, grid_shifts(9))
    assert torch.equal(shift2d(image, shifts), one_hot_convolution(image, shifts))
    assert torch.equal(shift2d(image, grid_shifts(9)), one_hot_convolution(image, grid_shifts(9)))
