"""What is logged, against a metric by other hands."""

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassJaccardIndex
from toys import NUM_CLASSES, PlainBranch

from lightning_edge.methods import Segmentation

CLASS_NAMES = ("road", "sky", "car", "person", "tree")


class ToyImages(LightningDataModule):
    """Three batches that differ in size, with ignored pixels."""

    num_classes, class_names = NUM_CLASSES, CLASS_NAMES

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.batches = [
            {
                "image": torch.rand(size, 3, 32, 64, generator=generator),
                "mask": torch.randint(0, NUM_CLASSES, (size, 32, 64), generator=generator),
            }
            for size in (3, 2, 1)
        ]
        for batch, rows in zip(self.batches, (4, 20, 28), strict=True):
            batch["mask"][:, :rows] = 255

    def val_dataloader(self):
        return DataLoader(self.batches, batch_size=None)

    test_dataloader = val_dataloader


def make_method():
    """A net that predicts every class somewhere."""
    torch.manual_seed(4)
    net = PlainBranch(16)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    return Segmentation(net)


def make_trainer(folder):
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


@torch.inference_mode()
def expected_scores(net, batches, stage, class_names):
    metric = MulticlassJaccardIndex(NUM_CLASSES, average=None, ignore_index=255)
    for batch in batches:
        metric.update(net(batch["image"]).argmax(1), batch["mask"])
    scores = metric.compute()
    by_class = {f"{stage}/iou_{name}": iou for name, iou in zip(class_names, scores.tolist(), strict=True)}
    return {f"{stage}/miou": scores.mean().item(), **by_class}


@pytest.mark.parametrize(("run", "stage"), [(Trainer.test, "test"), (Trainer.validate, "val")])
def test_scores_are_those_of_all_labeled_pixels(run, stage, tmp_path):
    method, data = make_method(), ToyImages()
    [logged] = run(make_trainer(tmp_path), method, data, verbose=False)
    expected = expected_scores(method.net, data.batches, stage, CLASS_NAMES)
    assert logged == pytest.approx(expected, abs=1e-6)
    assert len({round(iou, 4) for iou in expected.values()}) == len(expected), "expected the scores to differ"


def test_classes_without_a_name_have_their_number(tmp_path):
    method, data = make_method(), ToyImages()
    [logged] = make_trainer(tmp_path).test(method, data.test_dataloader(), verbose=False)
    assert logged == pytest.approx(expected_scores(method.net, data.batches, "test", range(NUM_CLASSES)), abs=1e-6)


def test_a_class_that_does_not_occur_has_no_score(tmp_path):
    method, data = make_method(), ToyImages()
    method.net.head.bias.data[3] = -1e6
    for batch in data.batches:
        batch["mask"][batch["mask"] == 3] = 255
    [logged] = make_trainer(tmp_path).test(method, data, verbose=False)
    expected = expected_scores(method.net, data.batches, "test", CLASS_NAMES)
    assert expected.pop("test/iou_person") == 0
    assert logged == pytest.approx({**expected, "test/miou": expected["test/miou"] * 5 / 4}, abs=1e-6)


@pytest.mark.parametrize(("run", "stage"), [(Trainer.test, "test"), (Trainer.validate, "val")])
def test_an_interrupted_evaluation_leaves_nothing_behind(run, stage, tmp_path):
    method, data = make_method(), ToyImages()
    torn = [data.batches[0], {}]
    with pytest.raises(ValueError, match="expected a batch with 'image' and 'mask'"):
        make_trainer(tmp_path).validate(method, DataLoader(torn, batch_size=None), verbose=False)
    run(make_trainer(tmp_path), method, data, verbose=False)
    num_labeled = sum(int((batch["mask"] != 255).sum()) for batch in data.batches)
    assert method.confusion.compute().sum() == num_labeled


def test_predictions_are_the_classes_of_the_highest_scores():
    method, data = make_method().eval(), ToyImages()
    image = data.batches[0]["image"]
    with torch.inference_mode():
        predicted = method.predict_step({"image": image, "frame_index": torch.arange(3), "name": ["a", "b", "c"]}, 0)
        scores = method.net(image)
    assert predicted.unique().numel() == NUM_CLASSES
    assert torch.equal(scores.gather(1, predicted[:, None])[:, 0], scores.max(1).values)


def test_a_label_that_is_no_class_is_named(tmp_path):
    data = ToyImages()
    data.batches[1]["mask"][0, -1, -1] = NUM_CLASSES
    with pytest.raises(ValueError, match=r"expected labels below num_classes \(5\), got 5"):
        make_trainer(tmp_path).validate(make_method(), data, verbose=False)
