import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from settings import make_accel, make_segmentation

from callbacks import OverlayWriter
from lightning_edge.data import FramesDataModule

RED = (255, 0, 0)


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"frame_{number}.png"), np.full((64, 128, 3), 40 * number, np.uint8))
    return folder


def predict(method, frames, folder, **arguments):
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        default_root_dir=folder,
        callbacks=[OverlayWriter(**arguments)],
    )
    return trainer.predict(method, FramesDataModule(frames))


def test_writes_one_overlay_a_frame_in_the_colours_of_the_classes(frames, tmp_path, caplog):
    caplog.set_level("INFO")
    method = make_segmentation(2)
    method.palette = (RED, RED)
    predict(method, frames, tmp_path, opacity=1.0, save_masks=False)
    assert sorted(p.name for p in (tmp_path / "overlays").iterdir()) == [f"frame_{n}.png" for n in range(3)]
    picture = cv2.imread(str(tmp_path / "overlays/frame_0.png"))[..., ::-1]
    assert (picture == RED).all()
    assert not (tmp_path / "masks").exists()
    assert f"3 overlays are in {tmp_path / 'overlays'}" in caplog.text


def test_half_an_overlay_shows_the_frame(frames, tmp_path):
    method = make_segmentation(2)
    method.palette = (RED, RED)
    predict(method, frames, tmp_path, opacity=0.5)
    picture = cv2.imread(str(tmp_path / "overlays/frame_2.png"))[..., ::-1]
    np.testing.assert_allclose(picture[0, 0], [(255 + 80) / 2, 40, 40], atol=1)


def test_masks_are_what_the_stream_predicts(frames, tmp_path):
    predictions = predict(make_accel(5), frames, tmp_path)
    for number, mask in enumerate(predictions):
        written = cv2.imread(str(tmp_path / f"masks/frame_{number}.png"), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(written, mask[0].numpy())


def test_other_predictions_are_refused():
    trainer = Trainer(logger=False, enable_checkpointing=False)
    with pytest.raises(
        ValueError, match=r"expected batches with image and name, .*, got batches with list and predictions of tuple"
    ):
        OverlayWriter().write_on_batch_end(trainer, make_accel(5), (1, 2), None, [torch.zeros(1)], 0, 0)


def test_opacity_is_a_share():
    with pytest.raises(ValueError, match=r"expected opacity within \[0, 1\], got 2"):
        OverlayWriter(opacity=2)
