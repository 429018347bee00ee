"""The first losses, pinned: a change that moves them changes what the method computes.

In float64 on one thread, with weights that numpy draws and with plain SGD: kernels for SSE, AVX2 and
AVX-512 then differ in the order of sums alone, by up to 2e-12 of a loss. Adaptive optimizers divide by small numbers
and would make that much larger.
"""

import torch
from lightning.pytorch import seed_everything
from torch.utils.data import DataLoader
from toys import NUM_CLASSES, Losses, PlainBranch, fit_in_float64, make_float64_trainer, plain_sgd, portable

from lightning_edge.methods import Classification, Detection, Segmentation
from lightning_edge.nn import CenterDetector, DomainNet, TimmClassifier

ACCEL = [3.284989109791524, 3.2802633496348284, 3.2530867212045536, 3.253007679458372]
"""Two steps on single frames, two on fused scores."""

SEGMENTATION = [1.6194649700945865, 1.6129211345118817, 1.6200369879727785, 1.615812247048213]
"""Four steps, the learning rate growing and decaying."""

EQUATIONS = [1.7188775563674912, 2.4359167608377277, 1.8550222273704309, 1.7469590578351655]
"""Four steps of a net whose weights evolve with its activations."""

CLASSIFICATION = [1.9112849269545218, 1.9027375170742882, 1.771635779089204, 1.8034175533930163]
"""Four steps of a shift net."""

DETECTION = [8.574781628000643, 7.985461391475459, 8.965227856731719, 8.203270956315567]
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
    net = portable(lambda: PlainBranch(16))
    trainer.fit(Segmentation(net, plain_sgd), DataLoader(batches, batch_size=None))
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
    net = portable(lambda: DomainNet(CenterDetector("resnet10_quarter", NUM_CLASSES, channels=8), 3, 2, "encoder"))
    trainer = make_float64_trainer(tmp_path, losses, max_epochs=1)
    trainer.fit(Detection(net, plain_sgd), DataLoader(batches, batch_size=None))
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
    net = portable(lambda: TimmClassifier(model, NUM_CLASSES, model_options=options))
    trainer.fit(Classification(net, plain_sgd), DataLoader(batches, batch_size=None))
    return losses.values


def assert_golden(losses, expected):
    got, expected = torch.tensor(losses, dtype=torch.float64), torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=0)
