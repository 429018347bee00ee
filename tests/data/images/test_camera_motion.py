import albumentations as A
import numpy as np
import pytest
import torch

from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import IGNORE_INDEX
from lightning_edge.data import CamVidVideoDataModule, CityscapesVideoDataModule, RandomCameraMotion
from lightning_edge.nn import DISFlow
from lightning_edge.ops.warp import warp

STILL = RandomCameraMotion(max_zoom=0, pan=0, roll_deg=0)


def scene(height: int = 96, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A smooth picture whose mask is its brightness in four steps."""
    noise = torch.rand(1, 1, 8, 12, generator=torch.Generator().manual_seed(0))
    gray = torch.nn.functional.interpolate(noise, (height, width), mode="bicubic")[0, 0].clamp(0, 1).numpy()
    return np.repeat((255 * gray)[..., None], 3, axis=2).astype(np.uint8), np.minimum(4 * gray, 3).astype(np.uint8)


def test_without_motion_every_frame_is_the_still():
    image, mask = scene()
    frames, last = STILL(image, mask, 5, seed=3)
    assert all((frame == image).all() for frame in frames)
    assert (last == mask).all()


def test_the_oldest_frame_is_the_still_and_the_mask_belongs_to_the_last():
    image, mask = scene()
    frames, last = RandomCameraMotion()(image, mask, 5, seed=3)
    assert (frames[0] == image).all()
    assert np.abs(frames[-1].astype(int) - image).mean() > 5
    inside = last != IGNORE_INDEX
    assert inside.mean() > 0.9
    brightness = np.minimum(frames[-1][..., 0] / 255 * 4, 3).astype(np.uint8)
    assert (brightness == last)[inside].mean() > 0.95
    assert (brightness == mask)[inside].mean() < 0.9


def test_one_frame_is_the_still():
    image, mask = scene()
    frames, last = RandomCameraMotion()(image, mask, 1, seed=3)
    assert (frames[0] == image).all()
    assert (last == mask).all()


def test_a_seed_gives_one_motion_and_a_longer_clip_goes_on():
    image, mask = scene()
    short, _ = RandomCameraMotion()(image, mask, 3, seed=5)
    long, _ = RandomCameraMotion()(image, mask, 6, seed=5)
    other, _ = RandomCameraMotion()(image, mask, 3, seed=6)
    assert (long[:3] == short).all()
    assert (other[1] != short[1]).any()


def test_motion_is_what_optical_flow_finds():
    image, mask = scene()
    frames, _ = RandomCameraMotion()(image, mask, 2, seed=3)
    before, now = (torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255 for frame in frames)
    followed = warp(before, DISFlow("medium")(now, before))
    inner = (..., slice(12, -12), slice(12, -12))
    assert (followed - now)[inner].abs().mean() < 0.3 * (before - now)[inner].abs().mean()


def test_pixels_move_by_about_a_hundredth_of_the_width_a_frame():
    size = (240, 320)
    places = np.stack(np.meshgrid(np.arange(320), np.arange(240)), -1).astype(float)
    moved = []
    for seed in range(200):
        view = RandomCameraMotion()._draw(np.random.default_rng(seed), *size).view(1)
        moved.append(np.linalg.norm(places @ view[:, :2].T + view[:, 2] - places, axis=-1).mean())
    assert 0.007 < np.mean(moved) / 320 < 0.015


@pytest.mark.parametrize(
    ("kind", "samples"),
    [
        (CamVidVideoDataModule, {"num_samples": (10, 10)}),
        (CityscapesVideoDataModule, {"num_samples": (2, 1)}),
    ],
)
def test_training_clips_are_made_of_stills(kind, samples):
    arguments = {"train_motion": STILL, "train_transform": A.NoOp(), "batch_size": 2, "num_workers": 0}
    data = kind(sample_size=(64, 96), train_distances=(3,), **arguments, **samples)
    data.prepare_data()
    assert all(len(clip.frames) == 1 for clip in data.clips("train"))
    assert all(len(clip.frames) == 10 for clip in data.clips("val"))
    data.setup("fit")
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    check_batch(batch, kind.batch_type)
    assert batch["frames"].shape == (2, 4, 3, 64, 96)
    assert (batch["frames"] == batch["frames"][:, :1]).all()


def test_stills_need_no_sequences(tmp_path):
    sample = CityscapesVideoDataModule(sample_size=(64, 96), num_samples=(2, 1))
    sample.prepare_data()
    root = sample.clips("train")[0].mask.parents[3]
    for part in ("gtFine", "leftImg8bit"):
        (tmp_path / part).symlink_to(root / part)
    assert len(CityscapesVideoDataModule(tmp_path, train_motion=STILL).clips("train")) == 2
    with pytest.raises(FileNotFoundError, match="leftImg8bit_sequence"):
        CityscapesVideoDataModule(tmp_path).clips("train")


def test_motion_is_no_less_than_none():
    with pytest.raises(ValueError, match=r"expected pan of at least 0, got -1"):
        RandomCameraMotion(pan=-1)
