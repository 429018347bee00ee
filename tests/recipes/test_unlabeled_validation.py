"""A recipe whose validation data hold no label ends with a sentence about them after its first validation."""

from pathlib import Path

import pytest
import torch
from small_run import SMALL
from torch.utils.data import DataLoader

from lightning_edge.data import BDD100KDataModule, CIFARDataModule, CityscapesDataModule, CityscapesVideoDataModule
from recipes import accel, ddn, segmentation, shift
from recipes._cli.failure import explain_failure

SHORT = [
    "--trainer.max_epochs=2",
    "--trainer.limit_train_batches=1",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--data.num_workers=0",
]
NARROW = [f"--model.net.{branch}.encoder=test_resnet" for branch in ("reference", "update")]
FEW_BOXES = ["--data.sample_size=[64,96]", "--data.input_size=[64,96]", "--data.num_samples=[10,5]"]
RECIPES = {
    "segmentation": (segmentation, CityscapesDataModule, [*SMALL[:3], "--model.net.encoder=test_resnet"]),
    "accel": (accel, CityscapesVideoDataModule, [*SMALL[:3], *NARROW]),
    "ddn": (ddn, BDD100KDataModule, [*FEW_BOXES, "--data.batch_size=5"]),
}


def without_labels(data_module):
    """Its hook, after which validation batches have no label that counts."""
    transfer = data_module.on_after_batch_transfer

    def on_after_batch_transfer(self, batch, dataloader_idx):
        batch = transfer(self, batch, dataloader_idx)
        if self.trainer.training:
            return batch
        if "mask" in batch:
            return batch | {"mask": torch.full_like(batch["mask"], 255)}
        return batch | {key: [values[:0] for values in batch[key]] for key in ("boxes_xyxy", "label")}

    return on_after_batch_transfer


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_without_labels_ends_after_its_first_validation(name, monkeypatch):
    recipe, data_module, small = RECIPES[name]
    monkeypatch.setattr(data_module, "on_after_batch_transfer", without_labels(data_module))
    thing = "object" if name == "ddn" else "pixel"
    message = f"^No {thing} of the val split is labeled, so there is no score"
    with pytest.raises(ValueError, match=message) as caught:
        recipe.main(["fit", *small, *SHORT, "--trainer.num_sanity_val_steps=0"])
    assert explain_failure(caught.value) == str(caught.value), "expected the sentence without a traceback"
    assert not list(Path("runs").rglob("best.ckpt"))


def test_a_run_without_a_validation_image_ends_before_training(monkeypatch):
    monkeypatch.setattr(CIFARDataModule, "val_dataloader", lambda self: DataLoader([]))
    with pytest.raises(ValueError, match=r"^The validation data are empty") as caught:
        shift.main(["fit", "--data.num_samples=[40,20]", "--data.batch_size=8", *SHORT])
    assert explain_failure(caught.value) == str(caught.value)
