"""Classes of images as a table, whatever becomes of the run."""

import csv
import os
import sys

import cv2
import numpy as np
import pytest
from lightning.pytorch import Trainer
from settings import make_segmentation
from torch import nn

from callbacks import PredictionWriter
from callbacks._csv_text import as_text
from lightning_edge.data import FramesDataModule
from lightning_edge.methods import Classification


class Brightness(nn.Module):
    """Class 1 where a picture is bright."""

    num_classes = 2

    def forward(self, image):
        return image.mean((2, 3))[:, :2] * image.new_tensor([0, 1]) + image.new_tensor([0.5, 0])


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, value in enumerate([10, 240, 20]):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((8 + number, 8, 3), value, np.uint8))
    return folder


def predict(method, data, folder):
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        default_root_dir=folder,
        callbacks=[PredictionWriter()],
    )
    trainer.predict(method, data)
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_every_image_has_a_row(pictures, tmp_path, caplog):
    caplog.set_level("INFO")
    method = Classification(Brightness())
    head = ["name", "class", "class_name"]
    data = FramesDataModule(pictures, batch_size=2, size=(8, 8))
    assert predict(method, data, tmp_path) == [head, ["0", "0", ""], ["1", "1", ""], ["2", "0", ""]]
    assert f"The classes of 3 images are in {tmp_path / 'predictions.csv'}" in caplog.text
    method.class_names = ("dark", "bright")
    rows = predict(method, data, tmp_path)
    assert rows == [head, ["0", "0", "dark"], ["1", "1", "bright"], ["2", "0", "dark"]]  # and none of the run before


FORMULAS = {
    "=1+1": "'=1+1",
    "+1": "'+1",
    "-5": "'-5",
    "@SUM(A1)": "'@SUM(A1)",
    "\t=1": "'\t'=1",
    "\uff1d1": "'\uff1d1",  # the wide sign of Japanese keyboards
    "a;=1+1": "a;'=1+1",  # spreadsheets part at semicolons where commas are decimal
}


@pytest.mark.parametrize(("name", "written"), FORMULAS.items())
def test_names_of_files_and_classes_are_no_formulas(tmp_path, name, written):
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "plain.png"), np.full((8, 8, 3), 10, np.uint8))
    (folder / "plain.png").rename(folder / f"{name}.png")
    method = Classification(Brightness())
    method.class_names = (name, "a-b")
    assert predict(method, FramesDataModule(folder), tmp_path)[1:] == [[written, "0", written]]


@pytest.mark.parametrize("name", ["a-b", "1=1", "Gr\u00f6\u00dfe", "a, -5", ""])
def test_other_names_are_as_they_were(name):
    assert as_text(name) == name


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems have no such names")
def test_a_name_that_is_no_utf8_is_written_out(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "plain.png"), np.full((8, 8, 3), 240, np.uint8))
    os.rename(folder / "plain.png", os.fsencode(folder) + b"/caf\xe9.png")  # noqa: PTH104
    for num_workers in (0, 1):
        data = FramesDataModule(folder, num_workers=num_workers)
        assert predict(Classification(Brightness()), data, tmp_path)[1:] == [["caf\\udce9", "1", ""]]


def test_predictions_of_another_kind_are_named(pictures, tmp_path):
    with pytest.raises(ValueError, match=r"a class for each image as prediction, got .*'name'\] and predictions \(1, "):
        predict(make_segmentation(2), FramesDataModule(pictures), tmp_path)
