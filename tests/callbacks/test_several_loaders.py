"""Pictures and tables of evaluations that have a loader for the source and one for the target."""

import csv

import numpy as np
import pytest
import torch
import wandb
from adaptation_runs import make_digits, make_streets, make_traffic
from domain_pairs import tiny_method
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from settings import make_bdd100k, make_detection, make_segmentation
from toys import ToyImages, make_trainer
from wandb_offline import read_offline_run

from callbacks import ClassificationReport, DetectionPictures, DomainTable, SegmentationPictures, classification_report
from callbacks._pictures import evaluation_pictures
from lightning_edge.contracts import evaluation_stage
from lightning_edge.data import AdaptationDataModule


def names(folder):
    return {path.name for path in folder.rglob("*.png")}


@pytest.fixture
def counts(monkeypatch):
    """Number of images in each confusion matrix that was drawn, and the classes of its rows."""
    drawn, draw = [], classification_report.draw_report

    def keep(confusion, *arguments):
        drawn.append((int(confusion.sum()), confusion.sum(1).tolist()))
        return draw(confusion, *arguments)

    monkeypatch.setattr(classification_report, "draw_report", keep)
    return drawn


def test_source_and_target_have_pictures_of_their_own(tmp_path, counts):
    data = make_digits(num_batches=1, num_samples=(60, 60))
    data.target.keep_attributes = {"source": ("mnist_m", "inverted")}  # twice as many images
    trainer = make_trainer(tmp_path, logger=CSVLogger(tmp_path, "", ""), callbacks=[ClassificationReport(4)])
    trainer.fit(tiny_method(), data)
    assert [count for count, _ in counts] == [6, 12]
    assert names(tmp_path) == {"classes_val_epoch_000.png", "classes_val_target_epoch_000.png"}
    trainer.test(tiny_method(), data, verbose=False)
    assert [count for count, _ in counts[2:]] == [6, 12]
    truth = np.bincount([int(sample["label"]) for sample in data.target.dataset("test")], minlength=10)
    assert counts[3][1] == truth.tolist()
    assert {"classes_test_epoch_001.png", "classes_test_target_epoch_001.png"} < names(tmp_path)


def test_the_target_alone_keeps_its_name(tmp_path, counts):
    data = make_digits(num_batches=1)
    data.evaluate = ("target",)
    trainer = make_trainer(tmp_path, logger=CSVLogger(tmp_path, "", ""), callbacks=[ClassificationReport(4)])
    trainer.validate(tiny_method(), data, verbose=False)
    assert names(tmp_path) == {"classes_val_target_epoch_000.png"}


@pytest.mark.parametrize(
    ("picture", "make_data", "make_method", "name"),
    [
        (SegmentationPictures, make_streets, lambda: make_segmentation(11), "pictures"),
        (DetectionPictures, make_traffic, lambda: make_detection(10), "detections"),
    ],
)
def test_other_pictures_are_of_source_and_target_too(picture, make_data, make_method, name, tmp_path, monkeypatch):
    shown = []
    show = picture._show

    def keep(self, trainer, module, stage, path):
        shown.append((stage, [one.image for one in getattr(self, "_pictures", None) or self._others]))
        show(self, trainer, module, stage, path)

    monkeypatch.setattr(picture, "_show", keep)
    data = make_data()
    data.target.batch_size = 1
    logger = CSVLogger(tmp_path, "", "")
    trainer = make_trainer(tmp_path, logger=logger, callbacks=[picture(num_images=2)])
    data.source.domain_names = None  # so that no image comes first
    trainer.validate(make_method(), data, verbose=False)
    assert names(tmp_path) == {f"{name}_val_epoch_000.png", f"{name}_val_target_epoch_000.png"}
    assert [stage for stage, _ in shown] == ["val", "val_target"]
    for (_, images), side in zip(shown, (data.source, data.target), strict=True):
        expected = [sample["image"].permute(1, 2, 0).numpy() for sample in map(side.dataset("val").__getitem__, (0, 1))]
        assert all(np.array_equal(*pair) for pair in zip(images, expected, strict=True))


def test_domains_of_the_target_have_a_table_of_their_own(tmp_path):
    source, target = make_bdd100k(), make_bdd100k()
    target.keep_attributes = {"timeofday": ("daytime",)}
    trainer = make_trainer(tmp_path, logger=CSVLogger(tmp_path, "", ""), callbacks=[DomainTable()])
    method = make_detection(10)
    trainer.validate(method, AdaptationDataModule(source, target), verbose=False)
    for stage in ("val", "val_target"):
        with (tmp_path / f"domains_{stage}.csv").open() as file:
            rows = {row["domain"]: float(row["value"]) for row in csv.DictReader(file)}
        keys = {key: float(value) for key, value in trainer.callback_metrics.items()}
        logged = {key: value for key, value in keys.items() if key.startswith(f"{stage}/ap50_")}
        assert len(rows) == len(logged) > 0
        assert sorted(rows.values()) == pytest.approx(sorted(logged.values()))
    assert set(rows) <= {name for name in method.domain_names if name.startswith("daytime")}


def test_wandb_has_both(tmp_path):
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    trainer = make_trainer(tmp_path, logger=logger, callbacks=[ClassificationReport(4)])
    trainer.validate(tiny_method(), make_digits(num_batches=1), verbose=False)
    wandb.finish()
    run = read_offline_run(tmp_path)
    assert [run.column(f"{stage}/classes/count") for stage in ("val", "val_target")] == [[1], [1]]


class Answers(LightningModule):
    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        return torch.zeros(len(batch["image"]), 10)


class TwoLoaders(ToyImages):
    """A data module that does not name its loaders."""

    def val_dataloader(self):
        return [super().val_dataloader()] * 2


class Stages(evaluation_pictures.EvaluationPictures):
    """Writes down the number of batches of each picture."""

    _name = "stages"

    def __init__(self):
        super().__init__(1)
        self.batches, self.shown = 0, []

    def _begin(self, trainer, module):
        self.batches = 0

    def _collect(self, trainer, module, outputs, batch):
        self.batches += 1

    def _show(self, trainer, module, stage, path):
        self.shown.append((stage, path.name, self.batches))


def test_loaders_without_names_are_numbered(tmp_path):
    stages = Stages()
    make_trainer(tmp_path, callbacks=[stages]).validate(Answers(), TwoLoaders(), verbose=False)
    assert stages.shown == [("val", "stages_val_epoch_000.png", 2), ("val_1", "stages_val_1_epoch_000.png", 2)]
    assert evaluation_stage(None, "test", 0) == "test"
