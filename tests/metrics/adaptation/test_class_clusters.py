"""Agreement of predictions with clusters."""

import pytest
import torch

from lightning_edge.metrics.adaptation.class_clusters import class_ami


def blobs(rows_each=30, classes=3, seed=0):
    """Well separated clusters of features, and the number of each row's cluster."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.arange(classes).repeat_interleave(rows_each)
    return 20 * torch.eye(classes)[group] + torch.randn(len(group), classes, generator=generator), group


def logits_of(predicted, classes=3):
    return 5 * torch.eye(classes)[predicted]


def test_clusters_that_are_the_predicted_classes_score_1_under_any_names():
    features, group = blobs()
    assert class_ami(features, logits_of((group + 1) % 3)) == pytest.approx(1)


def test_predictions_that_ignore_the_clusters_score_0():
    features, group = blobs()
    assert abs(class_ami(features, logits_of(torch.arange(90) % 3))) < 0.03
    partly = torch.where(torch.arange(90) % 3 == 0, (group + 1) % 3, group)
    assert 0.1 < class_ami(features, logits_of(partly)) < 0.6


def test_two_partitions_by_hand():
    """Two clusters of two rows and two classes of three and one.

    The mutual information is that of the table [2 0] [1 1], 0.2158; by chance it is the same, as each placement of the
    single row gives this table. The adjusted one is 0.
    """
    features = torch.tensor([[0.0], [0.1], [10.0], [10.1]])
    assert class_ami(features, logits_of(torch.tensor([0, 0, 0, 1]), 2)) == pytest.approx(0, abs=1e-9)


def test_a_model_that_collapsed_scores_0():
    features, group = blobs()
    assert class_ami(features, logits_of(0 * group)) == 0
    assert class_ami(torch.ones(90, 3), logits_of(group)) == 0
    assert class_ami(torch.ones(90, 3), logits_of(0 * group)) == 0


def test_fewer_rows_than_classes_have_a_score(recwarn):
    features = torch.tensor([[0.0], [1.0], [1.0]])
    assert class_ami(features, logits_of(torch.tensor([4, 2, 2]), 10)) == pytest.approx(1)
    assert not recwarn.list


def test_the_seed_sets_the_score():
    features = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    logits = torch.randn(60, 7, generator=torch.Generator().manual_seed(1))
    assert class_ami(features, logits, seed=3) == class_ami(features, logits, seed=3)
    assert len({class_ami(features, logits, seed=seed) for seed in range(5)}) > 1


def test_what_has_no_clusters_is_refused():
    with pytest.raises(ValueError, match="expected at least 2 rows of features, got 1"):
        class_ami(torch.ones(1, 2), torch.ones(1, 3))
    with pytest.raises(ValueError, match="expected finite values in features"):
        class_ami(torch.full((3, 2), torch.nan), torch.ones(3, 3))
