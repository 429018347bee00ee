import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from lightning_edge.nn import AccelNet, DISFlow, WrappedBranch


@pytest.mark.parametrize("name", ["DeepLabV3Plus", "Unet", "FPN"])
def test_wrapped_net_gives_its_own_scores(name):
    net = getattr(smp, name)("resnet18", encoder_weights=None, classes=5).eval()
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(-1, 1, 1)
    with torch.inference_mode():
        expected = net((image - mean) / std)
        branch = WrappedBranch(net).eval()
        torch.testing.assert_close(branch(image), expected)
        assert branch.features(image).shape[1] == branch.feature_channels
    assert branch.num_classes == 5


@pytest.mark.parametrize("fuse_features", [False, True])
def test_wrapped_nets_are_branches_of_accel(fuse_features):
    reference = WrappedBranch(smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=5))
    update = WrappedBranch(smp.Unet("resnet18", encoder_weights=None, classes=5, decoder_channels=(64, 32, 16, 16, 8)))
    net = AccelNet(reference, update, DISFlow(), fuse_features=fuse_features)
    assert net(torch.rand(2, 3, 3, 64, 96)).shape == (2, 5, 64, 96)


def test_net_that_does_not_end_with_its_head_is_refused():
    branch = WrappedBranch(smp.Unet("resnet18", encoder_weights=None, classes=5, aux_params={"classes": 2}))
    with pytest.raises(ValueError, match="expected a net that ends with its head, got tuple"):
        branch(torch.rand(2, 3, 64, 64))


def test_head_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"such as \['encoder', 'decoder', 'segmentation_head'\], got 'classifier'"):
        WrappedBranch(smp.Unet("resnet18", encoder_weights=None, classes=5), head="classifier")
    with pytest.raises(ValueError, match="expected head to contain a convolution, got ReLU"):
        WrappedBranch(nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU()), head="1")
