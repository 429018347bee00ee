"""What is logged, against counting by hand, and what the loss is."""

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader
from toys import make_trainer

from lightning_edge.methods import Classification

NUM_CLASSES = 5


class ToyClasses(LightningDataModule):
    """Three batches that differ in size."""

    num_classes, class_names = NUM_CLASSES, tuple("abcde")

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.batches = [
            {
                "image": torch.rand(size, 3, 8, 8, generator=generator),
                "label": torch.randint(0, NUM_CLASSES, (size,), generator=generator),
            }
            for size in (5, 3, 1)
        ]

    def val_dataloader(self):
        return DataLoader(self.batches, batch_size=None)

    test_dataloader = val_dataloader


class Linear(nn.Sequential):
    num_classes = NUM_CLASSES

    def __init__(self):
        torch.manual_seed(3)
        super().__init__(nn.Flatten(), nn.Linear(192, NUM_CLASSES))


@pytest.mark.parametrize("stage", ["val", "test"])
def test_scores_are_of_all_images_whatever_their_batch(stage, tmp_path):
    method, data = Classification(Linear(), label_smoothing=0.3), ToyClasses()
    trainer = make_trainer(tmp_path)
    (trainer.validate if stage == "val" else trainer.test)(method, data, verbose=False)
    images, labels = (torch.cat([batch[key] for batch in data.batches]) for key in ("image", "label"))
    scores = method(images)
    logged = trainer.callback_metrics
    assert logged[f"{stage}/accuracy"] == pytest.approx((scores.argmax(1) == labels).float().mean().item())
    assert 0 < logged[f"{stage}/accuracy"] < 1
    # smoothing is of the training alone
    assert logged[f"{stage}/loss"] == pytest.approx(nn.functional.cross_entropy(scores, labels).item())


def test_label_smoothing_mixes_in_the_mean_over_classes():
    batch = ToyClasses().batches[0]
    logs = Classification(Linear())(batch["image"]).log_softmax(1)
    own = -logs.gather(1, batch["label"][:, None]).mean()
    expected = 0.7 * own - 0.3 * logs.mean()
    torch.testing.assert_close(Classification(Linear(), label_smoothing=0.3).loss(batch), expected)


def test_predictions_are_classes():
    method, image = Classification(Linear()), torch.rand(4, 3, 8, 8)
    assert torch.equal(method.predict_step({"image": image}, 0), method(image).argmax(1))


def test_label_smoothing_is_checked():
    with pytest.raises(ValueError, match=r"expected label_smoothing within \[0, 1\], got 1.5"):
        Classification(Linear(), label_smoothing=1.5)
