import pytest
import torch
from timm.layers import BatchNormAct2d, ScaledStdConv2d
from torch import nn

from lightning_edge.nn import DeepLab
from lightning_edge.nn.segmentation.deformable import DeformableConv2d, deform


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "dilation", "bias"), [(1, 1, True), (1, 2, False), (2, 1, True)])
def test_without_displacement_it_is_the_convolution(groups, stride, dilation, bias):
    conv = nn.Conv2d(4, 6, 3, stride, dilation, dilation, bias=bias)
    features = random(2, 4, 9, 11)
    torch.testing.assert_close(DeformableConv2d(conv, groups)(features), conv(features), rtol=1e-5, atol=1e-5)


def test_equal_displacements_by_a_cell_read_the_neighbor():
    conv = nn.Conv2d(3, 5, 3, padding=1)
    deformable = DeformableConv2d(conv)
    with torch.no_grad():
        deformable.offset.bias.view(9, 2)[:] = torch.tensor([0.0, 1.0])  # (down, right) for each tap
    features = random(1, 3, 8, 10)
    inside = (..., slice(1, -1), slice(1, -2))
    torch.testing.assert_close(deformable(features)[inside], conv(features.roll(-1, -1))[inside], rtol=1e-5, atol=1e-5)


def test_displacements_learn():
    deformable = DeformableConv2d(nn.Conv2d(3, 5, 3, padding=1))
    deformable(random(1, 3, 8, 10)).square().sum().backward()
    assert deformable.offset.weight.grad.abs().sum() > 0


def test_half_precision_keeps_its_type_and_finds_the_places():
    """Place 300.5 is none in bfloat16; here a ramp is read there."""
    conv = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(conv.weight)
    deformable = DeformableConv2d(conv)
    with torch.no_grad():
        deformable.offset.bias[1] = 0.5
    ramp = torch.arange(400.0).remainder(2).view(1, 1, 1, 400)
    got = deformable.to(torch.bfloat16)(ramp.bfloat16())
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got[..., 1:-1].float(), torch.full((1, 1, 1, 398), 0.5))


def test_only_dense_convolutions_are_deformed():
    net = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Sequential(nn.Conv2d(4, 4, 3)))
    assert deform(net) == 1
    assert isinstance(net[2][0], DeformableConv2d)


@pytest.mark.parametrize(("encoder", "groups", "count"), [("resnet18", 4, 4), ("resnet50", 1, 3)])
def test_deeplab_deforms_the_last_stage(encoder, groups, count):
    """All four 3x3 convolutions of two basic blocks; one in each of three bottlenecks, as in the released code."""
    torch.manual_seed(0)
    plain = DeepLab(encoder, 5, hidden_channels=8).eval()
    torch.manual_seed(0)
    deformed = DeepLab(encoder, 5, hidden_channels=8, deformable_groups=groups).eval()
    names = [name for name, module in deformed.named_modules() if isinstance(module, DeformableConv2d)]
    assert len(names) == count
    assert all(name.startswith("encoder.layer4") for name in names)
    deformed.load_state_dict({**deformed.state_dict(), **plain.state_dict()})
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(deformed(image), plain(image), rtol=1e-3, atol=1e-3)


def test_an_encoder_without_dense_convolutions_is_refused():
    with pytest.raises(ValueError, match="expected an encoder with dense convolutions in its last stage"):
        DeepLab("mobilenetv3_small_050", 5, deformable_groups=1)


@pytest.mark.parametrize("changed", [{"groups": 2}, {"padding_mode": "reflect", "padding": 1}, {"padding": "same"}])
def test_convolutions_of_another_kind_are_refused(changed):
    with pytest.raises(ValueError, match="expected a plain dense convolution"):
        DeformableConv2d(nn.Conv2d(4, 4, 3, **changed))
    assert deform(nn.Sequential(nn.Conv2d(4, 4, 3, **changed), ScaledStdConv2d(4, 4, 3))) == 0


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="4 input channels, got 3"):
        DeformableConv2d(nn.Conv2d(4, 4, 3), 3)


def test_frozen_norm_neither_counts_nor_learns():
    with pytest.warns(UserWarning, match="freeze_norm is set without weights"):
        net = DeepLab("resnet18", 5, hidden_channels=8, freeze_norm=True).train()
    assert not [m for m in net.modules() if isinstance(m, nn.BatchNorm2d | BatchNormAct2d)]
    before = {name: value.clone() for name, value in net.named_buffers()}
    net(torch.rand(2, 3, 64, 64)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    assert not [name for name, _ in net.named_parameters() if "bn" in name]
