"""The real SURF features give the published accuracies."""

from pathlib import Path

import pytest

from recipes.domain_adaptation._shallow_data import draw_labeled, parse_pairs, read_domains
from recipes.domain_adaptation._shallow_methods import FEW_LABELS, NEIGHBORS
from recipes.domain_adaptation.shallow import PAIRS

REAL = Path(__file__).parents[4] / "shared/data/office_caltech"
NEAREST_NEIGHBOR = (23.7, 25.8, 25.5, 26.0, 29.8, 25.5, 19.9, 23.0, 59.2, 26.3, 28.5, 63.4)
"""Without adaptation, from the repository https://github.com/jindongwang/transferlearning (data/benchmark.md)."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REAL.is_dir(), reason="needs the SURF features of Office-Caltech10"),
]


@pytest.fixture(scope="module")
def pairs():
    domains = read_domains(REAL, "SURF_L10")
    return [(domains[source], domains[target]) for source, target in parse_pairs(PAIRS)]


def accuracies(predict, pairs, split=0, images_per_class=None):
    values = []
    for source, target in pairs:
        labeled = source if images_per_class is None else draw_labeled(source, images_per_class, split)
        predicted = predict(labeled, target.features, split)
        values.append(100 * float((predicted == target.labels).mean()))
    return values


def mean(values):
    return sum(values) / len(values)


def test_the_nearest_neighbor_has_all_published_accuracies(pairs):
    assert accuracies(NEIGHBORS["NA"], pairs) == pytest.approx(NEAREST_NEIGHBOR, abs=0.06)


@pytest.mark.parametrize(
    ("method", "expected", "tolerance"),
    [
        ("PCA", 44.1, 0.3),
        ("SA", 45.4, 0.3),
        ("GFK", 44.7, 0.3),
        ("TCA", 46.1, 0.3),
        ("JDA", 46.9, 0.5),
        ("CORAL", 35.7, 0.3),
    ],
)
def test_alignments_have_the_measured_means(method, expected, tolerance, pairs):
    assert mean(accuracies(NEIGHBORS[method], pairs)) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(
    ("method", "expected", "tolerance"), [("NA-RBF", 38.8, 1.0), ("NA-LINEAR", 44.1, 1.0), ("CORAL-LINEAR", 46.7, 0.7)]
)
def test_few_labels_have_the_measured_means(method, expected, tolerance, pairs):
    means = [mean(accuracies(FEW_LABELS[method], pairs, split, 20)) for split in range(5)]
    assert mean(means) == pytest.approx(expected, abs=tolerance)
