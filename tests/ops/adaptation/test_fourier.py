import inspect
import math

import numpy as np
import pytest
import torch

from lightning_edge.ops.adaptation.fourier import transfer_amplitude


def images(seed, height=8, width=10):
    """Images without much contrast, so that no result is clamped."""
    noise = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 0.45 + 0.05 * noise


def with_numpy(source, target, beta):
    """The same with full shifted spectra, one frequency after the other."""
    height, width = source.shape[-2:]
    spectrum, style = (np.fft.fftshift(np.fft.fft2(x.numpy()), axes=(-2, -1)) for x in (source, target))
    mixed = spectrum.copy()
    for row in range(height):
        for column in range(width):
            is_low = abs(row - height // 2) <= math.floor(beta * height)
            if is_low and abs(column - width // 2) <= math.floor(beta * width):
                phase = np.angle(spectrum[..., row, column])
                mixed[..., row, column] = np.abs(style[..., row, column]) * np.exp(1j * phase)
    result = np.fft.ifft2(np.fft.ifftshift(mixed, axes=(-2, -1)))
    assert np.abs(result.imag).max() < 1e-12
    return torch.from_numpy(result.real)


@pytest.mark.parametrize("size", [(8, 10), (7, 9), (7, 10)])
@pytest.mark.parametrize("beta", [0.0, 0.1, 0.25, 0.4])
def test_equals_numpy(size, beta):
    source, target = images(0, *size), images(1, *size)
    torch.testing.assert_close(transfer_amplitude(source, target, beta), with_numpy(source, target, beta))


def test_a_beta_of_0_changes_the_mean_color():
    source, target = images(0), images(1)
    expected = source - source.mean((2, 3), keepdim=True) + target.mean((2, 3), keepdim=True)
    torch.testing.assert_close(transfer_amplitude(source, target, beta=0.0), expected)


def test_a_beta_of_one_half_replaces_all_amplitudes():
    source, target = images(0), images(1)
    result = transfer_amplitude(source, target, beta=0.5)
    torch.testing.assert_close(torch.fft.fft2(result).abs(), torch.fft.fft2(target).abs())


def test_an_image_in_its_own_style_stays():
    torch.testing.assert_close(transfer_amplitude(images(0), images(0), beta=0.3), images(0))


def test_results_are_images():
    source, target = images(0).float(), torch.zeros(2, 3, 8, 10)
    target[..., ::2] = 1
    result = transfer_amplitude(source, target, beta=0.5)
    assert result.dtype == torch.float32
    assert 0 <= result.min() <= result.max() <= 1
    assert transfer_amplitude(source.half(), target.half()).dtype == torch.float16


@pytest.mark.parametrize("beta", [-0.1, 0.6, math.nan])
def test_beta_is_between_0_and_one_half(beta):
    with pytest.raises(ValueError, match="expected beta of at"):
        transfer_amplitude(images(0), images(1), beta)


def test_images_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r"got \[2, 3, 8, 10\] and \[2, 3, 8, 9\]"):
        transfer_amplitude(images(0), images(0, width=9))
    with pytest.raises(ValueError, match=r"got \[2, 3, 8, 10\] and \[1, 3, 8, 10\]"):
        inspect.unwrap(transfer_amplitude)(images(0), images(0)[:1])
