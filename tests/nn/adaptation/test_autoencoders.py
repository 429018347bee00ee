import pytest
import torch

from lightning_edge.nn.adaptation.autoencoders import ImageDecoder, ImageEncoder, thumbnails


def test_images_become_features_and_features_images():
    torch.manual_seed(0)
    images = thumbnails(torch.rand(2, 3, 48, 64))
    features = ImageEncoder(5, 4)(images)
    assert features.shape == (2, 5)
    decoded = ImageDecoder(5, 4)(features)
    assert decoded.shape == images.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1


def test_images_of_the_right_size_stay_and_others_are_averaged():
    images = torch.rand(2, 3, 32, 32)
    assert thumbnails(images) is images
    torch.testing.assert_close(thumbnails(torch.full((1, 3, 100, 40), 0.5)), torch.full((1, 3, 32, 32), 0.5))
    # blocks of 2x2 pixels; away from the border, whose filter is cut off
    blocks = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    mean = torch.nn.functional.conv2d(images, weights(), padding=1, groups=3)
    torch.testing.assert_close(thumbnails(blocks)[..., 1:-1, 1:-1], mean[..., 1:-1, 1:-1])


def weights():
    """A triangle filter over four pixels of the large image, of weights 1, 3, 3 and 1, on blocks of two."""
    side = torch.tensor([1, 6, 1]) / 8
    return (side[:, None] * side).expand(3, 1, 3, 3)


def test_bad_sizes_are_named():
    for net in (ImageEncoder, ImageDecoder):
        with pytest.raises(ValueError, match="expected num_features of at least 1, got 0"):
            net(0)
