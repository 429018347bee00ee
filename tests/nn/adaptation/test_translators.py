import pytest
import torch

from lightning_edge.nn.adaptation.generators import CoupledGenerators
from lightning_edge.nn.adaptation.translators import ImageTranslator


@pytest.mark.parametrize("size", [(32, 32), (17, 40)])
def test_a_translator_starts_as_the_identity(size):
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    image[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    translated = ImageTranslator(4)(image)
    torch.testing.assert_close(translated, image.clamp(0.02, 0.98))


def test_a_translator_learns_other_colors():
    torch.manual_seed(0)
    net, image = ImageTranslator(4, 1), torch.rand(4, 3, 8, 8)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    first = (net(image) - (1 - image)).abs().mean()
    for _ in range(120):
        optimizer.zero_grad()
        loss = (net(image) - (1 - image)).abs().mean()
        loss.backward()
        optimizer.step()
    assert loss < first / 2


def test_coupled_images_differ_in_the_last_layer_only():
    torch.manual_seed(0)
    net = CoupledGenerators(5, 4)
    source, target = net(torch.rand(2, 5))
    assert source.shape == target.shape == (2, 3, 32, 32)
    assert 0 <= source.min() <= source.max() <= 1
    assert not torch.equal(source, target)
    net.target.load_state_dict(net.source.state_dict())
    source, target = net(torch.rand(2, 5))
    assert torch.equal(source, target)


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match="expected num_blocks of at least 1, got 0"):
        ImageTranslator(num_blocks=0)
    with pytest.raises(ValueError, match="expected num_features of at least 1, got 0"):
        CoupledGenerators(0)
