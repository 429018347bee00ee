"""The public checks refuse what breaks their promise."""

import ast
import inspect
from functools import partial

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch.optim import SGD
from torch.utils.data import DataLoader
from toys import NUM_CLASSES, PlainBranch, ToyClips

from lightning_edge import testing
from lightning_edge.contracts import SegmentationBatch
from lightning_edge.methods import Accel, Segmentation
from lightning_edge.nn import AccelNet, FlowNetS


class ToyImages(LightningDataModule):
    """Ready only after ``prepare_data``; evaluates on two sets."""

    batch_type = SegmentationBatch
    num_classes, class_names = NUM_CLASSES, tuple("abcde")
    last_label = NUM_CLASSES - 1

    def prepare_data(self):
        self.items = [{"image": torch.rand(3, 32, 48), "mask": torch.zeros(32, 48).long()} for _ in range(4)]
        self.items[-1]["mask"][5, 7] = self.last_label

    def train_dataloader(self):
        return DataLoader(self.items, batch_size=2)

    def val_dataloader(self):
        return [self.train_dataloader(), self.train_dataloader()]

    test_dataloader = train_dataloader


class OnTwoSets(Segmentation):
    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        super().validation_step(batch, batch_idx)


class ForgetsAllButHeads(Accel):
    def parameter_groups(self):
        return [{"params": [parameter for name, parameter in self.named_parameters() if "head" in name]}]


class ForgetsWhatCallbacksRegister(Accel):
    def parameter_groups(self):
        return [{"params": list(self.net.parameters())}]


class DropsGradients(Accel):
    def on_before_optimizer_step(self, optimizer):
        for parameter in self.parameters():
            parameter.grad = None


class LeavesHeadToDecay(OnTwoSets):
    def on_before_optimizer_step(self, optimizer):
        self.net.head.weight.grad.zero_()


class IgnoresTerms(OnTwoSets):
    def training_step(self, batch, batch_idx):
        return self.loss(batch)


def make_clips():
    return ToyClips(batch_size=4, num_workers=0)


def make_accel(method, **arguments):
    net = AccelNet(PlainBranch(4), PlainBranch(4), FlowNetS(width=0.125))
    return method(net, branch_stage_fraction=0.5, interval=2, max_interval=3, **arguments)


LEARNING_CHECKS = [testing.check_every_parameter_learns, testing.check_loss_terms_reach_the_optimizer]
MOVE_TERM = "expected an optimizer to move the term's parameter downhill from 0, got 0"


@pytest.mark.parametrize("check", LEARNING_CHECKS)
@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, partial(SGD, lr=1e-4)])
def test_a_method_of_two_stages_learns(check, optimizer):
    check(partial(make_accel, Accel, optimizer=optimizer), make_clips)


@pytest.mark.parametrize(
    ("method", "check", "message"),
    [
        (ForgetsAllButHeads, LEARNING_CHECKS[0], r"in an optimizer that steps, got none for \['net.reference.encoder"),
        (ForgetsAllButHeads, LEARNING_CHECKS[1], MOVE_TERM),
        (ForgetsWhatCallbacksRegister, LEARNING_CHECKS[1], MOVE_TERM),
        (DropsGradients, LEARNING_CHECKS[0], r"on every trainable parameter, got none on \['net.reference"),
        (DropsGradients, LEARNING_CHECKS[1], MOVE_TERM),
    ],
)
def test_learning_that_does_not_arrive_is_noticed(method, check, message):
    with pytest.raises(AssertionError, match=message):
        check(partial(make_accel, method), make_clips)


def test_weight_decay_is_no_learning():
    with pytest.raises(AssertionError, match=r"got none on \['net.head.weight'\]"):
        testing.check_every_parameter_learns(lambda: LeavesHeadToDecay(PlainBranch(4)), ToyImages)


def test_terms_left_out_are_noticed():
    with pytest.raises(AssertionError, match=r"the term's gradient \(2\) in each of 4 batches, got \[\]"):
        testing.check_loss_terms_reach_the_optimizer(lambda: IgnoresTerms(PlainBranch(4)), ToyImages)


@pytest.mark.parametrize("check", [testing.check_fits_and_tests, testing.check_checkpoint_restores_outputs])
def test_methods_may_be_evaluated_on_several_sets(check):
    check(lambda: OnTwoSets(PlainBranch(4)), ToyImages)


def data_module(**members):
    return type("Data", (ToyImages,), members)


@pytest.mark.parametrize(
    "data", [ToyImages, data_module(last_label=255), data_module(last_label=-100, ignore_index=-100)]
)
def test_prepared_data_of_several_sets_pass(data):
    testing.check_batches(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            data_module(last_label=NUM_CLASSES),
            r"batch 1 of train_dataloader: expected mask within \[0, .*\(5\).*got \[5\]",
        ),
        (data_module(last_label=255, ignore_index=-100), r"or ignore_index \(-100\), got \[255\]"),
        (data_module(train_dataloader=lambda data: []), "expected batches of train_dataloader, got none"),
        (data_module(batch_type=ToyClips.batch_type), "batch 0 of train_dataloader: expected the keys of ClipBatch"),
        (data_module(num_classes=4), "expected 4 class_names"),
        (data_module(class_names=None), "expected num_classes and class_names or neither"),
    ],
)
def test_data_that_break_a_promise_are_noticed(data, message):
    with pytest.raises(AssertionError, match=message):
        testing.check_batches(data)


def test_endless_loaders_are_looked_at_for_a_while(monkeypatch):
    monkeypatch.setattr(testing, "MAX_BATCHES", 3)
    batch = {"image": torch.rand(1, 3, 8, 8), "mask": torch.zeros(1, 8, 8).long()}
    testing.check_batches(data_module(train_dataloader=lambda data: iter(lambda: batch, None)))


def test_checks_hold_without_the_assert_statement():
    tree = ast.parse(inspect.getsource(testing))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
