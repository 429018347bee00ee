"""Boxes that go with their images: through augmentation, into batches, and through the precision of a trainer."""

from pathlib import Path
from typing import ClassVar

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from lightning_edge.batch_checks import check_batch
from lightning_edge.data import DetectionAugmentation, DetectionDataModule
from lightning_edge.data.detection import LEAST_LEFT_BY_CROP, LabeledImage
from lightning_edge.data.domains.partitions import ImageRecord
from lightning_edge.data.loading import SampleRequest

HEIGHT, WIDTH = 60, 80


class Rectangles(DetectionDataModule):
    """A bright rectangle on black in each image; those in ``ignored`` count for nothing."""

    num_classes = 3
    class_names = ("a", "b", "c")
    vocabulary: ClassVar = {"light": ("day", "night")}

    def __init__(self, folder: Path, boxes, ignored=(), size=(HEIGHT, WIDTH), input_size=(HEIGHT, WIDTH), **others):
        super().__init__(input_size, **{"num_workers": 0, "batch_size": 2} | others)
        self.images = []
        for index, box in enumerate([*boxes, *ignored]):
            path = folder / f"{index}.png"
            image = np.zeros((*size, 3), np.uint8)
            image[box[1] : box[3], box[0] : box[2]] = 255
            cv2.imwrite(str(path), image)
            some, none = np.array([box], np.float32), np.zeros((0, 4), np.float32)
            number, nothing = np.array([index % 3]), np.zeros(0, np.int64)
            counts = index < len(boxes)
            objects = (some, number, none, nothing) if counts else (none, nothing, some, number)
            self.images.append(LabeledImage(path, ImageRecord(path.name, {"light": "day"}), *objects))

    def labeled_images(self, split):
        return self.images


def bright_box(image):
    rows, columns = np.nonzero(image[0].numpy() > 140)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else None


BOXES = [(5, 6, 25, 22), (0, 0, 9, 12), (50, 30, 80, 60), (30, 25, 45, 55)]


def test_augmented_boxes_still_enclose_their_objects(tmp_path):
    dataset = Rectangles(tmp_path, BOXES[:2], BOXES[2:]).dataset("train")
    num_lost, moved = 0, set()
    for index, (x1, y1, x2, y2) in enumerate(BOXES):
        for seed in range(100):
            item = dataset[SampleRequest(index, seed, 0)]
            key, other = ("boxes_xyxy", "ignored_xyxy") if index < 2 else ("ignored_xyxy", "boxes_xyxy")
            assert item["image"].shape == (3, HEIGHT, WIDTH)
            assert len(item[other]) == 0
            seen = bright_box(item["image"])
            if not len(item[key]):
                num_lost += 1
                left = (seen[2] - seen[0]) * (seen[3] - seen[1]) if seen else 0
                most = (LEAST_LEFT_BY_CROP * (x2 - x1) * (y2 - y1)) * 1.25**2
                assert left < 1.4 * most
                continue
            assert np.abs(np.array(seen) - item[key][0].numpy()).max() <= 1
            assert item[key.replace("boxes_xyxy", "label").replace("ignored_xyxy", "ignored_label")] == index % 3
            moved.add(tuple(seen))
    assert len(moved) > 200
    assert 0 < num_lost < 40


def test_without_augmentation_boxes_stay(tmp_path):
    dataset = Rectangles(tmp_path, BOXES, train_transform=A.NoOp()).dataset("train")
    for index, box in enumerate(BOXES):
        drawn, asked = dataset[SampleRequest(index, 3, 0)], dataset[index]
        assert torch.equal(drawn["image"], asked["image"])
        assert bright_box(asked["image"]) == list(box)
        assert asked["boxes_xyxy"][0].tolist() == list(box)
        torch.testing.assert_close(drawn["boxes_xyxy"], asked["boxes_xyxy"], rtol=0, atol=1e-4)


def test_a_flip_alone_mirrors_boxes(tmp_path):
    item = Rectangles(tmp_path, BOXES, train_transform=A.HorizontalFlip(p=1)).dataset("train")[SampleRequest(0, 0, 0)]
    assert item["boxes_xyxy"][0].tolist() == pytest.approx([WIDTH - 25, 6, WIDTH - 5, 22], abs=1e-4)
    assert bright_box(item["image"]) == [WIDTH - 25, 6, WIDTH - 5, 22]


def test_samples_follow_from_the_seed_of_their_draw(tmp_path):
    datasets = [Rectangles(tmp_path, BOXES).dataset("train") for _ in range(2)]
    first, second = ([dataset[SampleRequest(1, seed, 0)] for seed in range(10)] for dataset in datasets)
    for item, other in zip(first, second, strict=True):
        assert all(torch.equal(item[key], other[key]) for key in item)
    assert len({item["image"].numpy().tobytes() for item in first}) == 10


def test_items_asked_by_number_are_never_augmented(tmp_path):
    data = Rectangles(tmp_path, BOXES)
    for split in ("train", "val", "test"):
        assert data.dataset(split)[2]["boxes_xyxy"][0].tolist() == list(BOXES[2])


def test_boxes_over_scale_are_pixels_of_the_file(tmp_path):
    data = Rectangles(tmp_path, [(40, 60, 300, 240)], size=(300, 400), input_size=(90, 160))
    item = data.dataset("val")[0]
    assert item["scale"] == np.float32(0.3)
    assert item["original_size"].tolist() == [300, 400]
    torch.testing.assert_close(item["boxes_xyxy"] / item["scale"], torch.tensor([[40.0, 60, 300, 240]]))
    assert bright_box(item["image"]) == [12, 18, 90, 72]


def test_a_box_as_large_as_the_image_stays_within_the_frame(tmp_path):
    for size in ((97, 131), (720, 1280), (61, 33), (1080, 1920), (1563, 640)):
        data = Rectangles(tmp_path, [(0, 0, size[1], size[0])], size=size, input_size=(101, 77))
        x1, y1, x2, y2 = data.dataset("val")[0]["boxes_xyxy"][0].tolist()
        assert (x1, y1) == (0, 0)
        assert x2 <= 77
        assert y2 <= 101
        assert max(x2 / 77, y2 / 101) == pytest.approx(1)
        assert len(data.dataset("train")[SampleRequest(0, 0, 0)]["boxes_xyxy"]) == 1


def test_a_transform_of_another_size_is_named(tmp_path):
    dataset = Rectangles(tmp_path, BOXES, train_transform=A.RandomCrop(20, 20)).dataset("train")
    with pytest.raises(ValueError, match=r"keeps images at input_size \(60, 80\), got \(20, 20\)"):
        dataset[SampleRequest(0, 0, 0)]


def test_a_split_without_images_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"expected labeled_images\('train'\) of Rectangles to return images, got none"
    ):
        Rectangles(tmp_path, []).setup("fit")


def test_augmentation_is_mild_and_keeps_the_size():
    image = np.full((HEIGHT, WIDTH, 3), (200, 100, 50), np.uint8)
    transform = DetectionAugmentation(HEIGHT, WIDTH, scale=(1, 1), color=0.1)
    transform.set_random_seed(0)
    made = [transform(image=image)["image"] for _ in range(50)]
    assert {item.shape for item in made} == {image.shape}
    difference = np.abs(np.stack(made).astype(int) - image)
    assert 10 < difference.max() < 60


class Watcher(LightningModule):
    """Keeps what batches become under a trainer."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch)
        return self.weight.sum() * batch["image"].mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("32-true", torch.float32), ("bf16-true", torch.bfloat16), ("64-true", torch.float64)]
)
def test_coordinates_are_exact_under_any_precision(precision, dtype, tmp_path):
    sizes = {"size": (1003, 1337), "input_size": (1003, 1337), "train_transform": A.NoOp()}
    data = Rectangles(tmp_path, [(1003, 901, 1335, 1001)], [(3, 5, 1001, 999)], **sizes)
    watcher = Watcher()
    trainer = Trainer(
        accelerator="cpu", max_steps=1, precision=precision, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(watcher, data)
    (batch,) = watcher.seen
    check_batch(batch, data.batch_type)
    assert batch["image"].dtype == batch["domain_embedding"].dtype == dtype
    order = batch["image_id"].tolist()
    for key, image, box in (("boxes_xyxy", 0, [1003, 901, 1335, 1001]), ("ignored_xyxy", 1, [3, 5, 1001, 999])):
        actual = batch[key][order.index(image)]
        assert actual.dtype == torch.float32
        assert actual[0].tolist() == pytest.approx(box, abs=1e-3)
    assert batch["scale"].dtype == torch.float32


def test_a_batch_may_pass_the_last_step_twice(tmp_path):
    data = Rectangles(tmp_path, BOXES)
    batch = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    boxes = [item.clone() for item in batch["boxes_xyxy"]]
    again = data.on_after_batch_transfer(batch, 0)
    assert all(torch.equal(item, other) for item, other in zip(boxes, again["boxes_xyxy"], strict=True))


def test_workers_give_the_same_as_none(tmp_path):
    batches = []
    for num_workers in (0, 1):
        data = Rectangles(tmp_path, BOXES, num_workers=num_workers)
        batches.append([data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()])
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one["image"], other["image"])
        assert all(torch.equal(a, b) for a, b in zip(one["boxes_xyxy"], other["boxes_xyxy"], strict=True))


def test_fixed_samples_can_be_collated(tmp_path):
    data = Rectangles(tmp_path, BOXES)
    batch = data.on_after_batch_transfer(data.collate(data.fixed_samples("train", 3)), 0)
    check_batch(batch, data.batch_type)
    assert len(set(batch["image_id"].tolist())) == 3
