import pytest
import torch

from lightning_edge.nn.adaptation.appearance import RandomAppearance

NEUTRAL = {"contrast": 0.0, "brightness": 0.0, "inversion": 0.0, "shuffled_channels": False, "patch": 0.0}
STRONG = {"contrast": 0.8, "brightness": 0.4, "inversion": 0.5, "shuffled_channels": True, "patch": 0.5}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(*shape, seed=0):
    return torch.rand(*shape, generator=seeded(seed))


@pytest.mark.parametrize("shape", [(6, 3, 16, 24), (3, 4, 3, 8, 8)])
def test_neutral_settings_change_nothing(shape):
    image = images(*shape)
    torch.testing.assert_close(RandomAppearance(**NEUTRAL)(image, seeded()), image, rtol=0, atol=1e-6)


def test_values_stay_in_the_unit_interval_and_the_input_stays_as_it_is():
    image = images(50, 3, 8, 8)
    before = image.clone()
    changed = RandomAppearance(**STRONG)(image, seeded())
    assert torch.equal(image, before)
    assert changed.min() == 0
    assert changed.max() == 1
    assert not torch.allclose(changed, image, atol=0.1)


def test_each_setting_alone_changes_each_image_in_its_own_way():
    image = images(1, 3, 8, 8).repeat(8, 1, 1, 1)
    for setting in ("contrast", "brightness", "shuffled_channels", "patch"):
        changed = RandomAppearance(**NEUTRAL | {setting: STRONG[setting]})(image, seeded())
        others = [other for other in changed if not torch.allclose(other, changed[0], atol=1e-3)]
        assert others, setting
        assert not torch.allclose(changed[0], image[0], atol=1e-3) or setting == "shuffled_channels"


def test_gains_and_shifts_are_those_of_each_channel_and_within_the_bounds():
    values = torch.tensor([0.4, 0.5, 0.6]).view(1, 1, 1, 3).expand(500, 3, 1, 3)
    appearance = RandomAppearance(contrast=0.5, brightness=0.25, patch=0.0)
    changed = appearance(values, seeded())
    gains, shifts = (changed[..., 2] - changed[..., 0]) / 0.2, changed[..., 1] - 0.5
    assert 0.5 <= gains.min() < 0.52 < 1.48 < gains.max() <= 1.5 + 1e-5
    assert -0.25 - 1e-6 <= shifts.min() < -0.24 < 0.24 < shifts.max() <= 0.25 + 1e-6
    assert (gains[:, 0] - gains[:, 1]).abs().mean() > 0.1
    torch.testing.assert_close(changed[..., 0] + changed[..., 2], 2 * changed[..., 1])


def test_the_share_of_inverted_images():
    image = images(400, 3, 2, 2)
    for share in (0.0, 0.3, 1.0):
        changed = RandomAppearance(**NEUTRAL | {"inversion": share})(image, seeded())
        is_same = torch.isclose(changed, image, atol=1e-5).flatten(1).all(1)
        is_inverted = torch.isclose(changed, 1 - image, atol=1e-5).flatten(1).all(1)
        assert (is_same ^ is_inverted).all()
        assert float(is_inverted.float().mean()) == pytest.approx(share, abs=0.08)


def test_channels_are_exchanged_as_a_whole():
    image = images(60, 3, 4, 4)
    changed = RandomAppearance(**NEUTRAL | {"shuffled_channels": True})(image, seeded())
    orders = set()
    for before, after in zip(image, changed, strict=True):
        order = [int((before - channel).abs().flatten(1).sum(1).argmin()) for channel in after]
        torch.testing.assert_close(after, before[order])
        orders.add(tuple(order))
    assert len(orders) == 6


def regions():
    """A mask of four regions, each with a color of its own."""
    mask = torch.zeros(12, 16, dtype=torch.long)
    mask[:5, 7:] = 1
    mask[5:, :3] = 2
    mask[9:, 10:] = 3
    return mask


def test_what_is_constant_stays_constant_in_its_place_except_for_the_patch():
    mask = regions()
    colors = images(4, 3, seed=1)
    image = colors[mask].permute(2, 0, 1).expand(20, 3, 12, 16)
    changed = RandomAppearance(**STRONG | {"patch": 0.25})(image, seeded())
    for one in changed:
        is_patch = (one == 0.5).all(0)
        for region in range(4):
            pixels = one[:, (mask == region) & ~is_patch]
            torch.testing.assert_close(pixels, pixels[:, :1].expand_as(pixels))


@pytest.mark.parametrize(("patch", "height", "width"), [(0.25, 3, 4), (0.5, 6, 8), (1.0, 12, 16)])
def test_the_patch_is_one_gray_rectangle_of_its_size_anywhere(patch, height, width):
    image = images(1000, 3, 12, 16) * 0.4
    changed = RandomAppearance(**NEUTRAL | {"patch": patch})(image, seeded())
    is_hidden = (changed == 0.5).all(1)
    torch.testing.assert_close(
        changed.where(~is_hidden[:, None], image), image, rtol=0, atol=1e-6
    )  # nothing else changes
    corners = set()
    for hidden in is_hidden:
        rows, columns = hidden.any(1).nonzero()[:, 0], hidden.any(0).nonzero()[:, 0]
        assert hidden[rows][:, columns].all()
        assert abs(len(rows) - height) <= 1
        assert abs(len(columns) - width) <= 1
        corners.add((int(rows[0]), int(columns[0])))
    assert len(corners) > 20 or patch == 1.0
    assert is_hidden.any(0).all()  # each pixel in some image
    shares = is_hidden.float().mean(0)
    torch.testing.assert_close(shares, shares.flip(0), rtol=0, atol=0.1)
    torch.testing.assert_close(shares, shares.flip(1), rtol=0, atol=0.1)


def test_a_seed_repeats_the_changes_and_another_one_does_not():
    image = images(4, 3, 8, 8)
    appearance = RandomAppearance(**STRONG)
    assert torch.equal(appearance(image, seeded(3)), appearance(image, seeded(3)))
    assert not torch.equal(appearance(image, seeded(3)), appearance(image, seeded(4)))
    torch.manual_seed(5)
    first = appearance(image)
    torch.manual_seed(5)
    assert torch.equal(appearance(image), first)


def test_all_frames_of_a_clip_change_in_the_same_way():
    frame = images(5, 1, 3, 8, 8)
    clip = frame.expand(5, 4, 3, 8, 8)
    changed = RandomAppearance(**STRONG)(clip, seeded())
    assert torch.equal(changed, changed[:, :1].expand_as(changed))
    assert torch.equal(changed[:, 0], RandomAppearance(**STRONG)(frame[:, 0], seeded()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_precision_is_kept(dtype):
    changed = RandomAppearance(**STRONG)(images(2, 3, 8, 8).to(dtype), seeded())
    assert changed.dtype == dtype
    assert changed.isfinite().all()


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("contrast", -0.1, r"expected contrast of at least 0, got -0\.1"),
        ("contrast", 1.1, r"expected contrast of at most 1, got 1\.1"),
        ("brightness", float("nan"), "expected brightness of at least 0, got nan"),
        ("inversion", 2.0, r"expected inversion of at most 1, got 2\.0"),
        ("patch", 1.5, r"expected patch of at most 1, got 1\.5"),
    ],
)
def test_bad_arguments_are_named(argument, value, message):
    with pytest.raises(ValueError, match=message):
        RandomAppearance(**{argument: value})
