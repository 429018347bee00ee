"""Nets that a callback owns: where they are saved, and when they are parts of the module."""

import copy

import cv2
import numpy as np
import pytest
import torch
from domain_pairs import digits, fit, tiny_method, two_digits, weights_of
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint
from toys import make_trainer

from callbacks.adaptation import CDAN, DANN, MCD, MeanTeacher
from lightning_edge.data import FramesDataModule
from lightning_edge.methods import Classification
from lightning_edge.nn import TimmClassifier


def make(callback=DANN, **options):
    torch.manual_seed(3)
    return callback(**({} if callback is MCD else {"hidden_size": 8}) | options)


def nets_of(callback):
    return {name: value.clone() for name, value in callback.nets.state_dict().items()}


def children(module):
    return {name for name, _ in module.named_children() if name.startswith("adaptation_")}


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


class Stops(Callback):
    """Raises an error at a step of a fit."""

    def __init__(self, error, step=2):
        self.error, self.step = error, step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            raise self.error


@pytest.mark.parametrize("save_weights_only", [False, True])
def test_the_weights_of_a_checkpoint_have_no_nets(save_weights_only, tmp_path):
    keep = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=2, save_weights_only=save_weights_only)
    method = tiny_method()
    fit(method, two_digits(batches_per_epoch=2), make(), make(MCD), keep, enable_checkpointing=True)
    checkpoint = torch.load(tmp_path / "step=2.ckpt", weights_only=True)
    assert set(checkpoint["state_dict"]) == set(tiny_method().state_dict())
    loaded = Classification.load_from_checkpoint(tmp_path / "step=2.ckpt", net=tiny_method().net)
    assert_equal(loaded.state_dict(), method.state_dict())


def test_nets_are_parts_of_the_module_during_a_fit_only():
    class Looks(Callback):
        def on_train_start(self, trainer, pl_module):
            self.during = children(pl_module), set(pl_module.state_dict()), set(dict(pl_module.named_parameters()))

    looks, method = Looks(), tiny_method()
    fit(method, two_digits(batches_per_epoch=2), make(), make(MCD), looks)
    names, saved, parameters = looks.during
    assert names == {"adaptation_dann", "adaptation_mcd"}
    assert not any(name.startswith("adaptation") for name in saved)
    assert {name.split(".")[0] for name in parameters} == names | {"net"}
    assert not children(method)
    assert not method._state_dict_hooks
    assert not method._load_state_dict_pre_hooks
    assert not method.loss_terms


INTERRUPTIONS = [(RuntimeError("power cut"), RuntimeError), (KeyboardInterrupt(), SystemExit)]


@pytest.mark.parametrize(("error", "raised"), INTERRUPTIONS)
def test_nothing_is_left_after_an_interrupted_fit(error, raised, tmp_path):
    method, callback = tiny_method(), make(CDAN, num_products=20)
    with pytest.raises(raised):
        fit(method, two_digits(batches_per_epoch=4), callback, Stops(error))
    assert not children(method)
    assert not method.loss_terms
    assert not method._state_dict_hooks
    assert all(not module._forward_hooks for module in method.modules())
    assert callback._domains is None
    weights = weights_of(method)
    fit(method, two_digits(batches_per_epoch=4), callback)  # again, with the same nets
    assert any(not torch.equal(value, weights[name]) for name, value in weights_of(method).items())
    assert not children(method)


def test_an_error_in_the_setup_of_another_callback_leaves_nothing():
    class Fails(Callback):
        def setup(self, trainer, pl_module, stage):
            raise RuntimeError("no setup")

    method = tiny_method()
    with pytest.raises(RuntimeError, match="no setup"):
        fit(method, two_digits(), make(), Fails())
    assert not children(method)
    assert not method.loss_terms


@pytest.mark.parametrize("callback", [DANN, CDAN, MCD])
def test_an_interrupted_run_resumes_from_the_checkpoint_of_its_error(callback, tmp_path):
    options = {"num_products": 20} if callback is CDAN else {}
    whole, method = make(callback, **options), tiny_method()
    fit(method, two_digits(batches_per_epoch=3), whole, max_epochs=2)
    cut = make(callback, **options)
    saves = OnExceptionCheckpoint(tmp_path, "cut")
    with pytest.raises(RuntimeError, match="power cut"):
        fit(
            tiny_method(),
            two_digits(batches_per_epoch=3),
            Stops(RuntimeError("power cut"), 4),
            cut,
            saves,
            max_epochs=2,
            enable_checkpointing=True,
        )
    torch.manual_seed(11)
    resumed, again = callback(**{} if callback is MCD else {"hidden_size": 8}, **options), tiny_method(seed=4)
    fit(again, two_digits(batches_per_epoch=3), resumed, ckpt_path=tmp_path / "cut.ckpt", max_epochs=2)
    assert_equal(weights_of(again), weights_of(method))
    assert_equal(nets_of(resumed), nets_of(whole))


def test_random_matrices_stay():
    callback, method = make(CDAN, num_products=20), tiny_method()
    fit(method, two_digits(batches_per_epoch=1), callback)
    matrices = {name: value.clone() for name, value in callback.nets.named_buffers()}
    assert {name: tuple(value.shape) for name, value in matrices.items()} == {
        "feature_matrix": (8, 20),
        "class_matrix": (10, 20),
    }
    fit(method, two_digits(batches_per_epoch=1), callback)
    assert_equal(dict(callback.nets.named_buffers()), matrices)
    exact = make(CDAN, num_products=80)
    fit(method, two_digits(batches_per_epoch=1), exact)
    assert not dict(exact.nets.named_buffers())


def test_gradients_between_steps_are_saved_with_those_of_the_nets(tmp_path):
    """Of a checkpoint between two optimizer steps."""
    options = {"max_epochs": 1, "accumulate_grad_batches": 2}
    whole, method = make(), tiny_method()
    fit(method, two_digits(batches_per_epoch=4), whole, **options)
    keep = ModelCheckpoint(tmp_path, filename="cut", every_n_train_steps=1)

    class Saves(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if batch_idx == 2:
                trainer.save_checkpoint(tmp_path / "between.ckpt")

    cut, other = make(), tiny_method()
    fit(other, two_digits(batches_per_epoch=4), cut, Saves(), keep, enable_checkpointing=True, **options)
    resumed, again = make(), tiny_method(seed=4)
    fit(again, two_digits(batches_per_epoch=4), resumed, ckpt_path=tmp_path / "between.ckpt", **options)
    assert_equal(weights_of(again), weights_of(method))
    assert_equal(nets_of(resumed), nets_of(whole))


def test_other_stages_work_with_the_callback(tmp_path):
    callback, method = make(), tiny_method()
    data = two_digits(batches_per_epoch=2)
    trainer = make_trainer(None, callbacks=[callback])
    trainer.validate(method, data, verbose=False)
    assert not children(method)
    trainer.fit(method, data)
    after = weights_of(method)
    trainer.test(method, data, verbose=False)
    trainer.validate(method, digits("mnist"), verbose=False)
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((32, 32, 3), np.uint8))
    predictions = trainer.predict(method, FramesDataModule(tmp_path, num_workers=0))
    assert len(predictions) == 1
    assert_equal(weights_of(method), after)


def test_a_checkpoint_is_tested_with_a_new_callback(tmp_path):
    keep = ModelCheckpoint(tmp_path, filename="last", every_n_train_steps=2)
    method, data = tiny_method(), two_digits(batches_per_epoch=2)
    fit(method, data, make(), keep, enable_checkpointing=True)
    trainer = make_trainer(None, callbacks=[make()])
    trainer.test(tiny_method(seed=4), data, ckpt_path=tmp_path / "last.ckpt", verbose=False, weights_only=True)
    expected = make_trainer(None)
    expected.test(method, data, verbose=False)
    assert trainer.callback_metrics["test/loss"] == expected.callback_metrics["test/loss"]


def test_a_second_fit_trains_the_same_nets_further():
    callback, method = make(), tiny_method()
    fit(method, two_digits(batches_per_epoch=2), callback)
    nets, first = callback.nets, nets_of(callback)
    fit(method, two_digits(batches_per_epoch=2), callback)
    assert callback.nets is nets
    assert any(not torch.equal(value, first[name]) for name, value in nets_of(callback).items())


def test_a_fit_of_another_net_makes_new_nets():
    callback = make()
    fit(tiny_method(), two_digits(batches_per_epoch=1), callback)
    assert callback.nets[0].in_features == 8
    torch.manual_seed(0)
    method = Classification(TimmClassifier("test_resnet", 10))
    fit(method, two_digits(batches_per_epoch=1), callback)
    assert callback.nets[0].in_features == method.net.net.fc.in_features != 8


def test_a_teacher_is_of_the_module_that_is_trained():
    callback = MeanTeacher()
    for seed in (0, 1):
        method = tiny_method(seed)
        start = list(weights_of(method).values())
        fit(method, two_digits(batches_per_epoch=1), callback)
        learned = list(weights_of(method).values())
        for teacher, old, new in zip(list(callback.nets.buffers())[:-1], start, learned, strict=True):
            torch.testing.assert_close(teacher, (old + new) / 2)


def test_a_module_can_be_copied_during_a_fit():
    class Copies(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.copy = copy.deepcopy(pl_module.net)

    copies = Copies()
    fit(tiny_method(), two_digits(batches_per_epoch=2), make(), copies)
    assert copies.copy(torch.rand(2, 3, 32, 32)).shape == (2, 10)
