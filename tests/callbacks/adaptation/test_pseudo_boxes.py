"""A teacher's detections as labels of the target."""

import copy
import inspect

import pytest
import torch
from adaptation_runs import Foreign, fit, make_classification, make_digits, make_traffic, same, weights
from domain_pairs import relabeled
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from settings import make_bdd100k, make_detection, make_two_stage_detection

from callbacks.adaptation import DANN, PseudoBoxes
from callbacks.adaptation.pseudo_boxes import labeled_batch
from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import DetectionBatch, Detections
from lightning_edge.data import AdaptationDataModule
from lightning_edge.nn.adaptation.appearance import RandomAppearance

AT_ONCE = {"start": 0.0, "threshold": 0.0102, "unsure": 0.01}
"""Options with which an untrained detector, whose scores are about 0.01, learns from some of its detections."""


def detection(seed=0):
    torch.manual_seed(seed)
    return make_detection(10)


class Watch(Callback):
    """Keeps what a run was in each step: target images, the module before it and its logged values."""

    def __init__(self):
        self.images, self.modules, self.values = [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.images.append(trainer.datamodule.target_batch["image"])
        self.modules.append(copy.deepcopy(pl_module.net))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append({key: float(value) for key, value in trainer.callback_metrics.items()})


def test_detections_become_labels_and_ignored_regions_by_their_scores():
    boxes = torch.tensor([[1.0, 2, 5, 9], [0, 0, 3, 3], [2, 2, 8, 4], [4, 4, 4, 7], [5, 5, 6, 6]])
    one = Detections(boxes, torch.tensor([0.9, 0.5, 0.3, 0.8, 0.05]), torch.tensor([3, 0, 1, 2, 4]))
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))
    batch = labeled_batch(torch.rand(2, 3, 8, 12), [one, none], threshold=0.5, unsure=0.1)
    check_batch(batch, DetectionBatch)
    assert batch["boxes_xyxy"][0].tolist() == [[1, 2, 5, 9], [0, 0, 3, 3]]  # the fourth has no area
    assert batch["label"][0].tolist() == [3, 0]
    assert batch["ignored_xyxy"][0].tolist() == [[2, 2, 8, 4]]
    assert batch["ignored_label"][0].tolist() == [1]
    assert [len(batch[key][1]) for key in ("boxes_xyxy", "label", "ignored_xyxy", "ignored_label")] == [0, 0, 0, 0]
    assert batch["original_size"].tolist() == [[8, 12], [8, 12]]


def test_the_term_is_the_loss_of_the_detector_on_the_boxes_of_the_teacher(tmp_path):
    unchanged = RandomAppearance(contrast=0, brightness=0, patch=0)
    watch = Watch()
    callback = PseudoBoxes(weight=0.5, appearance=unchanged, **AT_ONCE)
    fit(detection(), make_traffic(), tmp_path, watch, callback, limit_train_batches=1)
    (images,), (net,) = watch.images, watch.modules
    with torch.no_grad():
        detections = copy.deepcopy(net).train().detect(images)
    labeled = labeled_batch(images, detections, AT_ONCE["threshold"], AT_ONCE["unsure"])
    assert sum(map(len, labeled["label"])) > 0
    expected = 0.5 * sum(net.train().losses(labeled).values()).detach()
    assert watch.values[0]["train/pseudo_boxes"] == pytest.approx(float(expected), rel=1e-5)
    assert watch.values[0]["train/pseudo_boxes_per_image"] == sum(map(len, labeled["label"])) / 2


def test_the_detector_sees_changed_images_and_the_teacher_does_not(tmp_path):
    seen = []

    class Inverted(RandomAppearance):
        def forward(self, image, generator=None):
            seen.append(image)
            return 1 - image

    watch, method = Watch(), detection()
    learned, detected, losses, detect = [], [], method.net.losses, method.net.detect
    method.net.losses = lambda batch: (learned.append(batch["image"]), losses(batch))[1]
    method.net.detect = lambda image: (detected.append(image), detect(image))[1]
    callback = PseudoBoxes(appearance=Inverted(), **AT_ONCE)
    fit(method, make_traffic(), tmp_path, callback, watch, limit_train_batches=1)
    assert torch.equal(seen[0], watch.images[0])
    assert torch.equal(detected[0], watch.images[0])
    assert torch.equal(learned[1], 1 - watch.images[0])  # after the source batch


def test_the_teacher_is_the_net_until_the_start_and_then_its_running_mean(tmp_path):
    callback, watch, method = PseudoBoxes(**{**AT_ONCE, "start": 0.5}, decay=0.75), Watch(), detection()
    fit(method, make_traffic(), tmp_path, watch, callback, max_epochs=2)  # of two steps
    key = "heat.1.weight"
    after = [net.state_dict()[key] for net in watch.modules[1:]] + [method.net.state_dict()[key]]
    place = list(dict(method.named_parameters())).index(f"net.{key}")
    teacher = callback.nets.get_buffer(f"weight_{place}")
    mean = after[0].lerp(after[1], 1 / 3).lerp(after[2], 1 / 4).lerp(after[3], 1 / 4)
    torch.testing.assert_close(teacher, mean)


def test_the_teacher_averages_over_steps_and_not_over_accumulated_batches(tmp_path):
    callback, watch, method = PseudoBoxes(**AT_ONCE), Watch(), detection()
    fit(method, make_traffic(), tmp_path, watch, callback, accumulate_grad_batches=2)
    assert len(watch.modules) == 2
    key = "heat.1.weight"
    place = list(dict(method.named_parameters())).index(f"net.{key}")
    mean = watch.modules[0].state_dict()[key].lerp(method.net.state_dict()[key], 1 / 2)
    torch.testing.assert_close(callback.nets.get_buffer(f"weight_{place}"), mean)


def test_nothing_happens_before_the_start(tmp_path):
    alone, beside = detection(), detection()
    fit(alone, make_traffic(), tmp_path, limit_train_batches=2)
    watch = Watch()
    fit(beside, make_traffic(), tmp_path, PseudoBoxes(start=1.0), watch, limit_train_batches=2)
    assert same(alone.state_dict(), beside.state_dict())
    assert [values["train/pseudo_boxes"] for values in watch.values] == [0, 0]


def test_a_weight_of_0_trains_the_detector_as_without_it_and_another_weight_does_not(tmp_path):
    runs = {}
    for weight in (None, 0.0, 1.0):
        runs[weight] = detection()
        callbacks = [] if weight is None else [PseudoBoxes(weight=weight, **AT_ONCE)]
        fit(runs[weight], make_traffic(), tmp_path, *callbacks, limit_train_batches=2)
    assert same(weights(runs[None]), weights(runs[0.0]))
    assert not same(weights(runs[None]), weights(runs[1.0]))


def test_labels_of_the_target_change_nothing(tmp_path):
    plain, other = detection(), detection()
    fit(plain, make_traffic(), tmp_path, PseudoBoxes(**AT_ONCE))
    fit(other, AdaptationDataModule(make_bdd100k(), relabeled(make_bdd100k())), tmp_path, PseudoBoxes(**AT_ONCE))
    assert same(plain.state_dict(), other.state_dict())


def test_a_run_resumes(tmp_path):
    keep = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    whole, resumed = detection(), detection(seed=1)
    first, second = PseudoBoxes(**AT_ONCE), PseudoBoxes(**AT_ONCE)
    fit(whole, make_traffic(), tmp_path, first, keep, enable_checkpointing=True)
    fit(resumed, make_traffic(), tmp_path, second, ckpt_path=str(tmp_path / "step=1.ckpt"))
    assert same(whole.state_dict(), resumed.state_dict())
    assert same(first.nets.state_dict(), second.nets.state_dict())


def test_detectors_of_two_stages_learn_too_and_remain_in_training_mode(tmp_path):
    torch.manual_seed(0)
    method, watch = make_two_stage_detection(10), Watch()
    modes = []
    method.on_after_backward = lambda: modes.append({part.training for part in method.net.modules()})
    callback = PseudoBoxes(threshold=0.06, unsure=0.06, start=0.0)
    fit(method, make_traffic(), tmp_path, callback, watch, limit_train_batches=1)
    assert watch.values[0]["train/pseudo_boxes"] > 0
    assert modes == [{True}]


def test_another_callback_sees_the_same_source_and_target_beside_it(tmp_path):
    values = []
    for callbacks in ([], [PseudoBoxes(**AT_ONCE)]):
        watch = Watch()
        method = detection()
        torch.manual_seed(1)
        dann = DANN(layer="net.heat.0.0", hidden_size=4)
        fit(method, make_traffic(), tmp_path, *callbacks, dann, watch, limit_train_batches=1)
        values.append(watch.values[0]["train/dann"])
    assert values[0] == values[1]


def test_its_keys_are_described():
    for key in ("train/pseudo_boxes", "train/pseudo_boxes_per_image"):
        assert f"``{key}``" in inspect.getdoc(PseudoBoxes)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match=r"expected threshold within \[0, 1\], got 1\.5"):
        PseudoBoxes(threshold=1.5)
    with pytest.raises(ValueError, match=r"expected start within \[0, 1\], got nan"):
        PseudoBoxes(start=float("nan"))
    with pytest.raises(ValueError, match=r"expected unsure of at most threshold \(0\.3\), got 0\.4"):
        PseudoBoxes(threshold=0.3, unsure=0.4)
    with pytest.raises(ValueError, match=r"expected a module with a detector, .* got Classification"):
        fit(make_classification(), make_digits(1), tmp_path, PseudoBoxes())
    with pytest.raises(ValueError, match=r"expected a module with a detector, .* got Foreign"):
        fit(Foreign(), make_digits(1), tmp_path, PseudoBoxes())
    method = detection()
    method.forward = lambda images: images
    with pytest.raises(ValueError, match=r"expected forward of Detection to return a list of Detections, got Tensor"):
        fit(method, make_traffic(), tmp_path, PseudoBoxes(**AT_ONCE))
