"""What every method with labels refuses before training, and what it makes of NaN and of data without a label."""

import math

import pytest
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader
from toys import NUM_CLASSES, PlainBranch, make_trainer

from callbacks import DomainTable
from lightning_edge.contracts import Detections
from lightning_edge.methods import Accel, Classification, Detection, Segmentation
from lightning_edge.metrics.average_precision import ScoredImage, average_precision
from lightning_edge.nn import AccelNet

SIZES = (3, 2, 1)


class FindsCorners(nn.Module):
    """Finds a box in the corner of each image."""

    num_classes = NUM_CLASSES

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def losses(self, batch):
        return {"nothing": 0 * self.factor}

    def detect(self, image):
        box, label = torch.tensor([[0.0, 0, 20, 20]]), torch.tensor([0])
        return [Detections(self.factor * box, self.factor.clamp(max=0.5)[None], label) for _ in image]


class Linear(nn.Sequential):
    num_classes = NUM_CLASSES

    def __init__(self):
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, NUM_CLASSES))


def make_accel():
    return Accel(AccelNet(PlainBranch(8), PlainBranch(4)), interval=2, max_interval=2)


METHODS = {
    "classification": lambda: Classification(Linear()),
    "segmentation": lambda: Segmentation(PlainBranch(8)),
    "accel": make_accel,
    "detection": lambda: Detection(FindsCorners()),
}
MAIN_SCORES = {"classification": "accuracy", "segmentation": "miou", "accel": "miou", "detection": "ap50"}
every_method = pytest.mark.parametrize("name", METHODS)


def make_batch(name, size):
    image = torch.rand(size, 3, 32, 48)
    if name == "classification":
        return {"image": image, "label": torch.randint(0, NUM_CLASSES, (size,))}
    if name == "detection":
        return {
            "image": image,
            "boxes_xyxy": [torch.tensor([[0.0, 0, 20, 20]])] * size,
            "label": [torch.tensor([0])] * size,
            "ignored_xyxy": [torch.tensor([[20.0, 0, 40, 20]])] * size,
            "ignored_label": [torch.tensor([0])] * size,
            "scale": torch.ones(size),
            "original_size": torch.tensor([[32, 48]] * size),
            "image_id": torch.randint(0, 1_000_000, (size,)),
        }
    frames = torch.rand(size, 2, 3, 32, 48)
    images = {"image": image} if name == "segmentation" else {"frames": frames}
    return images | {"mask": torch.randint(0, NUM_CLASSES, (size, 32, 48))}


def without_labels(name, batch):
    if name == "detection":
        none = [torch.zeros(0, dtype=torch.long)] * len(batch["label"])
        return batch | {"boxes_xyxy": [torch.zeros(0, 4)] * len(none), "label": none}
    return batch | {"mask": torch.full_like(batch["mask"], 255)}


class Data(LightningDataModule):
    """Batches that differ in size."""

    num_classes = NUM_CLASSES

    def __init__(self, name, num_unlabeled=0, **about):
        super().__init__()
        torch.manual_seed(0)
        self.batches = [make_batch(name, size) for size in SIZES]
        self.evaluated = [
            without_labels(name, batch) if number < num_unlabeled else batch
            for number, batch in enumerate(self.batches)
        ]
        for key, value in about.items():
            setattr(self, key, value)

    def train_dataloader(self):
        return DataLoader(self.batches, batch_size=None)

    def val_dataloader(self):
        return DataLoader(self.evaluated, batch_size=None)

    test_dataloader = val_dataloader


def evaluate(name, folder, stage="val", method=None, **about):
    trainer = make_trainer(folder)
    run = trainer.validate if stage == "val" else trainer.test
    run(METHODS[name]() if method is None else method, Data(name, **about), verbose=False)
    return {key: float(value) for key, value in trainer.callback_metrics.items()}


SAME_KEY = [("a", "b", "a", "c", "d"), ("a", "traffic-light", "b", "traffic light", "c"), ("a", "b ", "c", "d", " b")]


@every_method
@pytest.mark.parametrize("names", SAME_KEY)
def test_classes_that_would_share_a_key_are_refused(names, name, tmp_path):
    with pytest.raises(ValueError, match=r"the name of each class to differ .* got \[.*\]: rename one of them"):
        evaluate(name, tmp_path, class_names=names)


@every_method
def test_domains_that_would_share_a_key_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"each domain to differ .* got \['dawn/dusk', 'dawn dusk'\]"):
        evaluate(name, tmp_path, domain_names=("dawn/dusk", "night", "dawn dusk"))


@every_method
@pytest.mark.parametrize("names", [("a", "b"), tuple("abcdef")])
def test_as_many_names_as_classes_are_wanted(names, name, tmp_path):
    with pytest.raises(ValueError, match=rf"with a name for each class \(5\), got {len(names)}: \['a', 'b'"):
        evaluate(name, tmp_path, class_names=names)


@every_method
def test_a_name_without_letters_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"name of each class to have a letter or a digit, got '\?'"):
        evaluate(name, tmp_path, class_names=("a", "b", "?", "c", "d"))


@pytest.mark.parametrize("names", [("small", "medium", "large", "b", "c"), ("Straße", "車", "人", "тень", "d")])
def test_each_class_has_a_score_beside_those_of_the_sizes(names, tmp_path):
    scores = evaluate("detection", tmp_path, class_names=names)
    plain = evaluate("detection", tmp_path, class_names=tuple("abcde"))
    del plain["val/ap_a"]
    own = scores.keys() - plain.keys()
    assert own == {"val/ap_small_class" if names[0] == "small" else "val/ap_Straße"}
    assert {key: scores[key] for key in plain} == plain


def test_a_class_is_taken_for_no_size():
    """What is called small is large, and missed."""
    boxes, labels = torch.tensor([[0.0, 0, 10, 10], [50, 50, 250, 250]]), torch.tensor([1, 0])
    actual = Detections(boxes[:1], torch.tensor([0.9]), labels[:1])
    scores = average_precision([ScoredImage(0, 0, actual, boxes, labels, torch.tensor([0, 0]))], ["small", "large"])
    assert scores["ap_small"] == 1
    assert scores["ap_large"] == 0
    assert scores["ap_small_class"] == 0
    assert scores["ap_large_class"] == 1


def test_a_class_is_taken_for_no_domain(tmp_path):
    data = Data("detection", class_names=("night", "rainy night", "a", "b", "c"), domain_names=("night", "day"))
    for number, batch in enumerate(data.evaluated):
        batch["domain"] = torch.full((SIZES[number],), number % 2)
        batch["label"] = [torch.tensor([number % 2])] * SIZES[number]  # the first class is found, the second is not
    trainer = make_trainer(tmp_path, callbacks=[DomainTable()])
    trainer.validate(METHODS["detection"](), data, verbose=False)
    assert trainer.callback_metrics["val/ap_night"] > 0
    rows = (tmp_path / "domains_val.csv").read_text().splitlines()[1:]
    assert [row.rpartition(",")[0] for row in rows] == ["0,0,ap50,night", "0,0,ap50,day"]


@every_method
def test_a_slash_in_the_name_of_a_class_parts_no_key(name, tmp_path):
    scores = evaluate(name, tmp_path, class_names=("road/lane", "a", "b", "c", "d"))
    assert all(key.count("/") == 1 for key in scores)


@every_method
@pytest.mark.parametrize("stage", ["val", "test"])
def test_scores_are_nan_where_an_output_is(stage, name, tmp_path):
    method = METHODS[name]()
    with torch.no_grad():
        next(iter(method.net.parameters()))[...] = torch.nan
    with pytest.warns(UserWarning, match=rf"outputs for the {stage} split contain \d+ NaN"):
        scores = evaluate(name, tmp_path, stage, method)
    assert f"{stage}/{MAIN_SCORES[name]}" in scores
    assert all(math.isnan(value) for value in scores.values())
    kept = getattr(method, "interval_scores", [])  # what TradeoffReport writes
    assert bool(kept) == (name == "accel")
    assert all(math.isnan(value) for score in kept for value in (score.average_miou, score.worst_miou))


@pytest.mark.parametrize("part", ["boxes_xyxy", "score"])
def test_scores_are_nan_where_any_part_of_a_detection_is(part, tmp_path):
    method = METHODS["detection"]()
    detect = method.net.detect
    method.net.detect = lambda image: [one._replace(**{part: getattr(one, part) * torch.nan}) for one in detect(image)]
    with pytest.warns(UserWarning, match="outputs for the val split contain"):
        scores = evaluate("detection", tmp_path, method=method)
    assert all(math.isnan(value) for value in scores.values())


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_one_batch_of_nan_makes_a_loss_of_nan(bad, tmp_path):
    method, data = Classification(Linear()), Data("classification")
    data.batches[bad]["image"][0, 0] = torch.nan
    trainer = make_trainer(tmp_path)
    trainer.validate(method, data, verbose=False)
    assert trainer.callback_metrics["val/loss"].isnan()


def test_a_loss_is_nan_by_itself(tmp_path):
    """An infinite logit of the true class is no NaN, but the loss is."""
    method, data = Classification(Linear()), Data("classification")
    data.batches[1]["image"][:] = torch.inf
    with torch.no_grad():
        method.net[-1].weight[...] = 1
    trainer = make_trainer(tmp_path)
    trainer.test(method, data, verbose=False)
    assert trainer.callback_metrics["test/loss"].isnan()
    assert not trainer.callback_metrics["test/accuracy"].isnan()


LABELED_APART = [name for name in METHODS if name != "classification"]
of_parts = pytest.mark.parametrize("name", LABELED_APART)


@of_parts
@pytest.mark.parametrize("stage", ["val", "test"])
def test_data_without_a_label_are_refused(stage, name, tmp_path):
    thing = "object" if name == "detection" else "pixel"
    with pytest.raises(ValueError, match=f"No {thing} of the {stage} split is labeled, so there is no score"):
        evaluate(name, tmp_path, stage, num_unlabeled=len(SIZES))


@of_parts
def test_a_label_in_the_last_batch_is_enough(name, tmp_path):
    assert evaluate(name, tmp_path, num_unlabeled=len(SIZES) - 1)[f"val/{MAIN_SCORES[name]}"] >= 0


def fit(name, folder, data, **arguments):
    keep = ModelCheckpoint(folder, monitor=f"val/{MAIN_SCORES[name]}", mode="max")
    trainer = make_trainer(folder, callbacks=[keep], enable_checkpointing=True, **arguments)
    trainer.fit(METHODS[name](), data)
    return trainer


@of_parts
def test_a_sanity_check_of_all_data_refuses_them_before_training(name, tmp_path):
    data, method = Data(name, num_unlabeled=len(SIZES)), METHODS[name]()
    method.training_step = lambda *arguments: pytest.fail("expected no training")
    with pytest.raises(ValueError, match="of the val split is labeled"):
        make_trainer(tmp_path, num_sanity_val_steps=-1).fit(method, data)


@of_parts
def test_a_sanity_check_of_some_data_warns_and_the_first_validation_refuses(name, tmp_path):
    data = Data(name, num_unlabeled=len(SIZES))
    with (
        pytest.warns(UserWarning, match="of the first batches of the val split is labeled"),
        pytest.raises(ValueError, match="of the val split is labeled"),
    ):
        fit(name, tmp_path, data, num_sanity_val_steps=1, max_epochs=3)
    trainer = fit(name, tmp_path, Data(name, num_unlabeled=2), num_sanity_val_steps=1)
    assert trainer.callback_metrics[f"val/{MAIN_SCORES[name]}"] >= 0


@every_method
@pytest.mark.parametrize("sanity", [0, 2])
def test_validation_data_without_a_batch_are_refused_before_training(sanity, name, tmp_path):
    data = Data(name)
    data.evaluated = []
    method = METHODS[name]()
    method.training_step = lambda *arguments: pytest.fail("expected no training")
    with pytest.raises(ValueError, match="The validation data are empty"):
        make_trainer(tmp_path, num_sanity_val_steps=sanity).fit(method, data)


@every_method
def test_training_without_validation_is_no_fault(name, tmp_path):
    data = Data(name)
    data.evaluated = []
    make_trainer(tmp_path, limit_val_batches=0).fit(METHODS[name](), data)


def test_a_trial_of_one_batch_may_be_without_labels(tmp_path):
    trainer = make_trainer(tmp_path, fast_dev_run=True)
    with pytest.warns(UserWarning, match="is labeled"):
        trainer.fit(METHODS["segmentation"](), Data("segmentation", num_unlabeled=1))


@pytest.mark.parametrize(("num_unlabeled", "is_refused"), [(2, False), (3, True)])
def test_processes_look_for_labels_together(num_unlabeled, is_refused, tmp_path):
    """Of two processes, one has no label in either case."""
    data = Data("detection", num_unlabeled)
    trainer = make_trainer(tmp_path, strategy="ddp_fork", devices=2, use_distributed_sampler=True)
    if is_refused:
        with pytest.raises(Exception, match="of the val split is labeled"):
            trainer.validate(METHODS["detection"](), data, verbose=False)
    else:
        trainer.validate(METHODS["detection"](), data, verbose=False)
        assert "val/ap50" in trainer.callback_metrics
