"""What frozen encoders see, and in which units."""

import pytest
import torch

from lightning_edge.nn.encoders.frozen_encoder import FrozenEncoder
from lightning_edge.nn.encoders.image_statistics import ImageStatistics


def test_statistics_are_those_of_the_cells():
    image = torch.zeros(1, 3, 4, 4)
    image[:, 0, :2, :2] = 1
    image[:, 1, 2:] = torch.tensor([0.0, 1, 0, 1])
    mean, deviation, down, across = ImageStatistics((2, 2))(image).split([12, 12, 4, 4], 1)
    assert mean.view(3, 2, 2).tolist() == [[[1, 0], [0, 0]], [[0, 0], [0.5, 0.5]], [[0, 0], [0, 0]]]
    assert deviation.view(3, 2, 2)[1].tolist() == [[0, 0], [0.5, 0.5]]
    assert across.view(2, 2)[1].min() > 0.1
    assert down.sum() > 0
    with pytest.raises(ValueError, match=r"expected grid of at least \(1, 1\), got \(0, 2\)"):
        ImageStatistics((0, 2))


@pytest.mark.parametrize("model", [None, "test_resnet"])
def test_features_are_standardised_by_those_it_was_shown(model):
    torch.manual_seed(0)
    encoder = FrozenEncoder.from_timm(model).train()
    assert not any(module.training for module in encoder.modules())
    images = torch.rand(20, 3, 32, 32) * torch.rand(20, 1, 1, 1)
    encoder.standardize(encoder(images))
    features = encoder(images)
    torch.testing.assert_close(features.mean(0), torch.zeros(features.shape[1]), rtol=0, atol=1e-3)
    varies = features.std(0, correction=0) > 0.5
    torch.testing.assert_close(features.std(0, correction=0)[varies], torch.ones(int(varies.sum())), rtol=0, atol=1e-2)
    assert varies.float().mean() > 0.5
    assert not features.requires_grad


def test_what_is_alike_in_all_training_images_is_not_blown_up():
    encoder = FrozenEncoder(torch.nn.Flatten())
    encoder.standardize(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    torch.testing.assert_close(encoder.scaled(torch.tensor([[3.0, 5.01]])), torch.tensor([[1.0, 0.01]]))
