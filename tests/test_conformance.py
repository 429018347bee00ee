"""Every method with every data module of its batch type."""

import inspect
from functools import partial

import pytest
import settings

import lightning_edge.data
import lightning_edge.methods
from lightning_edge.testing import DATA_CHECKS, METHOD_CHECKS, check_overfits_one_batch

PAIRS = [
    pytest.param(
        partial(make_method, make_data().num_classes), make_data, id=f"{method.__name__}-{data_module.__name__}"
    )
    for method, make_method in settings.METHODS.items()
    for data_module, make_data in settings.DATA_MODULES.items()
    if method.batch_type is data_module.batch_type
]


def concrete_classes(package):
    return {
        c
        for _, c in inspect.getmembers(package, inspect.isclass)
        if hasattr(c, "batch_type") and not inspect.isabstract(c)
    }


def test_every_method_and_data_module_is_enrolled():
    assert concrete_classes(lightning_edge.methods) == set(settings.METHODS)
    assert concrete_classes(lightning_edge.data) == set(settings.DATA_MODULES) | settings.PREDICTS_ONLY


def test_every_method_has_data():
    assert {pair.id.partition("-")[0] for pair in PAIRS} == {method.__name__ for method in settings.METHODS}


@pytest.mark.parametrize("make_data", settings.DATA_MODULES.values(), ids=lambda make: make.__name__)
@pytest.mark.parametrize("check", DATA_CHECKS, ids=lambda check: check.__name__)
def test_data_module(check, make_data):
    check(make_data)


@pytest.mark.parametrize(("make_method", "make_data"), PAIRS)
@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
def test_method(check, make_method, make_data):
    check(make_method, make_data)


@pytest.mark.slow
@pytest.mark.parametrize(("make_method", "make_data"), PAIRS)
def test_overfits_one_batch(make_method, make_data):
    check_overfits_one_batch(make_method, make_data)
