"""Samples of rows that stay the same."""

import pytest
import torch

from lightning_edge.metrics.adaptation.sampled_rows import sampled_rows


@pytest.mark.parametrize(("max_rows", "num_batches"), [(100, 7), (3, 5), (10, 1)])
def test_batches_share_the_sample_equally(max_rows, num_batches):
    counts = [len(sampled_rows(1000, batch, num_batches, max_rows)) for batch in range(num_batches)]
    assert sum(counts) == max_rows
    assert max(counts) - min(counts) <= 1


def test_rows_are_distinct_and_ascending():
    rows = sampled_rows(1000, 2, 4, 400)
    assert len(rows.unique()) == 100
    assert rows.tolist() == sorted(rows.tolist())
    assert rows[0] < 100 < 900 < rows[-1] < 1000


def test_the_seed_and_the_batch_set_the_rows_and_nothing_else_does():
    state = torch.get_rng_state()
    rows = sampled_rows(1000, 0, 4, 40)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(5)
    assert torch.equal(rows, sampled_rows(1000, 0, 4, 40))
    assert not torch.equal(rows, sampled_rows(1000, 1, 4, 40))
    assert not torch.equal(rows, sampled_rows(1000, 0, 4, 40, seed=1))


def test_every_row_is_as_likely():
    counts = torch.zeros(10)
    for seed in range(500):
        counts[sampled_rows(10, 0, 1, 3, seed)] += 1
    assert counts.sum() == 1500
    assert ((counts - 150).abs() < 50).all()


def test_small_batches_are_taken_whole():
    assert sampled_rows(3, 0, 2, 100).tolist() == [0, 1, 2]
    assert sampled_rows(0, 0, 2, 100).tolist() == []


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="expected num_batches of at least 4, got 3"):
        sampled_rows(10, 3, 3, 5)
    with pytest.raises(ValueError, match="expected max_rows of at least 1, got 0"):
        sampled_rows(10, 0, 3, 0)
