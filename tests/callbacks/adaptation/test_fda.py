"""Source images with the style of target images."""

import numpy as np
import pytest
import torch
from adaptation_runs import fit, make_classification, make_digits, make_street_clips, same, weights
from lightning.pytorch import Callback
from settings import make_accel
from settings import make_digits as make_plain_digits

from callbacks.adaptation import FDA
from callbacks.adaptation.fourier import _restyled


class Seen(Callback):
    """Source and target images before and after another callback."""

    def __init__(self):
        self.images = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        key = "image" if "image" in batch else "frames"
        self.images.append((batch[key], trainer.datamodule.target_batch[key]))


def restyled(method, data, folder, beta):
    before, after = Seen(), Seen()
    fit(method, data, folder, before, FDA(beta), after, limit_train_batches=1)
    ((source, target),), ((result, _),) = before.images, after.images
    return source, target, result


def test_beta_0_exchanges_the_mean_colors_only(tmp_path):
    source, target, result = restyled(make_classification(), make_digits(), tmp_path, 0.0)
    expected = source - source.mean((2, 3), keepdim=True) + target.mean((2, 3), keepdim=True)
    torch.testing.assert_close(result, expected.clamp(0, 1))


def test_low_frequencies_have_the_amplitudes_of_the_target(tmp_path):
    source, target, result = restyled(make_classification(), make_digits(), tmp_path, 0.07)
    for one, style, changed in zip(source.numpy(), target.numpy(), result.numpy(), strict=True):
        spectrum, amplitudes = np.fft.fft2(one), np.abs(np.fft.fft2(style))
        for row in (0, 1, 2, -1, -2):
            for column in (0, 1, 2, -1, -2):
                phase = np.angle(spectrum[:, row, column])
                spectrum[:, row, column] = amplitudes[:, row, column] * np.exp(1j * phase)
        np.testing.assert_allclose(changed, np.clip(np.fft.ifft2(spectrum).real, 0, 1), atol=1e-5)


def test_the_module_trains_on_the_changed_images(tmp_path):
    plain, changed = make_classification(), make_classification()
    fit(plain, make_digits(), tmp_path, limit_train_batches=1)
    fit(changed, make_digits(), tmp_path, FDA(), limit_train_batches=1)
    assert not same(weights(plain), weights(changed))


def test_frames_of_a_clip_share_the_style_of_one_frame(tmp_path):
    torch.manual_seed(0)
    source, target, result = restyled(make_accel(11), make_street_clips(), tmp_path, 0.05)
    assert result.shape == source.shape
    for time in range(source.shape[1]):
        expected = _restyled(source[:, time], target[:, -1], 0.05)
        torch.testing.assert_close(result[:, time], expected)


def test_a_smaller_target_batch_of_another_size_is_used_again():
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(3, 3, 8, 12, generator=generator)
    target = torch.rand(2, 3, 16, 24, generator=generator)
    result = _restyled(source, target, 0.1)
    small = torch.nn.functional.interpolate(target, (8, 12), mode="bilinear", antialias=True)
    torch.testing.assert_close(result, _restyled(source, small[[0, 1, 0]], 0.1))


def test_errors(tmp_path):
    with pytest.raises(ValueError, match=r"expected beta of at most 0\.5, got 0\.6"):
        FDA(0.6)
    with pytest.raises(ValueError, match=r"expected beta of at least 0, got -0\.1"):
        FDA(-0.1)
    with pytest.raises(ValueError, match=r"expected a data module with unlabeled .* got DigitsDataModule"):
        fit(make_classification(), make_plain_digits(), tmp_path, FDA())
    with pytest.raises(ValueError, match=r"expected batches of images .* got shapes \[2, 5\] and \[2, 5\]"):
        _restyled(torch.rand(2, 5), torch.rand(2, 5), 0.1)
