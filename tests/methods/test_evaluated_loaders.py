"""Scores of source and target, which must be those that each has alone."""

import math

import pytest
import settings
import torch
from domain_pairs import TinyNet, digits, relabeled, two_digits
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader
from toys import make_trainer

from lightning_edge.contracts import Detections
from lightning_edge.data import AdaptationDataModule
from lightning_edge.methods import Classification

MAKERS = {
    "classification": (lambda: digits("mnist", eval_batch_size=2), lambda _: Classification(TinyNet())),
    "segmentation": (settings.make_camvid, settings.make_segmentation),
    "clips": (settings.make_camvid_video, settings.make_accel),
    "detection": (settings.make_bdd100k, settings.make_detection),
}
MAIN = {"classification": "loss", "segmentation": "miou", "clips": "miou", "detection": "ap50"}


def make(kind, **options):
    """A method, and source and target that differ in their labels."""
    make_data, make_method = MAKERS[kind]
    seed_everything(0, verbose=False)
    data = AdaptationDataModule(make_data(), relabeled(make_data()), **options)
    method = make_method(data.num_classes)
    for part in method.modules():  # detections whose scores differ
        if getattr(part, "bias", None) is not None:
            torch.nn.init.normal_(part.bias)
    return method, data


def scores_of(method, data, stage="val", **options):
    trainer = make_trainer(None, **options)
    (trainer.validate if stage == "val" else trainer.test)(method, data, verbose=False)
    return {key: float(value) for key, value in trainer.callback_metrics.items()}


def renamed(scores, stage, name):
    return {key.replace(f"{stage}/", f"{stage}{name}/"): value for key, value in scores.items()}


def assert_same(scores, expected):
    assert scores.keys() == expected.keys()
    assert all(scores[key] == value or math.isnan(value) for key, value in expected.items())
    assert {key for key, value in scores.items() if math.isnan(value)} == {
        key for key, value in expected.items() if math.isnan(value)
    }


STAGES = [(kind, stage) for kind in MAKERS for stage in ("val", "test") if kind != "clips" or stage == "val"]


@pytest.mark.parametrize(("kind", "stage"), STAGES)
def test_scores_are_those_of_each_side_alone(kind, stage):
    method, data = make(kind)
    together = scores_of(method, data, stage)
    source, target = scores_of(method, data.source, stage), scores_of(method, data.target, stage)
    if kind != "detection":  # in which untrained nets find nothing
        assert source[f"{stage}/{MAIN[kind]}"] != target[f"{stage}/{MAIN[kind]}"]
    assert_same(together, source | renamed(target, stage, "_target"))


def test_found_objects_are_those_of_each_side_alone():
    method, data = make("detection")
    method.net.detect = lambda image: [_one_box(sample) for sample in image]
    together = scores_of(method, data)
    source, target = scores_of(method, data.source), scores_of(method, data.target)
    assert source != target
    assert_same(together, source | renamed(target, "val", "_target"))


def _one_box(image):
    corner = 10 + 20 * image.mean()
    boxes = torch.stack([corner.new_tensor([5.0, 5.0, 30.0, 30.0]), corner.expand(4) * corner.new_tensor([1, 1, 2, 2])])
    return Detections(boxes, torch.tensor([0.9, 0.5]), torch.tensor([2, 2]))


@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_a_limit_counts_for_each_side(kind):
    method, data = make(kind)
    together = scores_of(method, data, limit_val_batches=1)
    source, target = (scores_of(method, side, limit_val_batches=1) for side in (data.source, data.target))
    assert_same(together, source | renamed(target, "val", "_target"))


@pytest.mark.parametrize("evaluate", [("target",), ("source",), ("target", "source")])
def test_the_sides_to_evaluate_are_an_argument(evaluate):
    method, data = make("classification", evaluate=evaluate)
    expected = {"source": scores_of(method, data.source)}
    expected["target"] = renamed(scores_of(method, data.target), "val", "_target")
    assert_same(scores_of(method, data), {key: value for side in evaluate for key, value in expected[side].items()})


def test_domains_of_each_side_are_named():
    data = two_digits()
    scores = scores_of(Classification(TinyNet()), data)
    assert {"val/accuracy_mnist", "val_target/accuracy_mnist_m"} <= scores.keys()
    assert "val_target/accuracy_mnist" not in scores


def spoil(data):
    convert = data.on_after_batch_transfer
    key = "frames" if "video" in type(data).__name__.lower() else "image"

    def spoiled(batch, dataloader_idx):
        batch = convert(batch, dataloader_idx)
        return batch | {key: batch[key] * torch.nan}

    data.on_after_batch_transfer = spoiled


@pytest.mark.parametrize("kind", ["classification", "segmentation", "clips"])
@pytest.mark.parametrize("side", ["source", "target"])
def test_nan_on_one_side_leaves_the_other(kind, side):
    method, data = make(kind)
    other = "target" if side == "source" else "source"
    expected = renamed(scores_of(method, getattr(data, other)), "val", "_target" if other == "target" else "")
    spoil(getattr(data, side))
    split = "val" if side == "source" else "val_target"
    with pytest.warns(UserWarning, match=rf"outputs for the {split} split contain \d+ NaN"):
        scores = scores_of(method, data)
    assert_same({key: scores[key] for key in expected}, expected)
    assert all(math.isnan(scores[key]) for key in scores.keys() - expected.keys())
    assert len(scores) == 2 * len(expected)
    if kind == "clips":  # what TradeoffReport writes is of the source
        assert all(math.isnan(score.average_miou) == (side == "source") for score in method.interval_scores)


def test_kept_scores_are_those_of_the_source():
    method, data = make("clips")
    scores_of(method, data.source)
    expected = method.interval_scores
    scores_of(method, data)
    assert method.interval_scores == expected
    assert len(expected) > 2


def without_labels(data):
    convert = data.on_after_batch_transfer

    def converted(batch, dataloader_idx):
        batch = convert(batch, dataloader_idx)
        if "mask" in batch:
            return batch | {"mask": torch.full_like(batch["mask"], 255)}
        none = {"boxes_xyxy": torch.zeros(0, 4), "label": torch.zeros(0, dtype=torch.long)}
        return batch | {key: [value] * len(batch["image"]) for key, value in none.items()}

    data.on_after_batch_transfer = converted
    return data


@pytest.mark.parametrize("kind", ["segmentation", "clips", "detection"])
def test_the_target_needs_no_labels(kind):
    method, data = make(kind)
    expected = scores_of(method, data.source)
    without_labels(data.target)
    assert_same(scores_of(method, data), expected)


@pytest.mark.parametrize("evaluate", [("source", "target"), ("target",)])
def test_what_is_evaluated_first_needs_labels(evaluate):
    method, data = make("segmentation", evaluate=evaluate)
    without_labels(data.source)
    without_labels(data.target)
    with pytest.raises(ValueError, match=f"of the {'val' if len(evaluate) > 1 else 'val_target'} split is labeled"):
        scores_of(method, data)


def test_a_fit_with_a_sanity_check_logs_both_sides(tmp_path):
    method, data = make("classification")
    keep = ModelCheckpoint(tmp_path, monitor="val_target/accuracy", mode="max")
    trainer = make_trainer(
        tmp_path, callbacks=[keep], enable_checkpointing=True, num_sanity_val_steps=1, limit_train_batches=2
    )
    trainer.fit(method, data)
    logged = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("val")}
    source, target = scores_of(method, data.source), scores_of(method, data.target)
    assert_same(logged, source | renamed(target, "val", "_target"))
    assert keep.best_model_path


def test_an_interrupted_evaluation_leaves_nothing():
    method, data = make("classification")
    expected, step = scores_of(method, data), method.validation_step

    def fails(batch, batch_idx, dataloader_idx=0):
        if dataloader_idx == 1:
            raise RuntimeError("power cut")
        return step(batch, batch_idx, dataloader_idx)

    method.validation_step = fails
    with pytest.raises(RuntimeError, match="power cut"):
        scores_of(method, data)
    method.validation_step = step
    assert_same(scores_of(method, data), expected)
    assert_same(scores_of(method, data.source), {key: expected[key] for key in expected if key.startswith("val/")})


def test_loaders_without_names_are_numbered():
    method, data = make("classification")
    data.prepare_data()
    data.setup("validate")

    def convert(loader):
        return [data.source.on_after_batch_transfer(batch, 0) for batch in loader]

    loaders = [DataLoader(convert(loader), batch_size=None) for loader in data.val_dataloader()]
    trainer = make_trainer(None)
    trainer.validate(method, loaders, verbose=False)
    scores = {key: float(value) for key, value in trainer.callback_metrics.items()}
    assert {"val/loss", "val_1/loss"} <= scores.keys()
    assert scores["val_1/loss"] == scores_of(method, data.target)["val/loss"]


def test_two_processes_score_both_sides():
    method, data = make("classification")
    expected = scores_of(method, data)
    scores = scores_of(method, data, strategy="ddp_fork", devices=2)
    assert scores.keys() == expected.keys()
    assert scores == pytest.approx(expected, rel=1e-6, nan_ok=True)
