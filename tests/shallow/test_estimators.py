"""What all estimators share: scikit-learn's conventions, clear errors, and the use of the target."""

import re

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from two_domains import two_domains

from lightning_edge import shallow

ALIGNED = (
    shallow.CorrelationAlignment,
    shallow.GeodesicFlowKernel,
    shallow.JointDistributionAdaptation,
    shallow.SampledGeodesicFlow,
    shallow.SubspaceAlignment,
    shallow.TransferComponentAnalysis,
    shallow.TransferJointMatching,
)
REWEIGHTED = (shallow.KLIEP, shallow.KernelMeanMatching, shallow.ULSIF)
CHEAP = {shallow.KLIEP: {"bandwidths": (1.0, 3.0), "n_folds": 2}, shallow.ULSIF: {"bandwidths": (1.0, 3.0)}}
"""Fewer choices, so that the many fits of the checks take little time."""

REFUSED_IN_TESTS = {
    "check_do_not_raise_errors_in_init_or_set_params": "it sets wrong types, which the type checks of tests refuse"
}


def test_all_estimators_are_tested():
    exported = {value for value in vars(shallow).values() if isinstance(value, type)}
    assert exported == {*ALIGNED, *REWEIGHTED}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [*ALIGNED, *REWEIGHTED])
def test_it_follows_the_conventions_of_scikit_learn(kind):
    check_estimator(kind(**CHEAP.get(kind, {})), expected_failed_checks=REFUSED_IN_TESTS, on_skip=None)


@pytest.mark.parametrize("kind", [*ALIGNED, *REWEIGHTED])
def test_a_fitted_estimator_predicts_classes_of_the_source(kind):
    Xs, ys, Xt, _ = two_domains()
    names = np.array(["mug", "mouse", "monitor"])[ys]
    estimator = kind(**CHEAP.get(kind, {})).fit(Xs, names, Xt)
    assert estimator.classes_.tolist() == ["monitor", "mouse", "mug"]
    assert estimator.n_features_in_ == 6
    assert set(estimator.predict(Xt)) <= set(estimator.classes_)
    again = clone(estimator).fit(Xs, names, Xt)
    assert np.array_equal(again.predict(Xt), estimator.predict(Xt))


@pytest.mark.parametrize("kind", [*ALIGNED, *REWEIGHTED])
def test_the_target_has_an_influence_and_its_absence_means_the_source(kind):
    Xs, ys, Xt, _ = two_domains()

    def learned(*target):
        estimator = kind(**CHEAP.get(kind, {})).fit(Xs, ys, *target)
        return estimator.weights_ if kind in REWEIGHTED else estimator.transform_source(Xs)

    assert not np.allclose(learned(Xt), learned(Xs))
    assert np.array_equal(learned(), learned(Xs))
    assert np.array_equal(learned(None), learned(Xs))


@pytest.mark.parametrize("kind", [*ALIGNED, *REWEIGHTED])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda Xs, ys, Xt: (np.where(Xs == Xs[0, 0], np.nan, Xs), ys, Xt), "Input X contains NaN"),
        (lambda Xs, ys, Xt: (Xs, ys, np.where(Xt == Xt[0, 0], np.inf, Xt)), "target samples Xt .* contains infinity"),
        (lambda Xs, ys, Xt: (Xs[:1], ys[:1], Xt), r"1 sample\(s\)"),
        (lambda Xs, ys, Xt: (Xs, ys, Xt[:1]), r"target samples Xt .* 1 sample\(s\)"),
        (lambda Xs, ys, Xt: (Xs, ys, Xt[:, :5]), "target samples Xt .* 5 features, but .* expecting 6"),
        (lambda Xs, ys, Xt: (Xs, ys[:-1], Xt), "inconsistent numbers of samples"),
        (lambda Xs, ys, Xt: (Xs, ys + 0.5, Xt), "Unknown label type"),
        (lambda Xs, ys, Xt: (Xs, ys, Xt[0]), "target samples Xt .* 1D array"),
    ],
)
def test_bad_samples_are_one_clear_error(kind, change, message):
    Xs, ys, Xt, _ = two_domains()
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        kind().fit(*change(Xs, ys, Xt))


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (shallow.KernelMeanMatching(bandwidth=-1.0), r"expected bandwidths above 0, got -1\.0"),
        (shallow.KernelMeanMatching(max_weight=0.5), "max_weight of at least 1, got 0.5"),
        (shallow.KernelMeanMatching(tolerance=-0.1), "tolerance of at least 0, got -0.1"),
        (shallow.KernelMeanMatching(estimator=KNeighborsClassifier()), "takes sample_weight, .* got KNeighbors"),
        (shallow.KLIEP(bandwidths=(1.0, 0.0)), r"expected bandwidths above 0, got 0\.0"),
        (shallow.KLIEP(bandwidths=()), "expected one or more bandwidths, got none"),
        (shallow.ULSIF(bandwidths=()), "expected one or more bandwidths, got none"),
        (shallow.KernelMeanMatching(max_weight=np.inf), "expected a finite max_weight, got inf"),
        (shallow.KLIEP(n_centers=0), "n_centers of at least 1, got 0"),
        (shallow.KLIEP(n_folds=1), "n_folds of at least 2, got 1"),
        (shallow.ULSIF(regularizations=(0.0,)), "regularizations of at least 1e-12, got 0"),
        (shallow.SubspaceAlignment(n_components=0), "n_components of at least 1, got 0"),
        (shallow.SampledGeodesicFlow(n_subspaces=1), "n_subspaces of at least 2, got 1"),
        (shallow.TransferComponentAnalysis(regularization=0.0), "regularization of at least 1e-12, got 0"),
        (shallow.JointDistributionAdaptation(n_iter=0), "n_iter of at least 1, got 0"),
        (shallow.TransferJointMatching(n_iter=0), "n_iter of at least 1, got 0"),
        (shallow.CorrelationAlignment(regularization=-1.0), "regularization of at least 0, got -1"),
    ],
)
def test_bad_settings_are_named(estimator, message):
    Xs, ys, Xt, _ = two_domains()
    with pytest.raises(ValueError, match=message):
        estimator.fit(Xs, ys, Xt)


@pytest.mark.parametrize("kind", [*ALIGNED, *REWEIGHTED])
def test_the_final_classifier_can_be_chosen_and_stays_unfitted(kind):
    Xs, ys, Xt, _ = two_domains()
    classifier = LogisticRegression(C=0.5)
    estimator = kind(estimator=classifier, **CHEAP.get(kind, {})).fit(Xs, ys, Xt)
    assert isinstance(estimator.estimator_, LogisticRegression)
    assert estimator.estimator_.C == 0.5
    assert not hasattr(classifier, "coef_")


def test_a_pipeline_hands_the_target_on():
    Xs, ys, Xt, yt = two_domains()
    scaler = StandardScaler().fit(Xs)
    alone = shallow.CorrelationAlignment(0.1).fit(scaler.transform(Xs), ys, scaler.transform(Xt))
    with config_context(enable_metadata_routing=False):  # skada switches it on
        pipeline = make_pipeline(StandardScaler(), shallow.CorrelationAlignment(0.1))
        pipeline.fit(Xs, ys, correlationalignment__Xt=scaler.transform(Xt))
    np.testing.assert_allclose(pipeline[-1].source_projection_, alone.source_projection_)
    assert pipeline.score(Xt, yt) == alone.score(scaler.transform(Xt), yt)


@pytest.mark.parametrize("kind", ALIGNED)
def test_the_next_step_of_a_pipeline_learns_from_the_aligned_source(kind):
    Xs, ys, Xt, _ = two_domains()
    name = kind.__name__.lower()
    with config_context(enable_metadata_routing=False):  # skada switches it on
        pipeline = make_pipeline(kind(), KNeighborsClassifier(1)).fit(Xs, ys, **{f"{name}__Xt": Xt})
    alone = kind().fit(Xs, ys, Xt)
    assert np.array_equal(pipeline.predict(Xt), alone.predict(Xt))
    assert np.array_equal(kind().fit_transform(Xs, ys, Xt=Xt), alone.transform_source(Xs))


PUBLISHED_SETTINGS = {
    shallow.SubspaceAlignment: {"n_components": 30},
    shallow.SampledGeodesicFlow: {"n_components": 20, "n_subspaces": 10},
    shallow.GeodesicFlowKernel: {"n_components": 20},
    shallow.TransferComponentAnalysis: {
        "n_components": 20, "regularization": 1.0, "kernel": None, "unit_length": True,
    },
    shallow.JointDistributionAdaptation: {
        "n_components": 20, "regularization": 1.0, "n_iter": 10, "kernel": None, "unit_length": True,
    },
    shallow.TransferJointMatching: {"n_components": 20, "regularization": 1.0, "n_iter": 10, "unit_length": True},
    shallow.CorrelationAlignment: {"regularization": 1.0},
    shallow.KernelMeanMatching: {"bandwidth": None, "max_weight": 1000.0, "tolerance": None},
    shallow.KLIEP: {"n_centers": 100, "n_folds": 5},
    shallow.ULSIF: {"n_centers": 100, "regularizations": (1e-3, 1e-2, 1e-1, 1.0, 10.0)},
}  # fmt: skip
"""Settings that the accuracies on Office-Caltech10 depend on. A change of one is a change of those numbers."""


@pytest.mark.parametrize("kind", [*ALIGNED, *REWEIGHTED])
def test_default_settings_are_those_of_the_tables(kind):
    assert kind().get_params() | PUBLISHED_SETTINGS[kind] == kind().get_params()


@pytest.mark.parametrize("kind", REWEIGHTED)
@pytest.mark.parametrize("seed", range(5))
def test_a_class_that_the_target_lacks_does_not_confuse_the_others(kind, seed):
    rng = np.random.default_rng(seed)
    centers = 8 * np.eye(3, 4)
    ys, yt = np.repeat([0, 1, 2], 20), np.repeat([1, 2], 20)
    Xs, Xt = (centers[labels] + rng.normal(size=(len(labels), 4)) for labels in (ys, yt))
    assert kind().fit(Xs, ys, Xt).score(Xt, yt) > 0.95


@pytest.mark.parametrize("kind", [shallow.KLIEP, shallow.ULSIF])
def test_a_target_far_from_the_source_is_an_error(kind):
    Xs, ys, Xt, _ = two_domains()
    with pytest.raises(ValueError, match=r"two or more classes with weights above 0, got 0 samples .*: standardize"):
        kind(bandwidths=(1.0,)).fit(Xs, ys, Xt + 1000)


@pytest.mark.parametrize("kind", ALIGNED)
def test_an_alignment_does_not_look_at_the_order_of_the_target(kind):
    Xs, ys, Xt, _ = two_domains()
    order = np.random.default_rng(0).permutation(len(Xt))
    first, second = (kind().fit(Xs, ys, target) for target in (Xt, Xt[order]))
    assert np.array_equal(first.predict(Xt), second.predict(Xt))
