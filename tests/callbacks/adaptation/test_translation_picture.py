"""Images next to their translations."""

import cv2
import numpy as np
import pytest
import torch
import wandb
from adaptation_runs import fit, make_classification, make_digits, make_streets
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from settings import make_segmentation
from wandb_offline import read_offline_run

from callbacks._pictures.files import enlarge, pixels_of
from callbacks.adaptation import FDA, CyCADA, TranslationPicture
from lightning_edge.ops.drawing import tile


def names(folder):
    return sorted(path.name for path in folder.rglob("*.png"))


def picture_in(folder, epoch):
    return cv2.imread(str(folder / f"figures/translations_epoch_{epoch:03d}.png"))[..., ::-1]


def test_rows_are_images_and_their_translations_there_and_back(tmp_path):
    cycada, data = CyCADA(base_channels=4), make_digits(2)
    picture, logger = TranslationPicture(num_images=3), CSVLogger(tmp_path, "", "")
    seen = []
    on_start = picture.on_train_batch_start

    def keep(trainer, module, batch, batch_idx):
        seen.append((batch["image"][:3].clone(), trainer.datamodule.target_batch["image"][:3].clone()))
        on_start(trainer, module, batch, batch_idx)

    picture.on_train_batch_start = keep
    fit(make_classification(), data, tmp_path, cycada, picture, logger=logger)
    source, target = seen[0]
    to_source, to_target = cycada.nets["to_source"], cycada.nets["to_target"]
    with torch.no_grad():
        as_target, as_source = to_target(source), to_source(target)
        columns = [source, as_target, to_source(as_target), target, as_source, to_target(as_source)]
    rows = [[enlarge(pixels_of(column[row]), 4) for column in columns] for row in range(3)]
    titles = ("source", "as target", "and back", "target", "as source", "and back")
    assert np.array_equal(picture_in(tmp_path, 0), tile(rows, titles=titles))


def test_every_nth_epoch_and_the_last_show_the_same_images(tmp_path):
    logger = CSVLogger(tmp_path, "", "")
    picture = TranslationPicture(num_images=1, every_n_epochs=2)
    fit(make_classification(), make_digits(1), tmp_path, CyCADA(base_channels=2), picture, logger=logger, max_epochs=3)
    assert names(tmp_path) == ["translations_epoch_001.png", "translations_epoch_002.png"]
    first, last = (picture_in(tmp_path, epoch) for epoch in (1, 2))
    width = first.shape[1] // 6
    assert np.array_equal(first[:, : width - 4], last[:, : width - 4])
    assert not np.array_equal(first, last)


def test_images_are_those_of_the_data_whatever_changes_them(tmp_path):
    pictures = []
    for callbacks in ([], [FDA(beta=0.1)]):
        folder = tmp_path / str(len(callbacks))
        everything = [TranslationPicture(num_images=2), *callbacks, CyCADA(base_channels=2)]
        fit(make_classification(), make_digits(1), folder, *everything, logger=CSVLogger(folder, "", ""))
        pictures.append(picture_in(folder, 0))
    width = pictures[0].shape[1] // 6
    assert np.array_equal(pictures[0][:, : width - 4], pictures[1][:, : width - 4])


def test_larger_images_are_not_enlarged_much(tmp_path):
    torch.manual_seed(0)
    logger = CSVLogger(tmp_path, "", "")
    callbacks = CyCADA(base_channels=2), TranslationPicture(num_images=1)
    fit(make_segmentation(11), make_streets(), tmp_path, *callbacks, logger=logger, limit_train_batches=1)
    assert picture_in(tmp_path, 0).shape[1] == 6 * 2 * 96 + 5 * 4


def test_wandb_has_the_picture(tmp_path):
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    fit(make_classification(), make_digits(1), tmp_path, CyCADA(base_channels=2), TranslationPicture(), logger=logger)
    wandb.finish()
    assert read_offline_run(tmp_path).column("train/translations/count") == [1]


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="expected num_images of at least 1, got 0"):
        TranslationPicture(num_images=0)
    with pytest.raises(ValueError, match="expected CyCADA among the callbacks of the trainer"):
        fit(make_classification(), make_digits(1), tmp_path, TranslationPicture())
