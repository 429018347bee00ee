import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from lightning_edge.nn.adaptation.random_convolutions import RandomConvolutions


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(*shape, seed=0):
    return torch.rand(*shape, generator=seeded(seed), dtype=torch.float64)


def convolution_parts(image, changed):
    """Least-squares weights of the pixels around each one by which an image was changed, inside of the margin."""
    size, margin = 3, 1
    columns = [
        np.roll(channel, (1 - row, 1 - column), (0, 1))[margin:-margin, margin:-margin].ravel()
        for channel in image.numpy() - 0.5
        for row in range(size)
        for column in range(size)
    ]
    values = (changed.numpy() - 0.5)[:, margin:-margin, margin:-margin].reshape(3, -1)
    weights, residuals, *_ = np.linalg.lstsq(np.stack(columns, 1), values.T, rcond=None)
    assert residuals.max() < 1e-8
    return weights.T.reshape(3, 3, size, size)


def test_each_image_is_blended_with_a_convolution_of_itself_with_weights_of_its_own():
    image = images(4, 3, 14, 17)
    changed = RandomConvolutions([3])(image, seeded())
    kernels = [convolution_parts(*pair) for pair in zip(image, changed, strict=True)]
    for one, result, kernel in zip(image, changed, kernels, strict=True):
        expected = [  # edges are repeated beyond the image
            sum(correlate(plane, part, mode="nearest") for plane, part in zip(one.numpy() - 0.5, parts, strict=True))
            for parts in kernel
        ]
        np.testing.assert_allclose(result.numpy() - 0.5, np.stack(expected), atol=1e-6)
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1


def test_the_scale_of_the_weights_and_the_share_of_the_original():
    image = images(1, 3, 16, 16).repeat(400, 1, 1, 1)
    changed = RandomConvolutions([3])(image, seeded())
    kernels = np.stack([convolution_parts(*pair) for pair in zip(image, changed, strict=True)])
    edges = kernels[:, :, :, 0, 0]  # the original adds nothing to them
    # a part u, uniform in [0, 1], of weights of variance 1 / (3 * 9): a third of that variance
    assert np.square(edges).mean() == pytest.approx(1 / 3 / 27, rel=0.1)
    centers = kernels[:, [0, 1, 2], [0, 1, 2], 1, 1]
    assert centers.mean() == pytest.approx(0.5, abs=0.03)
    assert np.corrcoef(centers[:, 0], centers[:, 1])[0, 1] > 0.5  # one share for all channels of an image


def test_the_sizes_of_the_kernels():
    point = torch.full((1, 3, 15, 15), 0.5)
    point[:, :, 7, 7] = 1.0
    sides = []
    for seed in range(60):
        changed = RandomConvolutions([1, 5])(point, seeded(seed))
        touched = (changed != 0.5).any(1)[0].nonzero()
        sides.append(int(touched[:, 0].max() - touched[:, 0].min()) + 1)
    assert set(sides) == {1, 5}
    assert 15 <= sides.count(5) <= 45


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_changed_images(share):
    image = images(400, 3, 6, 6)
    before = image.clone()
    changed = RandomConvolutions(share=share)(image, seeded())
    is_same = torch.isclose(changed, image, rtol=0, atol=1e-12).flatten(1).all(1)
    assert float(is_same.double().mean()) == pytest.approx(1 - share, abs=0.08)
    assert torch.equal(image, before)


def test_what_is_constant_stays_constant_up_to_its_edges():
    changed = RandomConvolutions([7])(torch.full((5, 3, 9, 9), 0.2, dtype=torch.float64), seeded())
    torch.testing.assert_close(changed, changed[:, :, :1, :1].expand_as(changed))
    assert (changed[:, :, 0, 0] - 0.2).abs().mean() > 0.05


def test_all_frames_of_a_clip_change_in_the_same_way():
    clip = images(5, 4, 3, 10, 12)
    changed = RandomConvolutions()(clip, seeded())
    for time in range(4):
        torch.testing.assert_close(changed[:, time], RandomConvolutions()(clip[:, time], seeded()))


def test_a_seed_repeats_the_changes_and_another_one_does_not():
    image = images(4, 3, 8, 8)
    assert torch.equal(RandomConvolutions()(image, seeded(3)), RandomConvolutions()(image, seeded(3)))
    assert not torch.equal(RandomConvolutions()(image, seeded(3)), RandomConvolutions()(image, seeded(4)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_precision_is_kept(dtype):
    changed = RandomConvolutions()(images(2, 3, 8, 8).to(dtype), seeded())
    assert changed.dtype == dtype
    assert changed.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": ()}, r"expected sizes with odd numbers of at least 1, got \[\]"),
        ({"sizes": (3, 4)}, r"expected sizes with odd numbers of at least 1, got \[3, 4\]"),
        ({"sizes": (-1,)}, r"expected sizes with odd numbers of at least 1, got \[-1\]"),
        ({"share": 1.1}, r"expected share within \[0, 1\], got 1\.1"),
        ({"share": float("nan")}, r"expected share within \[0, 1\], got nan"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomConvolutions(**arguments)
