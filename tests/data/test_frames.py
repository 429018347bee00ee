from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import FrameBatch
from lightning_edge.data import FramesDataModule


def _image(value: int, height: int = 12) -> np.ndarray:
    return np.full((height, 16, 3), value, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 10, 9, 100):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), _image(number, height=10 + number % 3))
    (tmp_path / "notes.txt").touch()
    return tmp_path


def _write_video(path: Path, values: range) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (16, 12))
    if not writer.isOpened():
        pytest.skip("OpenCV cannot write a video here")
    for value in values:
        writer.write(_image(value))
    writer.release()
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return _write_video(tmp_path / "drive.avi", range(0, 70, 10))


class _Predictor(LightningModule):
    def predict_step(self, batch: Any) -> tuple[list[str], list[int], list[int]]:
        check_batch(batch, FrameBatch)
        reds = batch["image"][:, 0, 0, 0].mul(255).round().int().tolist()
        return batch["name"], batch["frame_index"].tolist(), reds


def _predict(data: FramesDataModule) -> tuple[list[str], list[int], list[int]]:
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    outputs: Any = trainer.predict(_Predictor(), datamodule=data)
    names, indices, reds = ([value for output in outputs for value in output[i]] for i in range(3))
    return names, indices, reds


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_folder_in_natural_order(folder: Path, num_workers: int):
    names, indices, reds = _predict(FramesDataModule(folder, num_workers=num_workers))
    assert names == ["frame1", "frame2", "frame9", "frame10", "frame100"]
    assert reds == [1, 2, 9, 10, 100]
    assert indices == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_counts_all_frames(folder: Path, video: Path, num_workers: int):
    data = FramesDataModule(folder, every=2, num_workers=num_workers)
    assert _predict(data)[:2] == (["frame1", "frame9", "frame100"], [0, 2, 4])
    names, indices, reds = _predict(FramesDataModule(video, every=3, num_workers=num_workers))
    assert names == ["drive_000000", "drive_000003", "drive_000006"]
    assert indices == [0, 3, 6]
    assert reds == pytest.approx([0, 30, 60], abs=3)  # the codec is lossy


def test_a_video_twice(video: Path):
    data = FramesDataModule(video, batch_size=4)
    assert _predict(data) == _predict(data)
    assert len(_predict(data)[1]) == 7


def test_missing_source(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"source .*nowhere: expected a folder of images or a video"):
        FramesDataModule(tmp_path / "nowhere").setup("predict")
    with pytest.raises(FileNotFoundError, match="it has no image"):
        FramesDataModule(tmp_path).setup("predict")


def test_unreadable_video(tmp_path: Path):
    path = tmp_path / "drive.mp4"
    path.write_text("hello")
    with pytest.raises(ValueError, match=r"drive\.mp4: OpenCV cannot read a frame"):
        FramesDataModule(path).setup("predict")


def test_a_broken_image_is_named(folder: Path):
    (folder / "frame9.png").write_text("hello")
    with pytest.raises(ValueError, match=r"frame9\.png: cannot be decoded"):
        _predict(FramesDataModule(folder))


def test_a_broken_first_image_shows_before_the_run(folder: Path):
    (folder / "frame1.png").write_text("hello")
    with pytest.raises(ValueError, match=r"frame1\.png: cannot be decoded"):
        FramesDataModule(folder).setup("predict")


def test_a_video_that_ends_early_is_noticed(tmp_path: Path):
    path = _write_video(tmp_path / "long.avi", range(200))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.warns(UserWarning, match=r"long\.avi: the video ended after \d+ of 200 frames; is it damaged\?"):
        frames = list(FramesDataModule(path).predict_dataloader())
    assert 0 < len(frames) < 200


def test_images_of_one_name_are_refused(folder: Path):
    cv2.imwrite(str(folder / "frame9.jpg"), _image(0))
    with pytest.raises(ValueError, match=r"got frame9\.jpg and frame9\.png"):
        FramesDataModule(folder).setup("predict")


def test_hidden_files_and_folders_are_no_images(folder: Path):
    (folder / "._frame9.png").write_text("hello")
    (folder / "more.png").mkdir()
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        (folder / name).touch()
    (folder / "1²3.png").write_bytes((folder / "frame1.png").read_bytes())
    names, *_ = _predict(FramesDataModule(folder))
    assert names == ["frame1", "frame2", "frame9", "frame10", "frame100", "1²3"]


def test_sizes_that_differ_in_a_batch(folder: Path):
    with pytest.raises(ValueError, match=r"\(11, 16\) in frame1 and \(12, 16\) in frame2: use batch_size=1"):
        _predict(FramesDataModule(folder, batch_size=2))


def test_there_is_nothing_to_train_on(folder: Path):
    with pytest.raises(ValueError, match="expected the stage predict, got fit"):
        FramesDataModule(folder).setup("fit")
    with pytest.raises(ValueError, match="expected every of at least 1, got 0"):
        FramesDataModule(folder, every=0)


def test_images_are_handed_over_as_bytes(folder: Path):
    assert next(iter(FramesDataModule(folder).predict_dataloader()))["image"].dtype == torch.uint8


@pytest.mark.parametrize("size", [(6, 8), (24, 32)])
def test_frames_may_be_resized(folder: Path, video: Path, size: tuple[int, int]):
    for source in (folder, video):
        data = FramesDataModule(source, batch_size=5, size=size)
        data.setup("predict")
        batch = next(iter(data.predict_dataloader()))
        assert batch["image"].shape == (5, 3, *size)
    with pytest.raises(ValueError, match=r"expected size of at least \(1, 1\), got \(0, 8\)"):
        FramesDataModule(folder, size=(0, 8))
