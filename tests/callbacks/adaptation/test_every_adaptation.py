"""What holds for every adaptation callback, found by reflection."""

import inspect
from functools import partial
from typing import NamedTuple

import pytest
import settings
import torch
from domain_pairs import digits, fit, relabeled, tiny_method, weights_of
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from toys import PlainBranch

from callbacks import adaptation
from lightning_edge.data import AdaptationDataModule
from lightning_edge.methods import Segmentation

OF_MAPS = (adaptation.AdaptSegNet, adaptation.ADVENT)
"""Callbacks for segmentation."""
OPTIONS = {"CDAN": {"num_products": 20}, "MeanTeacher": {"threshold": 0.05}}
"""Options with which a few steps matter: random products, and labels that are confident at once."""
CALLBACKS = [
    callback
    for name, callback in inspect.getmembers(adaptation, inspect.isclass)
    if issubclass(callback, adaptation.AdaptationLoss) and not inspect.isabstract(callback)
    if callback is not adaptation.PseudoBoxes  # which needs a detector
]
OPTIONS_OF_FIT = {"max_epochs": 2, "enable_checkpointing": True}


def make(callback, **options):
    torch.manual_seed(7)
    if callback.__name__ == "DeepJDOT":
        pytest.importorskip("ot")
    return callback(**OPTIONS.get(callback.__name__, {}) | options)


def make_data(callback, change=lambda data: data):
    make_source, make_target = partial(digits, "mnist"), partial(digits, "mnist_m")
    if callback in OF_MAPS:
        make_source = make_target = settings.make_camvid
    return AdaptationDataModule(make_source(), change(make_target()), batches_per_epoch=3)


def make_method(callback, seed=0):
    if callback not in OF_MAPS:
        return tiny_method(seed)
    seed_everything(seed, verbose=False)
    return Segmentation(TinySegmenter())


class TinySegmenter(PlainBranch):
    """Without batch statistics."""

    def __init__(self):
        super().__init__(4)
        self.num_classes = 11
        self.head = torch.nn.Conv2d(4, 11, 1)


class Run(NamedTuple):
    callback: adaptation.AdaptationLoss
    weights: dict
    nets: dict | None
    metrics: dict
    checkpoint: dict
    path: str


def nets_of(callback):
    state = callback.state_dict()
    return {key: value.clone() for key, value in state["nets"].items()} if state else None


@pytest.fixture(scope="module", params=CALLBACKS, ids=lambda callback: callback.__name__)
def run(request, tmp_path_factory):
    """Two epochs of three steps, and the checkpoint after the second step."""
    folder, callback, method = tmp_path_factory.mktemp("run"), make(request.param), make_method(request.param)
    keep = ModelCheckpoint(folder, save_top_k=-1, filename="{step}", every_n_train_steps=2)
    trainer = fit(method, make_data(request.param), callback, keep, **OPTIONS_OF_FIT)
    path = folder / "step=2.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
    assert not method.loss_terms
    return Run(callback, weights_of(method), nets_of(callback), metrics, checkpoint, path)


def test_all_callbacks_of_the_package_are_found():
    assert len(CALLBACKS) >= 15


def test_the_term_is_logged_finite_and_described(run):
    key = f"train/{run.callback.name}"
    assert key in run.metrics
    assert all(torch.tensor(value).isfinite() for value in run.metrics.values())
    assert f"``{key}``" in inspect.getdoc(type(run.callback))


def test_names_of_arguments_are_attributes(run):
    arguments = inspect.signature(type(run.callback)).parameters
    assert {"weight", "name"} <= set(arguments)
    for name in arguments:
        assert hasattr(run.callback, name)


def test_checkpoints_keep_the_nets_with_the_callback(run):
    assert set(run.checkpoint["state_dict"]) == set(run.weights) == set(make_method(type(run.callback)).state_dict())
    state = run.checkpoint["callbacks"].get(run.callback.state_key, {})
    assert set(state) == ({"nets"} if run.nets is not None else set())
    if run.nets is not None:
        assert set(state["nets"]) == set(run.nets)
        assert any(not torch.equal(state["nets"][name], value) for name, value in run.nets.items())


def test_a_resumed_run_equals_the_uninterrupted_one(run):
    kind = type(run.callback)
    callback, method = make(kind), make_method(kind, seed=5)  # whose weights must not matter
    torch.manual_seed(9)
    fit(method, make_data(kind), callback, ckpt_path=run.path, max_epochs=2)
    assert_equal(weights_of(method), run.weights)
    if run.nets is not None:
        assert_equal(nets_of(callback), run.nets)


def test_the_method_loads_without_the_callback(run):
    method = make_method(type(run.callback))
    loaded = type(method).load_from_checkpoint(run.path, net=method.net)
    assert_equal(loaded.state_dict(), run.checkpoint["state_dict"])


def test_labels_of_the_target_change_nothing(run):
    kind = type(run.callback)
    callback, method = make(kind), make_method(kind)
    fit(method, make_data(kind, relabeled), callback, max_epochs=2)
    assert_equal(weights_of(method), run.weights)


def test_the_term_changes_the_weights(run):
    method = make_method(type(run.callback))
    fit(method, make_data(type(run.callback)), max_epochs=2)
    assert any(not torch.equal(value, run.weights[name]) for name, value in weights_of(method).items())


LEARN_WITHOUT_WEIGHT = {adaptation.MCD, adaptation.ADDA}
"""The second classifier learns from the source too, and the stages stay."""


@pytest.mark.parametrize("callback", [callback for callback in CALLBACKS if callback not in LEARN_WITHOUT_WEIGHT])
def test_a_weight_of_zero_leaves_the_net_alone(callback):
    plain, method = make_method(callback), make_method(callback)
    fit(plain, make_data(callback), limit_train_batches=2)
    fit(method, make_data(callback), make(callback, weight=0.0), limit_train_batches=2)
    assert_equal(weights_of(method), weights_of(plain))


@pytest.mark.parametrize("callback", CALLBACKS)
def test_negative_weights_are_refused(callback):
    with pytest.raises(ValueError, match=r"expected weight of at least 0, got -1\.0"):
        callback(weight=-1.0)


def test_a_weight_that_is_nan_is_refused():
    with pytest.raises(ValueError, match="expected weight of at least 0, got nan"):
        adaptation.CORAL(weight=float("nan"))


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_target_labels_of_other_tasks_change_nothing():
    cases = {
        settings.make_camvid: settings.make_segmentation,
        settings.make_camvid_video: settings.make_deep_feature_flow,
        settings.make_bdd100k: settings.make_detection,
    }
    for make_one, make_method in cases.items():
        results = []
        for change in (lambda data: data, relabeled):
            data = AdaptationDataModule(make_one(), change(make_one()))
            torch.manual_seed(0)
            method = make_method(data.num_classes)
            callbacks = [adaptation.DANN(hidden_size=4), adaptation.CORAL(), adaptation.EntropyMinimization()]
            fit(method, data, *callbacks, limit_train_batches=2)
            results.append(weights_of(method))
        assert_equal(*results)
