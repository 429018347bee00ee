"""Shift nets and those that they are compared with: sizes as published, and that parts take each other's place."""

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_edge.nn import DeepLab
from lightning_edge.nn.encoders.cifar_resnet import DepthwiseBlock, ResidualBlock
from lightning_edge.nn.shift.conversion import convert_to_shifts
from lightning_edge.nn.shift.shift import Shift2d, ShiftBlock, ShiftConv2d
from lightning_edge.nn.shift.shiftnet import CSC, SC2


def count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "arguments", "num_parameters"),
    [
        # README of https://github.com/alvinwan/shiftresnet-cifar
        ("cifar_resnet20", {}, 272_474),
        ("cifar_resnet20", {"block_reduction": 2.8}, 96_206),
        ("shiftresnet20", {"expansion": 3}, 95_642),
        # of the same nets in other sizes, by hand
        ("shiftresnet20", {"expansion": 1}, 34_906),
        ("shiftresnet20", {"expansion": 6}, 186_746),
        ("shiftresnet20", {"expansion": 9}, 277_850),
        ("shiftresnet56", {"expansion": 1}, 102_106),
        ("shiftresnet56", {"expansion": 3}, 294_554),
        ("shiftresnet56", {"expansion": 6}, 583_226),
        ("shiftresnet56", {"expansion": 9}, 871_898),
        ("shiftresnet110", {"expansion": 1}, 202_906),
        ("shiftresnet110", {"expansion": 3}, 592_922),
        ("shiftresnet110", {"expansion": 6}, 1_177_946),
        ("shiftresnet110", {"expansion": 9}, 1_762_970),
        # the paper says 4.1 and 1.1 million; of the third it says 0.78
        ("shiftnet_a", {}, 4_188_680),
        ("shiftnet_b", {}, 1_183_480),
        ("shiftnet_c", {}, 776_760),
    ],
)
def test_parameters_are_as_many_as_published(name, arguments, num_parameters):
    with torch.device("meta"):
        assert count(timm.create_model(name, **arguments)) == num_parameters


@pytest.mark.parametrize(("name", "multiplications"), [("shiftnet_a", 1_424_306_176), ("shiftnet_b", 370_956_288)])
def test_operations_are_as_many_as_published(name, multiplications):
    """1.4 billion and 371 million."""
    net = timm.create_model(name).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net(torch.zeros(1, 3, 224, 224))
    assert counter.get_total_flops() == 2 * multiplications


def test_the_module_is_a_depthwise_convolution_of_one_hot_kernels():
    shift = Shift2d(54)
    depthwise = nn.Conv2d(54, 54, 3, padding=1, groups=54, bias=False)
    nn.init.zeros_(depthwise.weight)
    channel = 0
    for num, dy, dx in shift.shifts:
        depthwise.weight.data[channel : channel + num, 0, 1 + dy, 1 + dx] = 1
        channel += num
    image = random(2, 54, 8, 8)
    torch.testing.assert_close(shift(image), depthwise(image), rtol=0, atol=0)


@pytest.mark.parametrize(
    "options", [{}, {"bias": True, "shift_dilation": 2}, {"stride": 2}, {"groups": 2}, {"shift_size": 1}]
)
def test_a_shift_and_a_convolution_are_one_module(options):
    """With and without gradients, which go two ways, and in mixed precision."""
    module, image = ShiftConv2d(18, 6, **options), random(3, 18, 9, 8)
    shift = Shift2d(18, options.get("shift_size", 3), options.get("shift_dilation", 1))
    expected = nn.functional.conv2d(shift(image), module.weight, module.bias, module.stride, groups=module.groups)
    torch.testing.assert_close(module(image), expected)
    with torch.inference_mode():
        torch.testing.assert_close(module(image), expected, rtol=1e-5, atol=1e-5)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        mixed = module(image)
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("make_block", [ShiftBlock, DepthwiseBlock, ResidualBlock])
@pytest.mark.parametrize(("channels", "stride", "shape"), [(9, 1, (2, 9, 8, 6)), (12, 2, (2, 12, 4, 3))])
def test_blocks_for_cifar_keep_or_halve_the_picture(make_block, channels, stride, shape):
    assert make_block(9, channels, stride)(random(2, 9, 8, 6)).shape == shape


@pytest.mark.parametrize(("out_channels", "stride"), [(9, 1), (12, 2)])
def test_a_shift_block_adds_its_shortcut_after_the_last_activation(out_channels, stride):
    """As the released code does: what the block adds is not negative, and what it returns may be."""
    torch.manual_seed(0)
    block, image = ShiftBlock(9, out_channels, stride, expansion=2, dilation=2).eval(), random(2, 9, 8, 6)
    first, first_norm, _, second, second_norm, _ = block.residual
    for norm in (module for module in block.modules() if isinstance(module, nn.BatchNorm2d)):
        for statistic in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
            nn.init.uniform_(statistic, 0.2, 1)

    def normalize(features, norm):
        return nn.functional.batch_norm(features, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    middle = normalize(torch.einsum("oi,bihw->bohw", first.weight[..., 0, 0], image), first_norm).relu()
    shifted, channel = torch.zeros_like(middle), 0
    for num, dy, dx in second.shifts:
        assert max(abs(dy), abs(dx)) in (0, 2)
        for y, x in ((y, x) for y in range(8) for x in range(6) if 0 <= y + dy < 8 and 0 <= x + dx < 6):
            shifted[:, channel : channel + num, y, x] = middle[:, channel : channel + num, y + dy, x + dx]
        channel += num
    added = torch.einsum("oi,bihw->bohw", second.weight[..., 0, 0], shifted[..., ::stride, ::stride])
    added = normalize(added, second_norm).relu()
    kept = image
    if stride == 2:
        convolution, norm = block.shortcut
        kept = normalize(torch.einsum("oi,bihw->bohw", convolution.weight[..., 0, 0], image[..., ::2, ::2]), norm)
    assert (added + kept).min() < -0.1
    torch.testing.assert_close(block(image), added + kept)


@pytest.mark.parametrize("make_module", [CSC, SC2])
def test_a_module_at_a_stride_keeps_its_averaged_input(make_module):
    module, image = make_module(9, 20, 2), random(2, 9, 7, 6)
    features = module(image)
    assert features.shape == (2, 20, 4, 3)
    torch.testing.assert_close(features[:, :9, :3], nn.functional.avg_pool2d(image, 2))
    same = make_module(9, 9)
    nn.init.zeros_(same.residual[-1].weight)
    assert torch.equal(same(image), image)


@pytest.mark.parametrize(
    ("name", "channels", "reductions"),
    [
        ("shiftresnet20", [16, 32, 64], [1, 2, 4]),
        ("cifar_dwresnet20", [16, 32, 64], [1, 2, 4]),
        ("shiftnet_c", [16, 32, 64, 128, 256], [2, 4, 8, 16, 32]),
    ],
)
def test_features_of_all_stages_come_through_timm(name, channels, reductions):
    net = timm.create_model(name, features_only=True).eval()
    assert net.feature_info.channels() == channels
    assert net.feature_info.reduction() == reductions
    features = net(random(1, 3, 64, 96))
    assert [tuple(f.shape) for f in features] == [
        (1, c, 64 // r, 96 // r) for c, r in zip(channels, reductions, strict=True)
    ]


def test_a_shift_net_is_an_encoder_of_deeplab():
    net = DeepLab("shiftnet_c", 5, output_stride=8).eval()
    assert net(torch.rand(1, 3, 64, 96)).shape == (1, 5, 64, 96)
    assert net.features(torch.rand(1, 3, 64, 96)).shape[2:] == (8, 12)


def test_conversion_keeps_the_weights_of_the_places():
    """Where only those places have weights, the convolution is the shift and the 1x1 convolution, up to the factor."""
    conv = nn.Conv2d(20, 6, 3, stride=2, padding=2, dilation=2)
    shifts = Shift2d(20, 3, 2).shifts
    mask = torch.zeros_like(conv.weight)
    channel = 0
    for num, dy, dx in shifts:
        mask[:, channel : channel + num, 1 + dy // 2, 1 + dx // 2] = 1
        channel += num
    conv.weight.data *= mask
    nn.init.zeros_(conv.bias)
    image, expected = random(2, 20, 9, 8), None
    with torch.no_grad():
        expected = 3 * conv(image)
        net = nn.Sequential(conv)
        assert convert_to_shifts(net) == 1
        torch.testing.assert_close(net(image), expected, rtol=1e-5, atol=1e-5)


def test_a_converted_net_is_smaller_and_learns():
    net = timm.create_model("resnet18", num_classes=3)
    before = count(net)
    assert convert_to_shifts(net) == 16
    assert count(net) < 0.15 * before
    assert net.conv1.kernel_size == (7, 7), "the image has three channels only"
    net(random(2, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_depthwise_convolutions_become_factors_of_channels():
    net = nn.Sequential(nn.Conv2d(18, 18, 3, padding=1, groups=18))
    assert convert_to_shifts(net) == 1
    assert net[0].weight.shape == (18, 1, 1, 1)


def test_a_conversion_without_effect_warns():
    with pytest.warns(UserWarning, match="No convolution of Sequential could be replaced by a shift"):
        assert convert_to_shifts(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(16, 8, 3))) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: timm.create_model("shiftnet_a", output_stride=4), "expected output_stride of 8, 16 or 32, got 4"),
        (lambda: timm.create_model("cifar_resnet20", block_reduction=0.5), "expected reduction of at least 1, got 0.5"),
        (lambda: timm.create_model("cifar_resnet20", net_reduction=0.5), "expected net_reduction of at least 1"),
        (lambda: CSC(16, 9), r"expected out_channels of at least in_channels \(16\), got 9"),
        (lambda: ShiftBlock(8, 8, expansion=1), r"expected num_channels of at least kernel_size\*\*2 \(9\), got 8"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
