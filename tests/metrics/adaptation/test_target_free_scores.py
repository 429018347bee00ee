"""All scores of a model at once."""

import math

import numpy as np
import pytest
import torch

from lightning_edge.metrics.adaptation.rank_correlation import rank_correlation
from lightning_edge.metrics.adaptation.target_free_scores import target_free_scores

NUM_CLASSES = 4


def rows(count, shift, seed, spread=1.0):
    """Features in clusters by class, moved along one class by a domain's shift, and the classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % NUM_CLASSES
    features = 4 * torch.eye(NUM_CLASSES)[labels] + spread * torch.randn(count, NUM_CLASSES, generator=generator)
    features[:, 0] += shift
    return features, labels


def scores_of_model(shift, sharpness=1.0, count=300, seed=0):
    """Scores, and accuracy on the target, of a model whose features of the target are shifted."""
    source, source_labels = rows(count, 0.0, seed)
    target, target_labels = rows(count, shift, seed + 1)
    scores = target_free_scores(source, sharpness * source, source_labels, target, sharpness * target)
    return scores, float((target.argmax(1) == target_labels).double().mean())


def test_all_scores_but_the_source_accuracy_prefer_domains_that_are_aligned():
    """Logits are the features, so that the shift of the target towards one class costs accuracy there only."""
    runs = [scores_of_model(shift) for shift in (0.0, 1.0, 2.0, 4.0)]
    accuracies = [accuracy for _, accuracy in runs]
    assert accuracies[0] > 0.95 > 0.75 > accuracies[-1]
    for key in ("information", "nuclear_norm", "class_ami", "negative_a_distance", "negative_mmd"):
        assert rank_correlation([scores[key] for scores, _ in runs], accuracies) == pytest.approx(1), key
    assert len({scores["source_accuracy"] for scores, _ in runs}) == 1
    aligned = runs[0][0]
    for key in ("importance_weighted", "deep_embedded", "deep_embedded_normalized"):
        assert aligned[key] == pytest.approx(aligned["source_accuracy"], abs=0.02)


def test_a_model_that_collapsed_has_defined_scores():
    _, labels = rows(60, 0.0, 0)
    one_class = torch.tensor([[100.0, 0, 0, 0]]).expand(60, -1)
    scores = target_free_scores(torch.ones(60, 3), one_class, labels, torch.ones(60, 3), one_class)
    expected = dict.fromkeys(
        ("source_accuracy", "importance_weighted", "deep_embedded", "deep_embedded_normalized"), 0.25
    )
    expected |= {"neighborhood_density": math.log(59), "negative_entropy": 0, "information": 0, "class_ami": 0}
    expected |= {
        "reverse_accuracy": 0.25,
        "nuclear_norm": 1 / math.sqrt(60),
        "negative_a_distance": 0,
        "negative_mmd": 0,
    }
    assert scores == pytest.approx(expected, abs=1e-9)


def test_the_mean_entropy_is_that_of_skada():
    """Its mean is over rows and classes, this one over rows."""
    pytest.importorskip("skada")
    from skada import make_da_pipeline
    from skada.metrics import PredictionEntropyScorer
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    features = random.normal(size=(80, 3))
    labels, domain = random.integers(3, size=80), np.repeat([1, -2], 40)
    model = make_da_pipeline(LogisticRegression()).fit(features, labels, sample_domain=domain)
    expected = PredictionEntropyScorer()(model, features, labels, sample_domain=domain)
    source, target = torch.from_numpy(features).split(40)
    logits = [torch.from_numpy(model.predict_log_proba(part.numpy())) for part in (source, target)]
    scores = target_free_scores(source, logits[0], torch.from_numpy(labels[:40]), target, logits[1])
    assert scores["negative_entropy"] == pytest.approx(3 * expected)


def test_scores_repeat_and_leave_the_random_state():
    state = torch.get_rng_state()
    assert scores_of_model(1.0, count=60) == scores_of_model(1.0, count=60)
    assert torch.equal(state, torch.get_rng_state())


def test_domains_of_other_sizes_and_fewer_rows_than_classes():
    logits = torch.eye(12)
    scores = target_free_scores(torch.eye(12), logits, torch.arange(12), torch.eye(12)[:5], logits[:5])
    assert all(math.isfinite(score) for score in scores.values())
    assert scores["source_accuracy"] == 1


def test_what_has_no_scores_is_refused():
    features, labels = rows(12, 0.0, 0)
    bad = features.clone()
    bad[2] = torch.nan
    for name, arguments in {
        "source_features": (bad, features, labels, features, features),
        "source_logits": (features, bad, labels, features, features),
        "target_features": (features, features, labels, bad, features),
        "target_logits": (features, features, labels, features, bad),
    }.items():
        with pytest.raises(ValueError, match=f"expected finite values in {name}, got NaN .* in 1 of 12 rows"):
            target_free_scores(*arguments)
    with pytest.raises(ValueError, match="expected at least 5 rows of source_features, got 4"):
        target_free_scores(features[:4], features[:4], labels[:4], features, features)
