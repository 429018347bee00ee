"""Each corruption against a slow or a foreign computation of it, with the degrees of CIFAR-10-C."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from lightning_edge.data.images.corruptions import CORRUPTIONS, corrupt

DEGREES = {
    "noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "blur": (0.4, 0.6, 0.7, 0.8, 1.0),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "dark": (0.6, 0.5, 0.4, 0.3, 0.2),
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
}
"""Of ``make_cifar_c.py`` in github.com/hendrycks/robustness; darkness is our own."""

_SMOOTH = gaussian_filter(np.random.default_rng(0).normal(0, 1, (32, 32, 3)), (1.5, 1.5, 0))
IMAGE = np.rint(255 * (_SMOOTH - _SMOOTH.min()) / np.ptp(_SMOOTH)).astype(np.uint8)
SEVERITIES = (1, 2, 3, 4, 5)


def run(corruption, severity, image=IMAGE, seed=0):
    return corrupt(image, corruption, severity, np.random.default_rng(seed))


def distance(image, other):
    return np.abs(image.astype(float) - other).mean()


@pytest.mark.parametrize("severity", SEVERITIES)
def test_none_changes_nothing(severity):
    kept = run("none", severity)
    assert np.array_equal(kept, IMAGE)
    assert kept is not IMAGE


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_the_original_stays_and_bytes_come_out(corruption):
    image = IMAGE.copy()
    spoiled = run(corruption, 5, image)
    assert np.array_equal(image, IMAGE)
    assert (spoiled.dtype, spoiled.shape) == (np.uint8, IMAGE.shape)
    assert not np.shares_memory(spoiled, image)


@pytest.mark.parametrize("corruption", DEGREES)
def test_it_gets_worse(corruption):
    distances = [distance(run(corruption, severity), IMAGE) for severity in SEVERITIES]
    assert distances[0] > 0.4
    assert all(low < high for low, high in pairwise(distances)), distances


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_its_deviation_and_no_mean(severity):
    gray = np.full((400, 400, 3), 128, np.uint8)
    noise = run("noise", severity, gray).astype(float) - 128
    assert noise.std() == pytest.approx(255 * DEGREES["noise"][severity - 1], rel=0.01)
    assert abs(noise.mean()) < 0.3
    channels = noise.reshape(-1, 3).T
    assert np.abs(np.corrcoef(channels) - np.eye(3)).max() < 0.02


def test_only_noise_follows_from_the_random_numbers():
    for corruption in CORRUPTIONS:
        assert np.array_equal(run(corruption, 3, seed=1), run(corruption, 3, seed=1))
        is_random = not np.array_equal(run(corruption, 3, seed=1), run(corruption, 3, seed=2))
        assert is_random == (corruption == "noise")


def test_noise_is_cut_at_black_and_white():
    for value in (0, 255):
        spoiled = run("noise", 5, np.full((64, 64, 3), value, np.uint8)).astype(float)
        assert 0.3 < (spoiled == value).mean() < 0.6
        assert distance(spoiled, value) < 0.10 * 255  # values that go round would be far


@pytest.mark.parametrize("severity", SEVERITIES)
def test_blur_is_scipys(severity):
    sigma = DEGREES["blur"][severity - 1]
    theirs = gaussian_filter(IMAGE.astype(float), (sigma, sigma, 0), mode="nearest", truncate=4)
    assert np.abs(run("blur", severity) - theirs).max() < 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_shrinks_around_the_mean_of_each_channel(severity):
    mean = np.array([IMAGE[..., channel].mean() for channel in range(3)])
    expected = mean + DEGREES["contrast"][severity - 1] * (IMAGE - mean)
    assert np.abs(run("contrast", severity) - expected).max() <= 0.501


@pytest.mark.parametrize("severity", SEVERITIES)
def test_dark_is_a_share_of_the_light(severity):
    assert np.abs(run("dark", severity) - DEGREES["dark"][severity - 1] * IMAGE).max() <= 0.501


@pytest.mark.parametrize("severity", SEVERITIES)
def test_pixelate_is_pillows(severity):
    size = int(32 * DEGREES["pixelate"][severity - 1])
    small = Image.fromarray(IMAGE).resize((size, size), Image.Resampling.BOX)
    theirs = np.asarray(small.resize((32, 32), Image.Resampling.BOX)).astype(float)
    assert np.abs(run("pixelate", severity) - theirs).max() <= 1


@pytest.mark.parametrize(
    ("corruption", "severity", "message"),
    [
        ("fog", 3, r"expected corruptions among \['none', 'noise', .*\], got 'fog'"),
        ("blur", 0, r"expected severity within \[1, 5\], got 0"),
        ("none", 6, r"expected severity within \[1, 5\], got 6"),
    ],
)
def test_mistakes_are_named(corruption, severity, message):
    with pytest.raises(ValueError, match=message):
        run(corruption, severity)
