"""Folders of images without labels, through the real recipes and callbacks."""

import re

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from toys import make_trainer

from callbacks import ClassificationReport
from callbacks.adaptation import DANN, MeanTeacher, TargetFreeScores
from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import ClassificationBatch, SegmentationBatch
from lightning_edge.data import AdaptationDataModule, CamVidDataModule, MNISTDataModule, UnlabeledImagesDataModule
from lightning_edge.methods import Classification, Segmentation
from lightning_edge.nn import DeepLab, DigitNet


def write_images(folder, num=23, size=(40, 56)):
    for number in range(num):
        path = folder / ("a" if number % 2 else "b") / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(image).save(path)
    return folder


def target_batches(data, split):
    data.setup("fit")
    loader = data.train_loader(data.make_sampler) if split == "train" else data.val_dataloader()
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


def test_every_tenth_image_is_for_validation_and_no_other(tmp_path):
    folder = write_images(tmp_path)
    data = UnlabeledImagesDataModule(folder, (20, 28), train_transform=A.NoOp(), batch_size=1, num_workers=0)
    train, val = (
        {image.numpy().tobytes() for batch in target_batches(data, split) for image in batch["image"]}
        for split in ("train", "val")
    )
    paths = sorted(folder.rglob("*.png"))  # a/001 first
    for images, expected in ((val, paths[1::10]), (train, [path for i, path in enumerate(paths) if i % 10 != 1])):
        assert len(images) == len(expected)
        for path in expected:
            # area interpolation computes means
            halved = np.asarray(Image.open(path)).reshape(20, 2, 28, 2, 3).mean((1, 3)).transpose(2, 0, 1)
            errors = [np.abs(np.frombuffer(one, np.float32).reshape(3, 20, 28) * 255 - halved).max() for one in images]
            assert min(errors) <= 0.51


def test_training_images_are_augmented_and_others_not(tmp_path):
    augmentation = A.InvertImg(p=1.0)
    data = UnlabeledImagesDataModule(
        write_images(tmp_path), (40, 56), train_transform=augmentation, batch_size=20, num_workers=0
    )
    for split, change in (("train", lambda image: 255 - image), ("val", lambda image: image)):
        (batch,) = target_batches(data, split)
        written = {change(np.asarray(Image.open(path))).tobytes() for path in tmp_path.rglob("*.png")}
        assert len(batch["image"]) > 2
        for image in batch["image"]:
            assert (255 * image).round().byte().permute(1, 2, 0).numpy().tobytes() in written


@pytest.mark.parametrize(
    ("task", "batch_type"), [("classification", ClassificationBatch), ("segmentation", SegmentationBatch)]
)
def test_batches_are_of_the_type_of_the_task_and_name_nothing(tmp_path, task, batch_type):
    data = UnlabeledImagesDataModule(write_images(tmp_path), (32, 48), task, batch_size=4, num_workers=0)
    for split in ("train", "val"):
        for batch in target_batches(data, split):
            check_batch(batch, batch_type)
            assert batch["image"].shape[1:] == (3, 32, 48)
            label = batch["label"] if task == "classification" else batch["mask"]
            assert set(label.unique().tolist()) == {-1 if task == "classification" else 255}


def test_classification_adapts_to_a_folder_and_selects_a_checkpoint(tmp_path, capsys):
    data = AdaptationDataModule(
        MNISTDataModule(num_samples=(60, 30), batch_size=16, num_workers=0),
        UnlabeledImagesDataModule(write_images(tmp_path / "camera", 80), (32, 32), batch_size=8, num_workers=0),
        batches_per_epoch=3,
    )
    method = Classification(DigitNet(10, width=4))
    report = ClassificationReport()
    callbacks = [DANN(), MeanTeacher(), TargetFreeScores(), report]
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        callbacks=callbacks,
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(method, data)
    logged = trainer.callback_metrics
    assert {"val/accuracy", "train/dann", "train/mean_teacher", "target_free/information"} <= logged.keys()
    assert logged["target_free/information"].isfinite()
    assert not [key for key in logged if key.startswith("val_target")]
    assert "selected without its labels" not in capsys.readouterr().out  # there is no accuracy to compare
    trainer.test(method, data, verbose=False)
    tested = trainer.callback_metrics
    assert {"test/accuracy", "test/recall_2"} <= tested.keys()
    assert all(key.startswith("test/") for key in tested)


def test_segmentation_adapts_to_a_folder(tmp_path):
    data = AdaptationDataModule(
        CamVidDataModule(batch_size=2, num_workers=0),
        UnlabeledImagesDataModule(write_images(tmp_path / "camera"), (64, 96), "segmentation", num_workers=0),
        batches_per_epoch=1,
    )
    method = Segmentation(DeepLab("mobilenetv3_small_050", data.num_classes))
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[MeanTeacher(), TargetFreeScores(max_rows=50)],
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        limit_val_batches=1,
    )
    trainer.fit(method, data)
    assert trainer.callback_metrics["target_free/information"].isfinite()
    assert not [key for key in trainer.callback_metrics if key.startswith("val_target")]


def test_images_of_unknown_class_are_left_out_of_the_scores(tmp_path):
    class HalfLabeled(MNISTDataModule):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            batch = super().on_after_batch_transfer(batch, dataloader_idx)
            if self.trainer.validating:
                batch["label"][::2] = -1
            return batch

    torch.manual_seed(0)
    method = Classification(DigitNet(10, width=4))
    options = {"num_samples": (200, 30), "eval_batch_size": 7, "num_workers": 0}
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    (scores,) = trainer.validate(method, HalfLabeled(**options), verbose=False)
    data = MNISTDataModule(**options)
    data.setup("validate")
    correct, losses = [], []
    for batch in data.val_dataloader():
        batch = data.on_after_batch_transfer(batch, 0)
        logits = method.eval()(batch["image"])[1::2].detach().double()
        for row, label in zip(logits.tolist(), batch["label"][1::2].tolist(), strict=True):
            correct.append(max(range(10), key=row.__getitem__) == label)
            losses.append(np.log(np.exp(row).sum()) - row[label])
    assert scores["val/accuracy"] == pytest.approx(np.mean(correct))
    assert scores["val/loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_they_are_for_targets_only(tmp_path):
    data = UnlabeledImagesDataModule(write_images(tmp_path), (32, 32), num_workers=0)
    with pytest.raises(ValueError, match="expected a source with labels, got UnlabeledImagesDataModule"):
        AdaptationDataModule(data, MNISTDataModule())
    trainer = make_trainer(tmp_path, num_sanity_val_steps=0)
    with pytest.raises(ValueError, match="expected labeled data for training, got UnlabeledImagesDataModule"):
        trainer.fit(Classification(DigitNet(10, width=4)), data)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match=re.escape("expected two whole numbers of at least 1 as size, got (0, 5)")):
        UnlabeledImagesDataModule(tmp_path, (0, 5))
    with pytest.raises(FileNotFoundError, match="missing: expected a folder of images, but there is none"):
        UnlabeledImagesDataModule(tmp_path / "missing", (5, 5)).setup("fit")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "notes.txt").write_text("no image")
    cv2.imwrite(str(tmp_path / "one" / "1.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(FileNotFoundError, match="expected two images or more, one of them for validation, got 1"):
        UnlabeledImagesDataModule(tmp_path / "one", (5, 5)).setup("fit")
