"""A net that answers with the brightness of a pixel makes every picture predictable."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import wandb
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader
from wandb_offline import read_offline_run

from callbacks.latency_monitor import LatencyMonitor
from callbacks.segmentation_pictures import SegmentationPictures
from lightning_edge.ops.drawing import color_mask, default_palette, overlay, tile, with_legend

PALETTE = ((200, 0, 0), (0, 200, 0), (0, 0, 200))
NAMES = ("dark", "gray", "bright")


class BrightnessModule(LightningModule):
    """Class of a pixel: its brightness in thirds."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.stride = stride
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        image = inputs[:, -1] if inputs.ndim == 5 else inputs
        third = (3 * image[:, 0, :: self.stride, :: self.stride]).long().clamp(max=2)
        return F.one_hot(third, 3).permute(0, 3, 1, 2).float() + self.offset

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self(batch["image" if "image" in batch else "frames"]).mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def test_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Scenes(LightningDataModule):
    class_names = NAMES
    palette = PALETTE

    def __init__(self, samples: list[dict[str, Tensor]]) -> None:
        super().__init__()
        self.samples = samples

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.samples, batch_size=2)

    val_dataloader = test_dataloader = train_dataloader


def make_samples(num_samples: int, key: str = "image") -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 6, 8) if key == "image" else (4, 3, 6, 8)
    samples = []
    for _ in range(num_samples):
        mask = torch.randint(3, (6, 8), generator=generator)
        mask[0] = 255
        samples.append({key: torch.rand(shape, generator=generator), "mask": mask})
    return samples


def expected_picture(
    samples: list[dict[str, Tensor]], palette: Any = PALETTE, names: Any = NAMES, opacity: float = 0.6
) -> np.ndarray:
    """Images 40 times as large, 320 pixels wide, above the classes that are in any of them."""
    rows, present = [], set()
    for sample in samples:
        image = sample["image"] if "image" in sample else sample["frames"][-1]
        pixels = (255 * image).round().byte().permute(1, 2, 0).numpy()
        prediction = (3 * image[0]).long().clamp(max=2).numpy()
        colors = color_mask(prediction, palette), color_mask(sample["mask"].numpy(), palette)
        row = [pixels, *(overlay(pixels, painted, opacity) for painted in colors)]
        rows.append([np.kron(image, np.ones((40, 40, 1), np.uint8)) for image in row])
        present |= {*prediction.flatten().tolist(), *sample["mask"].flatten().tolist()}
    assert 255 in present
    shown = [*(index for index in range(3) if index in present)]
    table = tile(rows, titles=("image", "prediction", "truth"))
    return with_legend(table, [*(names[i] for i in shown), "ignored"], [*(palette[i] for i in shown), (0, 0, 0)])


def make_trainer(
    folder: Path, *callbacks: Any, logger: Logger | list[Logger] | bool = False, **options: Any
) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    options = {"accelerator": "cpu", "default_root_dir": folder, "logger": logger} | quiet | options
    return Trainer(callbacks=list(callbacks), **options)


def read_png(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[..., ::-1]


@pytest.mark.parametrize("key", ["image", "frames"])
def test_the_first_images_are_shown_beside_prediction_and_truth(tmp_path: Path, key: str) -> None:
    samples = make_samples(6, key)
    trainer = make_trainer(tmp_path, SegmentationPictures(num_images=3))
    trainer.test(BrightnessModule(), Scenes(samples), verbose=False)
    (path,) = (tmp_path / "figures").iterdir()
    assert path.name == "pictures_test_epoch_000.png"
    assert np.array_equal(read_png(path), expected_picture(samples[:3]))


def test_without_a_data_module_colors_are_the_default(tmp_path: Path) -> None:
    samples = make_samples(1)
    trainer = make_trainer(tmp_path, SegmentationPictures(opacity=1.0))
    trainer.validate(BrightnessModule(), DataLoader(samples), verbose=False)
    shown = read_png(tmp_path / "figures" / "pictures_val_epoch_000.png")
    names = ("class 0", "class 1", "class 2")
    assert np.array_equal(shown, expected_picture(samples, default_palette(3), names, opacity=1.0))


@pytest.mark.parametrize("has_ignored", [True, False])
def test_the_legend_has_the_classes_that_are_in_the_picture(tmp_path: Path, has_ignored: bool) -> None:
    mask = torch.zeros(6, 8, dtype=torch.long)
    mask[0] = 255 if has_ignored else 0
    samples = [{"image": torch.full((3, 6, 8), 0.9), "mask": mask}]  # the net says bright, the truth is dark
    trainer = make_trainer(tmp_path, SegmentationPictures())
    trainer.test(BrightnessModule(), Scenes(samples), verbose=False)
    legend = read_png(tmp_path / "figures" / "pictures_test_epoch_000.png")[-30:]
    has_swatch = [bool((legend == color).all(-1)[:, 6:20].any()) for color in PALETTE]
    at_right = [bool((legend == color).all(-1).any()) for color in PALETTE]
    assert has_swatch == [True, False, False]
    assert at_right == [True, False, True]
    num_black = int((legend[12:22] == 0).all(-1).all(0).sum())  # columns of a black swatch, unlike those of letters
    assert (num_black > 10) is has_ignored


def test_images_of_one_channel_are_gray(tmp_path: Path) -> None:
    samples = [{"image": torch.full((1, 6, 8), 0.4), "mask": torch.zeros(6, 8, dtype=torch.long)}]
    make_trainer(tmp_path, SegmentationPictures()).test(BrightnessModule(), Scenes(samples), verbose=False)
    picture = read_png(tmp_path / "figures" / "pictures_test_epoch_000.png")
    assert (picture[30:250, :300] == 102).all()


def test_coarse_scores_are_shown_at_the_size_of_the_image(tmp_path: Path) -> None:
    samples = make_samples(1)
    trainer = make_trainer(tmp_path, SegmentationPictures())
    trainer.test(BrightnessModule(stride=2), Scenes(samples), verbose=False)
    assert read_png(tmp_path / "figures" / "pictures_test_epoch_000.png").shape == expected_picture(samples).shape


def test_pictures_follow_the_epochs_and_skip_the_sanity_check(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, SegmentationPictures(every_n_epochs=2), max_epochs=4, num_sanity_val_steps=2)
    trainer.fit(BrightnessModule(), Scenes(make_samples(2)))
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["pictures_val_epoch_001.png", "pictures_val_epoch_003.png"]


def test_fast_dev_run_leaves_nothing(tmp_path: Path) -> None:
    make_trainer(tmp_path, SegmentationPictures(), fast_dev_run=True).fit(BrightnessModule(), Scenes(make_samples(2)))
    assert list(tmp_path.iterdir()) == []


def test_pictures_go_to_the_folder_of_the_csv_logger(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    trainer = make_trainer(tmp_path, SegmentationPictures(), logger=logger)
    trainer.test(BrightnessModule(), Scenes(make_samples(2)), verbose=False)
    assert (Path(logger.log_dir) / "figures" / "pictures_test_epoch_000.png").exists()


def test_mixed_precision_and_two_processes(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path, SegmentationPictures(), precision="bf16-mixed", strategy="ddp_fork", devices=2, max_epochs=1
    )
    trainer.fit(BrightnessModule(), Scenes(make_samples(8)))
    assert (tmp_path / "figures" / "pictures_val_epoch_000.png").exists()


def test_other_batches_are_refused(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, SegmentationPictures())
    loader = DataLoader([{"image": torch.zeros(3, 2, 2), "label": 1}])
    with pytest.raises(ValueError, match=r"image or frames and mask, got \['image', 'label'\]"):
        trainer.test(BrightnessModule(), loader, verbose=False)


@pytest.mark.parametrize("arguments", [{"num_images": 0}, {"every_n_epochs": 0}])
def test_arguments_are_checked(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected num_images and every_n_epochs of at least 1"):
        SegmentationPictures(**arguments)


def test_an_offline_run_of_wandb_holds_masks_latency_and_configuration(tmp_path: Path) -> None:
    samples = make_samples(14)
    logger = WandbLogger(project="pictures", save_dir=tmp_path, offline=True)
    callbacks = SegmentationPictures(num_images=2), LatencyMonitor(warmup_batches=1)
    trainer = make_trainer(tmp_path, *callbacks, logger=logger, max_epochs=1)
    trainer.fit(BrightnessModule(stride=1), Scenes(samples))
    wandb.finish()

    run = read_offline_run(tmp_path)
    assert run.config["stride"] == 1
    assert run.summary["val/latency_ms_p50"] > 0
    assert run.summary["train/update_ms_p50"] > 0
    assert run.summary["val/num_parameters"] == 1

    assert run.column("val/pictures/count") == [2]
    (layers,) = run.column("val/pictures/all_masks")
    for sample, name, masks in zip(samples, run.column("val/pictures/filenames")[0], layers, strict=False):
        pixels = (255 * sample["image"]).round().byte().permute(1, 2, 0).numpy()
        assert np.array_equal(read_png(run.files / name), pixels)
        assert set(masks) == {"prediction", "truth"}
        truth = cv2.imread(str(run.files / masks["truth"]["path"]), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(truth, sample["mask"].numpy())
    labels = [value["value"] for value in run.config["_wandb"]["mask/class_labels"].values()]
    assert labels
    assert all(label == {"0": "dark", "1": "gray", "2": "bright", "255": "ignored"} for label in labels)
