"""The first losses, pinned: a change that moves them changes what the method computes.

In float64 on one thread. The order of sums differs between processors, by less than 1e-9 of a loss.
"""

import torch
from lightning.pytorch import seed_everything
from torch.utils.data import DataLoader
from toys import NUM_CLASSES, Losses, PlainBranch, fit_in_float64, make_float64_trainer

from lightning_edge.methods import Classification, Detection, Segmentation
from lightning_edge.nn import CenterDetector, DomainNet, TimmClassifier

ACCEL = [3.2509638297818255, 3.2482210210181686, 3.2317753959336244, 3.233438671246181]
"""Two steps on single frames, two on fused scores."""

SEGMENTATION = [1.6257502142895357, 1.630566420134711, 1.6174619670330153, 1.618704607487297]
"""Four steps, the learning rate growing and decaying."""

EQUATIONS = [1.4597006230636158, 1.8326340071648877, 1.8786909715236215, 1.9256228700283797]
"""Four steps of a net whose weights evolve with its activations."""

CLASSIFICATION = [1.7031264890791644, 1.789414016603657, 1.6864932044912124, 1.5443327678442085]
"""Four steps of a shift net."""

DETECTION = [8.761672621242152, 8.193165144694657, 8.242715953975196, 8.609688787948249]
"""Four steps of a detector whose encoder has two experts, on images of two domains."""


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


def test_classification(tmp_path):
    assert_golden(classification_losses(tmp_path, "shiftresnet20", expansion=1), CLASSIFICATION)


def test_equations(tmp_path):
    losses = classification_losses(tmp_path, "ode_resnet4", num_steps=2, weight_steps=10)
    assert_golden(losses, EQUATIONS)


def test_detection(tmp_path):
    seed_everything(0, verbose=False)
    losses = Losses()
    batches = [detection_batch() for _ in range(4)]
    net = DomainNet(CenterDetector("resnet10_quarter", NUM_CLASSES, channels=8), 3, 2, "encoder")
    trainer = make_float64_trainer(tmp_path, losses, max_epochs=1)
    trainer.fit(Detection(net.double()), DataLoader(batches, batch_size=None))
    assert_golden(losses.values, DETECTION)


def detection_batch(size=4):
    """Random images with two objects and an ignored region each."""
    corner = 30 * torch.rand(size, 3, 2, dtype=torch.float64)
    boxes = torch.cat([corner, corner + 4 + 20 * torch.rand(size, 3, 2, dtype=torch.float64)], -1)
    labels = torch.randint(0, NUM_CLASSES, (size, 3))
    return {
        "image": torch.rand(size, 3, 64, 64, dtype=torch.float64),
        "boxes_xyxy": list(boxes[:, :2]),
        "label": list(labels[:, :2]),
        "ignored_xyxy": list(boxes[:, 2:]),
        "ignored_label": list(labels[:, 2:]),
        "scale": torch.ones(size),
        "original_size": torch.full((size, 2), 64),
        "image_id": torch.arange(size),
        "domain_embedding": torch.eye(3, dtype=torch.float64)[torch.arange(size) % 2],
    }


def classification_losses(tmp_path, model, **options):
    seed_everything(0, verbose=False)
    images = torch.rand(4, 8, 3, 32, 32, dtype=torch.float64)
    labels = torch.randint(0, NUM_CLASSES, (4, 8))
    batches = [{"image": image, "label": label} for image, label in zip(images, labels, strict=True)]
    losses = Losses()
    trainer = make_float64_trainer(tmp_path, losses, max_epochs=1)
    net = TimmClassifier(model, NUM_CLASSES, model_options=options)
    trainer.fit(Classification(net.double()), DataLoader(batches, batch_size=None))
    return losses.values


def assert_golden(losses, expected):
    got, expected = torch.tensor(losses, dtype=torch.float64), torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=0)
