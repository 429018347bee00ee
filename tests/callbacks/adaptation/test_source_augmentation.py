"""Source images with a random appearance."""

import pytest
import torch
from adaptation_runs import fit, make_classification, make_digits, make_street_clips, same, weights
from lightning.pytorch import Callback
from settings import make_accel
from settings import make_digits as make_plain_digits
from torch import nn

from callbacks._training.step_random import step_generator
from callbacks.adaptation import SourceAugmentation, TargetBackgrounds
from callbacks.adaptation.source_augmentation import _shifted
from lightning_edge.nn.adaptation.random_convolutions import RandomConvolutions


class Inverted(nn.Module):
    def forward(self, image, generator=None):
        return 1 - image


class Seen(Callback):
    """Source and target images of each step, before and after another callback."""

    def __init__(self):
        self.source, self.target, self.generators = [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        key = "image" if "image" in batch else "frames"
        self.source.append(batch[key].clone())
        self.target.append(getattr(trainer.datamodule, "target_batch", {}).get(key))
        self.generators.append(step_generator(trainer, "SourceAugmentation", 3))


def augmented(method, data, folder, *callbacks, **arguments):
    before, after = Seen(), Seen()
    fit(method, data, folder, before, *callbacks, after, **arguments)
    return before, after


def test_the_source_is_changed_by_what_the_step_draws_and_the_target_is_not(tmp_path):
    before, after = augmented(make_classification(), make_digits(), tmp_path, SourceAugmentation(seed=3))
    assert len(before.source) > 1
    for image, generator, changed in zip(before.source, before.generators, after.source, strict=True):
        torch.testing.assert_close(changed, RandomConvolutions()(image, generator), rtol=0, atol=0)
        assert not torch.allclose(changed, image, atol=0.05)
    for image, changed in zip(before.target, after.target, strict=True):
        assert torch.equal(image, changed)


def test_another_appearance_takes_its_place_and_the_module_trains_on_it(tmp_path):
    plain, changed = make_classification(), make_classification()
    augmented(plain, make_digits(), tmp_path, limit_train_batches=1)
    before, after = augmented(changed, make_digits(), tmp_path, SourceAugmentation(Inverted()), limit_train_batches=1)
    torch.testing.assert_close(after.source[0], 1 - before.source[0], rtol=0, atol=0)
    assert not same(weights(plain), weights(changed))


def test_clips(tmp_path):
    before, after = augmented(
        make_accel(11), make_street_clips(), tmp_path, SourceAugmentation(Inverted()), limit_train_batches=1
    )
    assert before.source[0].ndim == 5
    torch.testing.assert_close(after.source[0], 1 - before.source[0], rtol=0, atol=0)


def test_no_target_is_needed(tmp_path):
    before, after = augmented(
        make_classification(), make_plain_digits(), tmp_path, SourceAugmentation(Inverted()), limit_train_batches=1
    )
    torch.testing.assert_close(after.source[0], 1 - before.source[0], rtol=0, atol=0)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="expected seed of at least 0, got -1"):
        SourceAugmentation(seed=-1)
    with pytest.raises(ValueError, match=r"expected share within \[0, 1\], got 1\.5"):
        TargetBackgrounds(1.5)
    with pytest.raises(ValueError, match=r"expected most within \[0, 1\], got nan"):
        TargetBackgrounds(most=float("nan"))
    with pytest.raises(ValueError, match=r"expected a data module with unlabeled .* got DigitsDataModule"):
        fit(make_classification(), make_plain_digits(), tmp_path, TargetBackgrounds())


def blended(share, most=0.7, **options):
    before, after = augmented(
        make_classification(), options.pop("data", make_digits()), options.pop("folder"),
        TargetBackgrounds(share, most, seed=3), limit_train_batches=1,
    )  # fmt: skip
    return before.source[0], before.target[0], after.source[0]


def shift_and_part(image, target, result):
    """The shift of a target image and its part in a blend, by trying all shifts."""
    best = None
    for down in range(image.shape[-2]):
        for right in range(image.shape[-1]):
            direction = (torch.roll(target, (down, right), (1, 2)) - image).double()
            change = (result - image).double()
            part = (direction * change).sum() / direction.square().sum()
            error = (change - part * direction).abs().max()
            if best is None or error < best[0]:
                best = error, down, right, float(part)
    assert best[0] < 1e-5
    return best[1:]


def test_each_image_is_blended_with_a_target_image_whose_middle_is_moved_away(tmp_path):
    source, target, result = blended(1.0, folder=tmp_path)
    blends = [shift_and_part(*images) for images in zip(source, target, result, strict=True)]
    for down, right, part in blends:
        for shift, side in ((down, source.shape[-2]), (right, source.shape[-1])):
            assert side / 3 - 1 <= shift <= 2 * side / 3 + 1
        assert 0 < part < 0.7
    assert len({blend[0] for blend in blends}) > 1
    assert len({blend[1] for blend in blends}) > 1
    assert len({round(blend[2], 3) for blend in blends}) == len(blends)


def test_the_part_is_uniform_up_to_its_limit(tmp_path):
    parts = []
    for epoch in range(6):
        source, target, result = blended(1.0, 0.4, data=make_digits(1, batch_size=16, seed=epoch), folder=tmp_path)
        parts += [shift_and_part(*images)[2] for images in zip(source, target, result, strict=True)]
    assert max(parts) < 0.4
    assert len([part for part in parts if part > 0.3]) >= 8  # 24 of 96 are expected
    assert len([part for part in parts if part < 0.1]) >= 8


def test_shifts_lose_nothing():
    images = torch.rand(40, 3, 12, 15, generator=torch.Generator().manual_seed(0))
    shifted = _shifted(images, torch.Generator().manual_seed(1))
    for image, moved in zip(images, shifted, strict=True):
        assert torch.equal(image.flatten().sort().values, moved.flatten().sort().values)  # nothing is lost


def test_unblended_images_stay_as_they_are(tmp_path):
    source, _, result = blended(0.0, folder=tmp_path / "none")
    assert torch.equal(source, result)
    source, _, result = blended(1.0, 0.0, folder=tmp_path / "no_part")
    torch.testing.assert_close(source, result)
    data = make_digits(1, batch_size=20)
    source, _, result = blended(0.5, data=data, folder=tmp_path / "half")
    is_same = (source == result).flatten(1).all(1)
    assert 3 <= int(is_same.sum()) <= 17


def test_all_frames_of_a_clip_get_the_background_of_one_target_frame(tmp_path):
    torch.manual_seed(0)
    before, after = augmented(
        make_accel(11), make_street_clips(), tmp_path, TargetBackgrounds(1.0, seed=3), limit_train_batches=1
    )
    clip, target, result = before.source[0][0], before.target[0][0, -1], after.source[0][0]
    parts = [shift_and_part(frame, target, changed) for frame, changed in zip(clip, result, strict=True)]
    assert len({(down, right) for down, right, _ in parts}) == 1
    assert max(part for *_, part in parts) - min(part for *_, part in parts) < 1e-4
