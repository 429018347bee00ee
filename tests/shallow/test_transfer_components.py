"""TCA, JDA and TJM, compared with the formulas written out with matrices of all samples, and with skada."""

import numpy as np
import pytest
from scipy.linalg import eig, subspace_angles
from skada import TransferComponentAnalysisAdapter
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize
from two_domains import two_domains

from lightning_edge.shallow import JointDistributionAdaptation, TransferComponentAnalysis, TransferJointMatching
from lightning_edge.shallow.mean_differences import class_differences, discrepancy, domain_difference


def mmd_matrix(num_source, num_target):
    """M as it is written in the papers."""
    blocks = [
        [np.full((num_source, num_source), 1 / num_source**2), np.full((num_source, num_target), -1)],
        [np.full((num_target, num_source), -1), np.full((num_target, num_target), 1 / num_target**2)],
    ]
    blocks[0][1] = blocks[0][1] / (num_source * num_target)
    blocks[1][0] = blocks[1][0] / (num_source * num_target)
    return np.block(blocks)


def class_matrix(ys, yt, label):
    """M of a class, one entry after the other."""
    labels, is_source = np.concatenate([ys, yt]), np.arange(len(ys) + len(yt)) < len(ys)
    matrix = np.zeros((len(labels), len(labels)))
    for i, j in np.ndindex(matrix.shape):
        if labels[i] == labels[j] == label:
            signs = (1 if is_source[i] else -1) * (1 if is_source[j] else -1)
            matrix[i, j] = signs / ((ys if is_source[i] else yt) == label).sum()
            matrix[i, j] /= ((ys if is_source[j] else yt) == label).sum()
    return matrix


def centering(num):
    return np.eye(num) - 1 / num


def leading(variance, penalty, num_components):
    """Generalized eigenvectors by a solver for matrices without symmetry, scaled to a penalty of 1."""
    values, vectors = eig(variance, penalty)
    vectors = np.real(vectors[:, np.argsort(-np.real(values))[:num_components]])
    return vectors / np.sqrt(np.einsum("fc,fg,gc->c", vectors, penalty, vectors))


def gram(features):
    """Inner products of samples, which do not depend on the signs of components."""
    return features @ features.T


def both_mapped(estimator, Xs, Xt):
    return np.concatenate([estimator.transform_source(Xs), estimator.transform(Xt)])


def test_discrepancy_is_the_matrix_of_the_papers_divided_by_its_norm():
    Xs, ys, Xt, yt = two_domains(20, 15)
    both = np.concatenate([Xs, Xt])
    matrix = 3 * mmd_matrix(20, 15) + sum(class_matrix(ys, yt, label) for label in range(3))
    differences = np.hstack([np.sqrt(3) * domain_difference(20, 15), class_differences(ys, yt, np.arange(3))])
    np.testing.assert_allclose(differences @ differences.T, matrix, atol=1e-15)
    expected = both.T @ (matrix / np.linalg.norm(matrix)) @ both
    np.testing.assert_allclose(discrepancy(both, differences), expected, atol=1e-12)


def test_a_class_that_a_domain_lacks_has_no_difference():
    ys, yt = np.array(["a", "a", "b", "c"]), np.array(["a", "c", "c"])
    differences = class_differences(ys, yt, np.unique(ys))
    expected = [[0.5, 0.5, 0, 0, -1, 0, 0], [0, 0, 0, 1, 0, -0.5, -0.5]]
    assert differences.T.tolist() == expected
    assert class_differences(ys, np.array(["z"]), np.unique(ys)).shape == (5, 0)


def test_tca_equals_the_formula_written_out():
    Xs, ys, Xt, _ = two_domains(40, 30, 8)
    both = normalize(np.concatenate([Xs, Xt]))
    matrix = mmd_matrix(40, 30)
    penalty = both.T @ matrix @ both / np.linalg.norm(matrix) + np.eye(8)
    expected = normalize(both @ leading(both.T @ centering(70) @ both, penalty, 3))
    actual = TransferComponentAnalysis(3).fit(Xs, ys, Xt)
    np.testing.assert_allclose(gram(both_mapped(actual, Xs, Xt)), gram(expected), atol=1e-10)
    vectors = actual.components_
    np.testing.assert_allclose(vectors.T @ penalty @ vectors, np.eye(3), atol=1e-10)


def test_tca_on_features_equals_that_on_the_linear_kernel_with_the_norm_of_the_direction_as_penalty():
    """With v = X'w, the penalty v'v of a direction is w'Kw, where K is the linear kernel."""
    Xs, ys, Xt, _ = two_domains(12, 11, 40)
    both = normalize(np.concatenate([Xs, Xt]))
    kernel, matrix = gram(both), mmd_matrix(12, 11)
    penalty = kernel @ matrix @ kernel / np.linalg.norm(matrix) + kernel
    expected = normalize(kernel @ leading(kernel @ centering(23) @ kernel, penalty, 4))
    actual = TransferComponentAnalysis(4).fit(Xs, ys, Xt)  # more features than samples
    np.testing.assert_allclose(gram(both_mapped(actual, Xs, Xt)), gram(expected), atol=1e-8)


def test_tca_with_more_features_than_samples_equals_the_formula_written_out():
    Xs, ys, Xt, _ = two_domains(12, 11, 40)
    both, matrix = normalize(np.concatenate([Xs, Xt])), mmd_matrix(12, 11)
    penalty = both.T @ matrix @ both / np.linalg.norm(matrix) + 0.5 * np.eye(40)
    vectors = leading(both.T @ centering(23) @ both, penalty, 4)
    actual = TransferComponentAnalysis(4, 0.5).fit(Xs, ys, Xt)
    np.testing.assert_allclose(gram(actual.components_), gram(vectors), atol=1e-9)


@pytest.mark.parametrize("gamma", [0.3, None])
def test_tca_with_a_kernel_equals_the_formula_written_out(gamma):
    Xs, ys, Xt, _ = two_domains(25, 20, 5)
    both = np.concatenate([Xs, Xt])
    kernel, matrix = rbf_kernel(both, gamma=gamma), mmd_matrix(25, 20)
    penalty = kernel @ matrix @ kernel / np.linalg.norm(matrix) + 0.1 * np.eye(45)
    expected = kernel @ leading(kernel @ centering(45) @ kernel, penalty, 4)
    actual = TransferComponentAnalysis(4, 0.1, "rbf", gamma, unit_length=False).fit(Xs, ys, Xt)
    np.testing.assert_allclose(gram(both_mapped(actual, Xs, Xt)), gram(expected), atol=1e-8)


def test_tca_differs_from_that_of_skada_which_symmetrizes_half_of_its_matrix():
    """skada asks a solver for symmetric matrices, which reads one triangle of (I + mu K L K)^-1 K H K.

    Its own matrix, given to a solver for general matrices, has the directions of ours.
    """
    Xs, ys, Xt, _ = two_domains(25, 20, 5)
    theirs = TransferComponentAnalysisAdapter(n_components=3, mu=0.1)
    theirs.fit(np.concatenate([Xs, Xt]), sample_domain=np.repeat([1, -2], [25, 20]))
    matrix = mmd_matrix(25, 20)
    # ours divides M by its norm, and puts the weight on the other term
    ours = TransferComponentAnalysis(3, 10 / np.linalg.norm(matrix), "rbf", unit_length=False).fit(Xs, ys, Xt)
    kernel = theirs.K_
    solution = np.linalg.solve(np.eye(45) + 0.1 * kernel @ matrix @ kernel, kernel @ centering(45) @ kernel)
    values, vectors = eig(solution)
    vectors = np.real(vectors[:, np.argsort(-np.real(values))[:3]])
    assert subspace_angles(ours.components_, vectors).max() < 1e-6
    assert subspace_angles(ours.components_, theirs.eigvects_).max() > 1e-3


def test_jda_equals_the_formula_written_out():
    Xs, ys, Xt, _ = two_domains(40, 30, 8)
    both = normalize(np.concatenate([Xs, Xt]))
    matrix = 3 * mmd_matrix(40, 30)
    labels, mapped = None, None
    for _ in range(3):
        total = matrix if labels is None else matrix + sum(class_matrix(ys, labels, label) for label in range(3))
        penalty = both.T @ total @ both / np.linalg.norm(total) + np.eye(8)
        mapped = normalize(both @ leading(both.T @ centering(70) @ both, penalty, 3))
        pseudo, labels = labels, KNeighborsClassifier(1).fit(mapped[:40], ys).predict(mapped[40:])
    actual = JointDistributionAdaptation(3, n_iter=3).fit(Xs, ys, Xt)
    np.testing.assert_allclose(gram(both_mapped(actual, Xs, Xt)), gram(mapped), atol=1e-9)
    assert np.array_equal(actual.predict(Xt), labels)
    assert np.array_equal(actual.pseudo_labels_, pseudo)


def test_the_first_iteration_of_jda_is_tca():
    Xs, ys, Xt, _ = two_domains()
    first = JointDistributionAdaptation(3, n_iter=1).fit(Xs, ys, Xt)
    np.testing.assert_allclose(first.components_, TransferComponentAnalysis(3).fit(Xs, ys, Xt).components_)
    assert first.pseudo_labels_ is None


def test_the_first_iteration_of_tjm_is_tca_with_the_linear_kernel():
    Xs, ys, Xt, _ = two_domains(30, 25, 6)
    first = TransferJointMatching(3, n_iter=1).fit(Xs, ys, Xt)
    tca = TransferComponentAnalysis(3, kernel="linear").fit(Xs, ys, Xt)
    np.testing.assert_allclose(gram(both_mapped(first, Xs, Xt)), gram(both_mapped(tca, Xs, Xt)), atol=1e-8)


@pytest.mark.parametrize("num_features", [6, 50])
def test_tjm_equals_the_formula_written_out_with_the_kernel(num_features):
    """skada has it too, but stops after one iteration, and its solver warns that it is inaccurate on such data."""
    Xs, ys, Xt, _ = two_domains(20, 15, num_features)
    both = normalize(np.concatenate([Xs, Xt]))
    kernel, matrix = gram(both), mmd_matrix(20, 15)
    variance, weights = kernel @ centering(35) @ kernel, np.ones(35)
    for _ in range(3):
        penalty = kernel @ matrix @ kernel / np.linalg.norm(matrix) + 0.5 * np.diag(weights)
        vectors = leading(variance, penalty, 3)
        scaled = vectors / np.sqrt(np.einsum("nc,nm,mc->c", vectors, variance, vectors))
        norms = np.linalg.norm(scaled, axis=1)[:20]
        weights[:20] = 1 / (2 * norms)
    actual = TransferJointMatching(3, 0.5, n_iter=3).fit(Xs, ys, Xt)
    np.testing.assert_allclose(actual.row_norms_, norms, rtol=1e-4)
    np.testing.assert_allclose(gram(both_mapped(actual, Xs, Xt)), gram(normalize(kernel @ vectors)), atol=1e-5)


def test_iterations_of_tjm_concentrate_the_influence_on_few_source_samples():
    Xs, ys, Xt, _ = two_domains(30, 25, 40)
    shares = []
    for n_iter in (1, 2, 5):
        norms = np.sort(TransferJointMatching(3, n_iter=n_iter).fit(Xs, ys, Xt).row_norms_)
        shares.append(norms[-10:].sum() / norms.sum())
    assert shares[0] < shares[1] < shares[2]


@pytest.mark.parametrize("kind", [TransferComponentAnalysis, JointDistributionAdaptation, TransferJointMatching])
def test_samples_have_unit_length_before_and_after(kind):
    Xs, ys, Xt, _ = two_domains()
    estimator = kind(3).fit(Xs, ys, Xt)
    np.testing.assert_allclose(np.linalg.norm(estimator.transform(Xt), axis=1), 1)
    longer = kind(3).fit(Xs * np.arange(1, 61)[:, None], ys, 7 * Xt)
    np.testing.assert_allclose(gram(longer.transform(Xt)), gram(estimator.transform(Xt)), atol=1e-9)


@pytest.mark.parametrize("kind", [TransferComponentAnalysis, JointDistributionAdaptation, TransferJointMatching])
def test_means_of_the_domains_come_together(kind):
    Xs, ys, Xt, _ = two_domains()
    Xt = Xt + 5

    def gap(mapped_source, mapped_target):
        both = np.concatenate([mapped_source, mapped_target])
        return np.linalg.norm(mapped_source.mean(0) - mapped_target.mean(0)) / both.std()

    estimator = kind(3, 1e-3, unit_length=False).fit(Xs, ys, Xt)
    assert gap(estimator.transform_source(Xs), estimator.transform(Xt)) < gap(Xs, Xt) / 5
