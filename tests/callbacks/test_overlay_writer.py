import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from settings import make_accel, make_segmentation
from torch.utils.data import DataLoader

from callbacks import OverlayWriter
from lightning_edge.data import FramesDataModule
from lightning_edge.ops.drawing import default_palette, with_legend

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


def test_writes_one_overlay_a_frame_in_the_colors_of_the_classes(frames, tmp_path, caplog):
    caplog.set_level("INFO")
    method = make_segmentation(2)
    method.palette = (RED, RED)
    predict(method, frames, tmp_path, opacity=1.0, save_masks=False, legend=False)
    assert sorted(p.name for p in (tmp_path / "overlays").iterdir()) == [f"frame_{n}.png" for n in range(3)]
    picture = cv2.imread(str(tmp_path / "overlays/frame_0.png"))[..., ::-1]
    assert (picture == RED).all()
    assert not (tmp_path / "masks").exists()
    assert f"3 overlays are in {tmp_path / 'overlays'}" in caplog.text


def test_half_an_overlay_shows_the_frame(frames, tmp_path):
    method = make_segmentation(2)
    method.palette = (RED, RED)
    predict(method, frames, tmp_path, opacity=0.5, legend=False)
    picture = cv2.imread(str(tmp_path / "overlays/frame_2.png"))[..., ::-1]
    np.testing.assert_allclose(picture[0, 0], [(255 + 80) / 2, 40, 40], atol=1)


def test_a_legend_names_all_classes_below_the_enlarged_frame(frames, tmp_path):
    method = make_segmentation(3)
    method.palette, method.class_names = (RED, (0, 200, 0), (0, 0, 200)), ("road", "sky", "car")
    predict(method, frames, tmp_path, opacity=1.0)
    for number in range(3):
        picture = cv2.imread(str(tmp_path / f"overlays/frame_{number}.png"))[..., ::-1]
        mask = cv2.imread(str(tmp_path / f"masks/frame_{number}.png"), cv2.IMREAD_GRAYSCALE)
        assert mask.shape == (64, 128)
        assert np.array_equal(picture[: 5 * 64], np.kron(np.array(method.palette, np.uint8)[mask], np.ones((5, 5, 1))))
        legend = picture[5 * 64 :]
        assert legend.shape[1] == 5 * 128
        assert np.array_equal(legend, with_legend(picture[:320], method.class_names, method.palette)[320:])


def test_classes_without_names_are_numbered(frames, tmp_path):
    method = make_segmentation(3)
    predict(method, frames, tmp_path)
    picture = cv2.imread(str(tmp_path / "overlays/frame_0.png"))[..., ::-1]
    names = [f"class {index}" for index in range(3)]
    assert np.array_equal(picture, with_legend(picture[:320], names, default_palette(3)))


def test_a_gray_frame_and_a_name_that_is_no_utf8(tmp_path):
    class Nothing(LightningModule):
        num_classes = 2

        def predict_step(self, batch, batch_idx):
            return torch.zeros(len(batch["image"]), 4, 6, dtype=torch.long)

    batch = {"image": torch.full((1, 1, 4, 6), 0.4), "frame_index": torch.tensor([0]), "name": ["\udcff"]}
    writer = OverlayWriter(opacity=0.0, legend=False)
    trainer = Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path, callbacks=[writer])
    trainer.predict(Nothing(), DataLoader([batch], batch_size=None))
    [path] = (tmp_path / "overlays").iterdir()
    assert path.name == "\udcff.png"
    assert (cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR) == 102).all()


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
