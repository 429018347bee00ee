import csv

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from toys import make_trainer

from callbacks import DetectionWriter
from lightning_edge.contracts import Detections
from lightning_edge.data import FramesDataModule
from lightning_edge.ops.drawing import default_palette, draw_boxes

HEAD = ["name", "frame_index", "x1", "y1", "x2", "y2", "score", "class"]
BOXES = torch.tensor([[10.0, 30, 60.256, 50], [70, 20, 90, 60]])


class Told(LightningModule):
    """Finds two boxes in bright frames and none in dark ones."""

    def predict_step(self, batch, batch_idx):
        bright = Detections(BOXES, torch.tensor([0.75, 0.125]), torch.tensor([1, 0]))
        dark = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
        return [bright if image.mean() > 0.5 else dark for image in batch["image"]]


class Masks(LightningModule):
    def predict_step(self, batch, batch_idx):
        return batch["image"].mean(1).long()


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, value in enumerate([200, 10, 220]):
        cv2.imwrite(str(folder / f"frame_{number}.png"), np.full((64, 96, 3), value, np.uint8))
    return folder


def predict(module, data, folder, **arguments):
    make_trainer(folder, callbacks=[DetectionWriter(**arguments)]).predict(module, data)
    with (folder / "predictions/boxes.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def rows_of(name, index, classes):
    return [
        [name, index, "10.00", "30.00", "60.26", "50.00", "0.7500", classes[1]],
        [name, index, "70.00", "20.00", "90.00", "60.00", "0.1250", classes[0]],
    ]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_every_box_has_a_row_without_a_least_score(frames, tmp_path, caplog, batch_size):
    caplog.set_level("INFO")
    data = FramesDataModule(frames, batch_size=batch_size)
    module = Told()
    rows = predict(module, data, tmp_path, min_score=0)
    assert rows == [HEAD, *rows_of("frame_0", "0", "01"), *rows_of("frame_2", "2", "01")]
    where = tmp_path / "predictions/boxes.csv"
    assert f"The boxes of 3 frames with a score of at least 0 are in {where}" in caplog.text
    module.class_names = ("car", "person")
    rows = predict(module, data, tmp_path, min_score=0)  # and none of the run before
    assert rows == [HEAD, *rows_of("frame_0", "0", ("car", "person")), *rows_of("frame_2", "2", ("car", "person"))]


@pytest.mark.parametrize(
    ("arguments", "num_rows"), [({}, 1), ({"min_score": 0.125}, 2), ({"min_score": 0.126}, 1), ({"min_score": 0.8}, 0)]
)
def test_boxes_below_the_least_score_are_left_out(frames, tmp_path, arguments, num_rows):
    rows = predict(Told(), FramesDataModule(frames), tmp_path, **arguments)
    assert rows == [HEAD, *rows_of("frame_0", "0", "01")[:num_rows], *rows_of("frame_2", "2", "01")[:num_rows]]


def test_names_like_formulas_and_names_that_are_no_utf8_are_text(tmp_path):
    module = Told()
    module.class_names = ("@car", "+person")
    names = ["=1+1", "\udcff"]
    batch = {"image": torch.ones(2, 3, 64, 96), "frame_index": torch.tensor([0, 1]), "name": names}
    loader = torch.utils.data.DataLoader([batch], batch_size=None)
    rows = predict(module, loader, tmp_path, min_score=0)
    assert [(row[0], row[-1]) for row in rows[1:]] == [
        (name, label) for name in ("'=1+1", "\\udcff") for label in ("'+person", "'@car")
    ]
    assert sorted(path.name for path in (tmp_path / "predictions").glob("*.jpg")) == ["=1+1.jpg", "\udcff.jpg"]


def test_frames_are_written_with_the_boxes_that_are_sure(frames, tmp_path):
    module = Told()
    module.class_names = ("car", "person")
    predict(module, FramesDataModule(frames), tmp_path)
    folder = tmp_path / "predictions"
    assert sorted(path.name for path in folder.glob("*.jpg")) == [f"frame_{number}.jpg" for number in range(3)]
    assert (cv2.imread(str(folder / "frame_1.jpg")) == 10).all()
    frame = np.full((64, 96, 3), 200, np.uint8)
    sure = BOXES[:1].numpy(), np.array([1]), default_palette(2), ("car", "person"), np.float32([0.75])
    _, compressed = cv2.imencode(".jpg", draw_boxes(frame, *sure, thickness=2)[..., ::-1])
    expected = cv2.imdecode(compressed, cv2.IMREAD_COLOR)
    assert np.array_equal(cv2.imread(str(folder / "frame_0.jpg")), expected)


def test_other_predictions_are_left_alone(frames, tmp_path):
    make_trainer(tmp_path, callbacks=[DetectionWriter()]).predict(Masks(), FramesDataModule(frames))
    assert not (tmp_path / "predictions").exists()


def test_detections_of_other_batches_are_refused(tmp_path):
    loader = torch.utils.data.DataLoader([{"image": torch.zeros(3, 8, 8)}])
    trainer = make_trainer(tmp_path, callbacks=[DetectionWriter()])
    with pytest.raises(ValueError, match=r"DetectionWriter expected batches as FrameBatch, got \['image'\]"):
        trainer.predict(Told(), loader)


@pytest.mark.parametrize("min_score", [2, -0.1, float("nan")])
def test_min_score_is_a_probability(min_score):
    with pytest.raises(ValueError, match=rf"expected min_score within \[0, 1\], got {min_score}"):
        DetectionWriter(min_score=min_score)
