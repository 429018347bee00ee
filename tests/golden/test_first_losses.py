"""The first losses, pinned: a change that moves them changes what the method computes.

In float64 on one thread. The order of sums differs between processors, by less than 1e-9 of a loss.
"""

import torch
from lightning.pytorch import seed_everything
from torch.utils.data import DataLoader
from toys import NUM_CLASSES, Losses, PlainBranch, fit_in_float64, make_float64_trainer

from lightning_edge.methods import Segmentation

ACCEL = [3.2509638297818255, 3.2482210210181686, 3.2317753959336244, 3.233438671246181]
"""Two steps on single frames, two on fused scores."""

SEGMENTATION = [1.6257502142895357, 1.630566420134711, 1.6174619670330153, 1.618704607487297]
"""Four steps, the learning rate growing and decaying."""


def test_accel(tmp_path):
    _, losses = fit_in_float64(tmp_path, batch_size=8)
    assert_golden(losses, ACCEL)


def test_segmentation(tmp_path):
    seed_everything(0, verbose=False)
    images = torch.rand(4, 2, 3, 32, 48, dtype=torch.float64)
    masks = torch.randint(0, NUM_CLASSES, (4, 2, 32, 48))
    masks[:, 0, :8] = 255
    batches = [{"image": image, "mask": mask} for image, mask in zip(images, masks, strict=True)]
    losses = Losses()
    trainer = make_float64_trainer(tmp_path, losses, max_epochs=1)
    trainer.fit(Segmentation(PlainBranch(16).double()), DataLoader(batches, batch_size=None))
    assert_golden(losses.values, SEGMENTATION)


def assert_golden(losses, expected):
    got, expected = torch.tensor(losses, dtype=torch.float64), torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=0)
