"""Weights of source samples, compared with solvers of others and with densities that are known."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm
from skada import KMMReweightAdapter
from sklearn.metrics.pairwise import rbf_kernel
from two_domains import two_domains

from lightning_edge.shallow import KLIEP, ULSIF, KernelMeanMatching
from lightning_edge.shallow.bandwidths import gaussian_kernel, median_distance
from lightning_edge.shallow.kliep import fit_mixture
from lightning_edge.shallow.kmm import project
from lightning_edge.shallow.ulsif import fit_ratio, left_out_error


def shifted_normals(num=500):
    """Samples of N(0, 1) and N(0.7, 0.7), and the ratio of the densities at the first ones."""
    rng = np.random.default_rng(0)
    Xs, Xt = rng.normal(0, 1, (num, 1)), rng.normal(0.7, 0.7, (num - 100, 1))
    return Xs, Xt, norm.pdf(Xs[:, 0], 0.7, 0.7) / norm.pdf(Xs[:, 0])


@pytest.mark.parametrize(
    ("estimator", "largest_error"),
    [(KLIEP(n_folds=3), 0.25), (ULSIF(), 0.25), (KernelMeanMatching(), 0.3)],
    ids=lambda value: type(value).__name__,
)
def test_weights_are_close_to_the_ratio_of_the_densities(estimator, largest_error):
    Xs, Xt, ratio = shifted_normals()
    weights = estimator.fit(Xs, Xs[:, 0] > 0, Xt).weights_
    assert np.corrcoef(weights, ratio)[0, 1] > 0.94
    assert np.sqrt(np.mean((weights - ratio) ** 2)) < largest_error
    # equal weights would be wrong by that much
    assert np.sqrt(np.mean((1 - ratio) ** 2)) > 0.7


@pytest.mark.parametrize("kind", [KLIEP, ULSIF])
def test_the_chosen_bandwidth_is_neither_the_narrowest_nor_the_widest(kind):
    Xs, Xt, _ = shifted_normals(300)
    middle = median_distance(Xs, Xt)
    estimator = kind(bandwidths=(middle / 100, middle / 2, 100 * middle)).fit(Xs, Xs[:, 0] > 0, Xt)
    assert estimator.bandwidth_ == middle / 2


@pytest.mark.parametrize(("max_weight", "tolerance"), [(1000.0, 0.5), (1.5, 0.1), (1000.0, 0.0), (1.2, 0.2)])
def test_kernel_mean_matching_solves_the_quadratic_program(max_weight, tolerance):
    Xs, ys, Xt, _ = two_domains(25, 20, 3)
    estimator = KernelMeanMatching(1.0, max_weight, tolerance, max_iter=100_000, tol=1e-12).fit(Xs, ys, Xt)
    kernel, linear = gaussian_kernel(Xs, Xs, 1.0), 25 * gaussian_kernel(Xs, Xt, 1.0).mean(1)
    expected = minimize(
        lambda w: w @ kernel @ w / 2 - linear @ w,
        np.ones(25),
        jac=lambda w: kernel @ w - linear,
        method="SLSQP",
        bounds=[(0, max_weight)] * 25,
        constraints=[
            {"type": "ineq", "fun": lambda w: 25 * (1 + tolerance) - w.sum()},
            {"type": "ineq", "fun": lambda w: w.sum() - 25 * (1 - tolerance)},
        ],
        options={"ftol": 1e-13, "maxiter": 1000},
    )
    assert expected.success
    np.testing.assert_allclose(estimator.weights_, expected.x, atol=1e-5)
    assert (estimator.weights_ >= 0).all()
    assert (estimator.weights_ <= max_weight).all()


def test_kernel_mean_matching_equals_that_of_skada():
    Xs, ys, Xt, _ = two_domains(30, 20, 3)
    ours = KernelMeanMatching(1.0, max_iter=100_000, tol=1e-12).fit(Xs, ys, Xt).weights_
    theirs = KMMReweightAdapter(gamma=0.5, solver="scipy", tol=1e-14, max_iter=10_000)
    theirs.fit(np.concatenate([Xs, Xt]), sample_domain=np.repeat([1, -2], [30, 20]))
    np.testing.assert_allclose(ours, theirs.source_weights_, atol=1e-5)


def test_projection_is_the_nearest_point_of_the_set():
    rng = np.random.default_rng(0)
    for sums in ((2.0, 3.0), (6.0, 6.0), (0.0, 10.0)):
        values = 2 * rng.normal(size=5)
        nearest = project(values, 1.5, sums)
        assert sums[0] - 1e-9 <= nearest.sum() <= sums[1] + 1e-9
        assert ((nearest >= 0) & (nearest <= 1.5)).all()
        others = [project(values + rng.normal(size=5), 1.5, sums) for _ in range(200)]
        # no other point is on the side of the values: the condition of a projection onto a convex set
        assert max((values - nearest) @ (other - nearest) for other in others) < 1e-9


def test_mixture_has_the_largest_likelihood_under_the_constraint():
    Xs, _, Xt, _ = two_domains(40, 30, 2)
    on_source, on_target = (gaussian_kernel(X, Xt[:8], 1.5) for X in (Xs, Xt))
    coefficients, _ = fit_mixture(on_source, on_target, 1000)
    means = on_source.mean(0)
    assert means @ coefficients == pytest.approx(1)
    expected = minimize(
        lambda a: -np.log(on_target @ a).mean(),
        np.full(8, 1 / means.sum()),
        method="SLSQP",
        bounds=[(0, None)] * 8,
        constraints=[{"type": "eq", "fun": lambda a: means @ a - 1}],
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert np.log(on_target @ coefficients).mean() == pytest.approx(-expected.fun, abs=1e-6)
    np.testing.assert_allclose(on_source @ coefficients, on_source @ expected.x, atol=1e-3)


@pytest.mark.parametrize("distance", [0, 1e3])
def test_mean_weight_is_one_with_kliep_even_if_target_samples_are_far_away(distance):
    Xs, ys, Xt, _ = two_domains()
    Xt[:5] += distance
    assert KLIEP().fit(Xs, ys, Xt).weights_.mean() == pytest.approx(1)


@pytest.mark.parametrize(("num_source", "num_target"), [(20, 15), (15, 20)])
def test_left_out_error_equals_that_of_one_fit_for_each_pair(num_source, num_target):
    Xs, _, Xt, _ = two_domains(num_source, num_target, 3)
    on_source, on_target = (gaussian_kernel(X, Xt[:6], 2.0) for X in (Xs, Xt))
    errors = []
    for pair in range(15):
        kept_source, kept_target = (np.delete(values, pair, 0) for values in (on_source, on_target))
        coefficients = fit_ratio(kept_source, kept_target, 0.3)
        errors.append((on_source[pair] @ coefficients) ** 2 / 2 - on_target[pair] @ coefficients)
    assert left_out_error(on_source, on_target, 0.3) == pytest.approx(np.mean(errors), rel=1e-9)


def test_median_distance_counts_each_pair_once():
    X, Y = np.array([[0.0], [1.0]]), np.array([[5.0]])
    assert median_distance(X, Y) == 4.0
    assert median_distance(X[:1], X[:1]) == 1.0


def test_an_offset_of_all_samples_changes_no_distance():
    Xs, _, Xt, _ = two_domains()
    assert median_distance(Xs + 1e8, Xt + 1e8) == pytest.approx(median_distance(Xs, Xt), rel=1e-6)
    np.testing.assert_allclose(gaussian_kernel(Xs + 1e8, Xt + 1e8, 3.0), gaussian_kernel(Xs, Xt, 3.0), atol=1e-6)


def test_bandwidth_is_the_standard_deviation_of_the_kernel():
    X = np.array([[0.0], [3.0]])
    assert gaussian_kernel(X, X, 3.0)[0, 1] == pytest.approx(np.exp(-0.5))
    np.testing.assert_allclose(gaussian_kernel(X, X, 2.0), rbf_kernel(X, X, gamma=1 / 8))
