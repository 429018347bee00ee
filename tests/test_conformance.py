"""Every method with every data module of its batch type."""

import inspect
from functools import partial
from importlib import import_module
from pkgutil import walk_packages

import pytest
import settings
from lightning.pytorch import LightningDataModule

import lightning_edge.data
import lightning_edge.methods
from lightning_edge.methods import Method
from lightning_edge.testing import DATA_CHECKS, METHOD_CHECKS, check_overfits_one_batch

PAIRS = [
    pytest.param(
        partial(make_method, make_data().num_classes), make_data, id=f"{method.__name__}-{data_module.__name__}"
    )
    for method, make_method in settings.METHODS.items()
    for data_module, make_data in settings.DATA_MODULES.items()
    if method.batch_type is make_data().batch_type
]
VARIANTS = [
    pytest.param(
        partial(make_method, make_data().num_classes),
        make_data,
        id=make_method.__name__,
        marks=pytest.mark.slow if make_method is settings.make_two_stage_detection else (),
    )
    for method, makers in settings.VARIANTS.items()
    for make_method in makers
    for make_data in [next(m for m in settings.DATA_MODULES.values() if m().batch_type is method.batch_type)]
]


def concrete_classes(package, base):
    """All of them in all modules of a package, exported or not."""
    modules = [import_module(module.name) for module in walk_packages(package.__path__, f"{package.__name__}.")]
    classes = {c for module in [package, *modules] for _, c in inspect.getmembers(module, inspect.isclass)}
    ours = {c for c in classes if c.__module__.startswith(package.__name__) and issubclass(c, base)}
    return {c for c in ours if not inspect.isabstract(c)}


def test_every_method_and_data_module_is_enrolled():
    assert concrete_classes(lightning_edge.methods, Method) == set(settings.METHODS)
    data_modules = concrete_classes(lightning_edge.data, LightningDataModule)
    assert data_modules == set(settings.DATA_MODULES) | settings.PREDICTS_ONLY


def test_classes_that_a_package_does_not_export_are_found(tmp_path, monkeypatch):
    folder = tmp_path / "extra_data"
    (folder / "deeper").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "deeper" / "__init__.py").touch()
    (folder / "deeper" / "hidden.py").write_text(
        "from lightning_edge.data import CamVidDataModule, EdgeDataModule\n"
        "class Hidden(CamVidDataModule): ...\n"
        "class Abstract(EdgeDataModule): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    actual = concrete_classes(import_module("extra_data"), LightningDataModule)
    assert {c.__name__ for c in actual} == {"Hidden"}


def test_every_method_has_data():
    assert {pair.id.partition("-")[0] for pair in PAIRS} == {method.__name__ for method in settings.METHODS}


@pytest.mark.parametrize("make_data", settings.DATA_MODULES.values(), ids=lambda make: make.__name__)
@pytest.mark.parametrize("check", DATA_CHECKS, ids=lambda check: check.__name__)
def test_data_module(check, make_data):
    check(make_data)


@pytest.mark.parametrize(("make_method", "make_data"), PAIRS + VARIANTS)
@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
def test_method(check, make_method, make_data):
    check(make_method, make_data)


@pytest.mark.slow
@pytest.mark.parametrize(("make_method", "make_data"), PAIRS + VARIANTS)
def test_overfits_one_batch(make_method, make_data):
    check_overfits_one_batch(make_method, make_data)
