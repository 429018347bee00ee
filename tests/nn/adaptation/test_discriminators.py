import pytest
import torch

from lightning_edge.nn.adaptation.discriminators import DomainDiscriminator, MapDiscriminator


def test_each_sample_has_one_logit():
    assert DomainDiscriminator(6, 8)(torch.rand(3, 6)).shape == (3,)


@pytest.mark.parametrize("num_strides", range(6))
def test_each_stride_halves_the_map(num_strides):
    net = MapDiscriminator(2, 4, num_strides)
    side = 2**num_strides
    assert net(torch.rand(1, 2, 64, 96)).shape == (1, 64 // side, 96 // side)
    assert net(torch.rand(1, 2, side, side)).shape == (1, 1, 1)


def test_too_small_maps_and_bad_arguments_are_named():
    with pytest.raises(ValueError, match="expected maps of at least 4x4 for num_strides of 2, got 4x3: use fewer"):
        MapDiscriminator(2, 4, 2)(torch.rand(1, 2, 4, 3))
    with pytest.raises(ValueError, match="expected num_strides of at most 5, got 6"):
        MapDiscriminator(2, 4, 6)
    with pytest.raises(ValueError, match="expected base_channels of at least 1, got 0"):
        MapDiscriminator(2, 0)
