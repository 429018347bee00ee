"""Subspaces and correlation alignment, compared with numerical integrals, SciPy and skada."""

import numpy as np
import pytest
from scipy.integrate import quad_vec
from scipy.linalg import sqrtm, subspace_angles
from skada import CORALAdapter, SubspaceAlignmentAdapter
from sklearn.neighbors import KNeighborsClassifier
from two_domains import two_domains

from lightning_edge.shallow import CorrelationAlignment, GeodesicFlowKernel, SampledGeodesicFlow, SubspaceAlignment
from lightning_edge.shallow.gfk import flow_factor
from lightning_edge.shallow.principal_subspace import geodesic_between, principal_bases


def two_bases(num_features=9, num_components=3, seed=0):
    rng = np.random.default_rng(seed)
    return (np.linalg.qr(rng.normal(size=(num_features, num_components)))[0] for _ in range(2))


def same_span(one, other):
    return np.allclose(one @ one.T, other @ other.T)


def of_both(adapter, Xs, Xt):
    """Source and target after an adapter of skada."""
    domains = np.repeat([1, -2], [len(Xs), len(Xt)])
    mapped = adapter.fit_transform(np.concatenate([Xs, Xt]), sample_domain=domains)
    return mapped[: len(Xs)], mapped[len(Xs) :]


def test_principal_bases_are_those_of_each_centered_domain():
    Xs, _, Xt, _ = two_domains()
    for basis, X in zip(principal_bases(Xs, Xt, 2), (Xs, Xt), strict=True):
        _, vectors = np.linalg.eigh(np.cov(X, rowvar=False))
        assert same_span(basis, vectors[:, -2:])


def test_components_without_variance_do_not_count():
    Xs, _, Xt, _ = two_domains()
    assert principal_bases(Xs, Xt[:4], 30)[0].shape == (6, 3)  # four points span three directions
    assert principal_bases(Xs, np.repeat(Xt[:3], 10, 0), 30)[1].shape == (6, 2)
    assert principal_bases(Xs, np.ones((5, 6)), 30)[0].shape == (6, 1)
    assert principal_bases(Xs, Xt, 30)[0].shape == (6, 6)


def test_geodesic_leads_from_the_source_to_the_target_at_equal_speed():
    source, target = two_bases()
    flow = geodesic_between(source, target)
    assert same_span(flow.basis_at(0), source)
    assert same_span(flow.basis_at(1), target)
    np.testing.assert_allclose(np.sort(flow.angles), np.sort(subspace_angles(source, target)), atol=1e-12)
    for position in (0.25, 0.5):
        basis = flow.basis_at(position)
        np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(np.sort(subspace_angles(source, basis)), position * np.sort(flow.angles), atol=1e-12)


@pytest.mark.parametrize(("num_features", "num_components"), [(9, 3), (4, 3), (5, 1)])
def test_kernel_in_closed_form_equals_the_integral_along_the_geodesic(num_features, num_components):
    source, target = two_bases(num_features, num_components)
    flow = geodesic_between(source, target)
    integral, _ = quad_vec(lambda t: flow.basis_at(t) @ flow.basis_at(t).T, 0, 1, epsabs=1e-13)
    factor = flow_factor(flow)
    assert factor.shape == (num_features, 2 * num_components)
    np.testing.assert_allclose(factor @ factor.T, integral, atol=1e-12)


def test_kernel_between_equal_subspaces_is_the_projection():
    source, _ = two_bases()
    factor = flow_factor(geodesic_between(source, source[:, ::-1]))
    np.testing.assert_allclose(factor @ factor.T, source @ source.T, atol=1e-12)


def test_kernel_between_orthogonal_subspaces():
    source, target = np.eye(4)[:, :2], np.eye(4)[:, 2:]
    flow = geodesic_between(source, target)
    np.testing.assert_allclose(flow.angles, [np.pi / 2] * 2)
    factor = flow_factor(flow)
    # the means of cos^2 and sin^2 over a quarter of a turn are 1/2, that of cos sin is 1/pi
    np.testing.assert_allclose(np.diag(factor @ factor.T), [0.5] * 4, atol=1e-12)
    np.testing.assert_allclose(np.abs(factor @ factor.T)[:2, 2:].sum(), 2 / np.pi, atol=1e-12)


def test_neighbors_of_the_flow_kernel_are_those_of_its_metric():
    Xs, ys, Xt, _ = two_domains()
    estimator = GeodesicFlowKernel(2).fit(Xs, ys, Xt)
    kernel = estimator.projection_ @ estimator.projection_.T
    differences = Xt[:, None] - Xs[None]
    distances = np.einsum("tsf,fg,tsg->ts", differences, kernel, differences)
    assert np.array_equal(estimator.predict(Xt), ys[distances.argmin(1)])


def test_many_sampled_subspaces_approach_the_flow_kernel():
    Xs, ys, Xt, _ = two_domains()
    whole = GeodesicFlowKernel(3).fit(Xs, ys, Xt).transform(Xt)
    errors = []
    for n_subspaces in (2, 10, 1000):
        sampled = SampledGeodesicFlow(3, n_subspaces).fit(Xs, ys, Xt).transform(Xt)
        assert sampled.shape == (50, 3 * n_subspaces)
        errors.append(np.abs(sampled @ sampled.T - whole @ whole.T).max() / np.abs(whole @ whole.T).max())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3


def test_two_sampled_subspaces_are_those_of_the_domains():
    Xs, ys, Xt, _ = two_domains()
    sampled = SampledGeodesicFlow(2, 2).fit(Xs, ys, Xt).transform(Xt)
    source, target = principal_bases(Xs, Xt, 2)
    expected = (Xt @ source @ source.T @ Xt.T + Xt @ target @ target.T @ Xt.T) / 2
    np.testing.assert_allclose(sampled @ sampled.T, expected, atol=1e-9)


def test_subspace_alignment_equals_that_of_skada():
    Xs, ys, Xt, yt = two_domains()
    ours = SubspaceAlignment(3).fit(Xs, ys, Xt)
    source, target = of_both(SubspaceAlignmentAdapter(3), Xs, Xt)
    np.testing.assert_allclose(ours.transform_source(Xs), source, atol=1e-10)
    np.testing.assert_allclose(ours.transform(Xt), target, atol=1e-10)
    assert ours.score(Xt, yt) == KNeighborsClassifier(1).fit(source, ys).score(target, yt)


def test_correlation_alignment_equals_that_of_skada_without_regularization():
    """skada centers the domains, divides by the number of samples, and shrinks instead of adding to the variances."""
    Xs, ys, Xt, _ = two_domains(60, 60)
    Xs, Xt = Xs - Xs.mean(0), Xt - Xt.mean(0)
    ours = CorrelationAlignment(0.0).fit(Xs, ys, Xt)
    source, target = of_both(CORALAdapter(reg=None), Xs, Xt)
    np.testing.assert_allclose(ours.transform_source(Xs), source, atol=1e-8)
    np.testing.assert_allclose(ours.transform(Xt), target, atol=1e-12)


def test_correlation_alignment_has_the_formula_of_the_paper():
    Xs, ys, Xt, _ = two_domains()
    source, target = (np.cov(X, rowvar=False) + np.eye(6) for X in (Xs, Xt))
    expected = np.linalg.inv(sqrtm(source)) @ sqrtm(target)
    np.testing.assert_allclose(CorrelationAlignment().fit(Xs, ys, Xt).source_projection_, expected, atol=1e-9)


def test_aligned_source_has_the_covariance_of_the_target():
    Xs, ys, Xt, _ = two_domains()
    aligned = CorrelationAlignment(0.0).fit(Xs, ys, Xt).transform_source(Xs)
    np.testing.assert_allclose(np.cov(aligned, rowvar=False), np.cov(Xt, rowvar=False), atol=1e-8)


def test_a_singular_covariance_needs_regularization():
    Xs, ys, Xt, _ = two_domains()
    Xs[:, 0] = 1.0
    with pytest.raises(ValueError, match="expected a regularization above 0"):
        CorrelationAlignment(0.0).fit(Xs, ys, Xt)
    assert np.isfinite(CorrelationAlignment(1.0).fit(Xs, ys, Xt).source_projection_).all()
