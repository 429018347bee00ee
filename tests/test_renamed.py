"""Old names of public classes are found, with a warning, wherever a user has them."""

import importlib

import pytest

from lightning_edge.data import OneHotEmbedding
from lightning_edge.model_description import check_description

OLD = {
    "lightning_edge.data": {
        "AtRandom": "RandomEmbedding",
        "Estimated": "EstimatedEmbedding",
        "ImageFeatures": "ImageFeatureEmbedding",
        "MeanFeatures": "MeanFeatureEmbedding",
        "OneHot": "OneHotEmbedding",
        "Shuffled": "ShuffledEmbedding",
    },
    "lightning_edge.nn": {"specialise": "specialize"},
    "callbacks": {"PredictionTable": "PredictionWriter"},
}
CASES = [(module, old, new) for module, names in OLD.items() for old, new in names.items()]


@pytest.mark.parametrize(("module", "old", "new"), CASES)
def test_an_old_name_is_the_new_class_with_a_warning(module, old, new):
    loaded = importlib.import_module(module)
    with pytest.warns(FutureWarning, match=f"{module}.{old} is now called {new}"):
        assert getattr(loaded, old) is getattr(loaded, new)


@pytest.mark.parametrize("module", OLD)
def test_a_name_that_never_was_is_refused(module):
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'Nothing'"):
        importlib.import_module(module).Nothing  # noqa: B018


def test_a_configuration_with_an_old_name_is_understood(monkeypatch, tmp_path):
    from recipes import ddn

    monkeypatch.chdir(tmp_path)
    small = ["--data.sample_size=[64,96]", "--data.num_sample_train=2", "--data.num_sample_val=1"]
    with pytest.warns(FutureWarning, match="lightning_edge.data.OneHot is now called OneHotEmbedding"):
        data = ddn.main(["domains", *small, "--data.embedding=lightning_edge.data.OneHot"]).datamodule
    assert type(data.embedding) is OneHotEmbedding


def test_a_checkpoint_with_an_old_name_is_checked_like_one_with_the_new():
    with pytest.warns(FutureWarning):
        check_description({"class_path": "lightning_edge.data.OneHot", "init_args": {}}, "a checkpoint", set())
