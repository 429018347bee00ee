"""A detector that finds boxes it was told makes every picture predictable."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import wandb
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader
from toys import make_trainer
from wandb_offline import read_offline_run

from callbacks import DetectionPictures
from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import DetectionBatch, Detections
from lightning_edge.ops.drawing import draw_boxes, tile, with_legend

PALETTE = ((240, 60, 60), (60, 240, 60))
GRAY = (160, 160, 160)
NAMES = ("car", "person")
BOXES = torch.tensor([[4.0, 8, 20, 24], [30, 6, 50, 20], [10, 10, 40, 30]])
FOUND = Detections(BOXES, torch.tensor([0.9, 0.5, 0.2]), torch.tensor([0, 1, 1]))
TRUE_BOX, IGNORED_BOX = torch.tensor([[5.0, 9, 21, 25]]), torch.tensor([[40.0, 20, 60, 30]])


class Told(LightningModule):
    def __init__(self, actual: Any = FOUND) -> None:
        super().__init__()
        self.detections = actual
        self.weight = nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.weight * batch["image"].mean()

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return [self.detections] * len(batch["image"]) if isinstance(self.detections, Detections) else self.detections

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    lists = ("boxes_xyxy", "label", "ignored_xyxy", "ignored_label")
    columns = {key: [sample[key] for sample in samples] for key in samples[0]}
    return {key: values if key in lists else torch.stack(values) for key, values in columns.items()}


class Streets(LightningDataModule):
    """Pictures of 32 x 64 pixels in a frame of 40 x 64, at half the size of their files."""

    class_names, palette = NAMES, PALETTE

    def __init__(self, domains: list[int], domain_names: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.domain_names = domain_names
        generator = torch.Generator().manual_seed(0)
        self.samples = [
            {
                "image": torch.rand(3, 40, 64, generator=generator),
                "boxes_xyxy": TRUE_BOX,
                "label": torch.tensor([1]),
                "ignored_xyxy": IGNORED_BOX,
                "ignored_label": torch.tensor([0]),
                "scale": torch.tensor(0.5),
                "original_size": torch.tensor([64, 128]),
                "image_id": torch.tensor(index),
            }
            | ({} if domain_names is None else {"domain": torch.tensor(domain)})
            for index, domain in enumerate(domains)
        ]

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.samples, batch_size=2, collate_fn=collate)

    val_dataloader = test_dataloader = train_dataloader


def shown_image(sample: dict[str, Any]) -> np.ndarray:
    return (255 * sample["image"][:, :32]).round().byte().permute(1, 2, 0).numpy()


def expected_row(sample: dict[str, Any], title: str = "prediction") -> np.ndarray:
    image = cv2.resize(shown_image(sample), None, fx=10, fy=10, interpolation=cv2.INTER_NEAREST)
    sure = 10 * BOXES[:2].numpy(), np.array([0, 1])
    actual = draw_boxes(image, *sure, PALETTE, NAMES, np.float32([0.9, 0.5]), thickness=2)
    truth = draw_boxes(image, 10 * IGNORED_BOX.numpy(), np.array([0]), (GRAY,), ("",), thickness=2)
    truth = draw_boxes(truth, 10 * TRUE_BOX.numpy(), np.array([1]), PALETTE, NAMES, thickness=2)
    return tile([[actual, truth]], titles=(title, "truth"))


def expected_picture(*rows: np.ndarray) -> np.ndarray:
    """Rows above the classes that are found or true in any of them."""
    return with_legend(tile([[row] for row in rows]), [*NAMES, "ignored"], [*PALETTE, GRAY])


def read_png(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[..., ::-1]


def picture_of_test(folder: Path, data: LightningDataModule, **arguments: Any) -> np.ndarray:
    trainer = make_trainer(folder, callbacks=[DetectionPictures(**arguments)])
    trainer.test(Told(), data, verbose=False)
    return read_png(folder / "figures" / "detections_test_epoch_000.png")


def test_the_data_are_what_the_contract_promises() -> None:
    check_batch(next(iter(Streets([0, 1], ("a", "b")).val_dataloader())), DetectionBatch)


def test_the_first_images_are_shown_without_padding_and_enlarged(tmp_path: Path) -> None:
    data = Streets([0] * 5)
    picture = picture_of_test(tmp_path, data, num_images=3)
    assert np.array_equal(picture, expected_picture(*map(expected_row, data.samples[:3])))


def test_the_legend_leaves_out_what_is_not_in_the_picture(tmp_path: Path) -> None:
    data = Streets([0])
    data.samples[0] |= {"ignored_xyxy": torch.zeros(0, 4), "ignored_label": torch.zeros(0, dtype=torch.int64)}
    picture = picture_of_test(tmp_path, data, min_score=1.0)  # nothing is found, and a person is there
    assert np.array_equal(picture, with_legend(picture[: 320 + 26], ["person"], [PALETTE[1]]))


def test_min_score_chooses_the_boxes(tmp_path: Path) -> None:
    data = Streets([0])
    all_boxes = picture_of_test(tmp_path, data, min_score=0.1)
    assert not np.array_equal(all_boxes, picture_of_test(tmp_path, data, min_score=0.3))
    assert np.array_equal(all_boxes, picture_of_test(tmp_path, data, min_score=0.2))


@pytest.mark.parametrize(
    ("domains", "num_images", "expected"),
    [
        ([0, 0, 0, 2, 0, 2, 1], 3, [0, 3, 6]),  # late domains are seen
        ([0, 0, 0, 2, 0, 2, 1], 2, [0, 3]),  # as far as there is room
        ([1, 1, 1, 2, 2, 2], 4, [0, 3, 1, 2]),  # others fill it, and domains without images do not matter
    ],
)
def test_each_domain_is_seen(tmp_path: Path, domains: list[int], num_images: int, expected: list[int]) -> None:
    names = ("day", "night/rain", "night")
    data = Streets(domains, names)
    picture = picture_of_test(tmp_path, data, num_images=num_images)
    rows = [expected_row(data.samples[index], f"prediction, {names[domains[index]]}") for index in expected]
    assert np.array_equal(picture, expected_picture(*rows))


def test_pictures_follow_the_epochs_and_each_is_of_its_own_validation(tmp_path: Path) -> None:
    data = Streets([0, 1], ("day", "night"))
    trainer = make_trainer(tmp_path, callbacks=[DetectionPictures(every_n_epochs=2)], max_epochs=3)
    trainer.fit(Told(), data)
    paths = sorted((tmp_path / "figures").iterdir())
    assert [path.name for path in paths] == ["detections_val_epoch_001.png", "detections_val_epoch_002.png"]
    rows = [expected_row(data.samples[0], "prediction, day"), expected_row(data.samples[1], "prediction, night")]
    assert all(np.array_equal(read_png(path), expected_picture(*rows)) for path in paths)


def test_nothing_found_in_nothing_true(tmp_path: Path) -> None:
    data = Streets([0])
    data.samples[0] |= {"boxes_xyxy": torch.zeros(0, 4), "label": torch.zeros(0, dtype=torch.int64)}
    data.samples[0] |= {"ignored_xyxy": torch.zeros(0, 4), "ignored_label": torch.zeros(0, dtype=torch.int64)}
    picture = picture_of_test(tmp_path, data, min_score=1.0)
    plain = shown_image(data.samples[0]).repeat(10, 0).repeat(10, 1)
    assert np.array_equal(picture, tile([[plain, plain]], titles=("prediction", "truth")))


@pytest.mark.parametrize(
    ("outputs", "got"), [(torch.zeros(1), "Tensor"), (None, "NoneType"), ([FOUND], "1 of them"), ([1, 2], "list")]
)
def test_other_outputs_are_refused(tmp_path: Path, outputs: Any, got: str) -> None:
    trainer = make_trainer(tmp_path, callbacks=[DetectionPictures()])
    with pytest.raises(ValueError, match=f"expected evaluation steps to return a list of 2 Detections, got {got}"):
        trainer.test(Told(outputs), Streets([0, 0]), verbose=False)


def test_other_batches_are_refused(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, callbacks=[DetectionPictures()])
    loader = DataLoader([{"image": torch.zeros(3, 2, 2), "label": 1}])
    with pytest.raises(
        ValueError, match=r"DetectionPictures expected batches as DetectionBatch, got \['image', 'label'\]"
    ):
        trainer.test(Told(), loader, verbose=False)


@pytest.mark.parametrize("arguments", [{"num_images": 0}, {"every_n_epochs": 0}, {"min_score": 1.5}])
def test_arguments_are_checked(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        DetectionPictures(**arguments)


def test_an_offline_run_of_wandb_holds_the_boxes(tmp_path: Path) -> None:
    data = Streets([1, 0], ("day", "night"))
    logger = WandbLogger(project="pictures", save_dir=tmp_path, offline=True)
    trainer: Trainer = make_trainer(tmp_path, callbacks=[DetectionPictures()], logger=logger)
    trainer.fit(Told(), data)
    wandb.finish()

    run = read_offline_run(tmp_path)
    assert run.column("val/detections/count") == [2]
    assert run.column("val/detections/captions") == [["night", "day"]]
    (names,) = run.column("val/detections/filenames")
    for sample, name in zip(data.samples, names, strict=True):
        assert np.array_equal(read_png(run.files / name), shown_image(sample))
    (layers,) = run.column("val/detections/all_boxes")
    files = {name: (run.files / layers[0][name]["path"]).read_text() for name in ("prediction", "truth")}
    boxes = {name: json.loads(text)["box_data"] for name, text in files.items()}
    assert boxes["prediction"][0] == {
        "position": {"minX": 4, "minY": 8, "maxX": 20, "maxY": 24},
        "domain": "pixel",
        "class_id": 0,
        "scores": {"score": pytest.approx(0.9)},
        "box_caption": "car 0.90",
    }
    assert [box["class_id"] for box in boxes["prediction"]] == [0, 1]
    assert [(box["class_id"], box["box_caption"]) for box in boxes["truth"]] == [(1, "person"), (255, "ignored")]
    assert boxes["truth"][1]["position"]["maxX"] == 60
    labels = [value["value"] for value in run.config["_wandb"]["bounding_box/class_labels"].values()]
    assert labels
    assert all(label == {"0": "car", "1": "person", "255": "ignored"} for label in labels)
