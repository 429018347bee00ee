"""Orders that are longer than the data, and classes that are drawn equally often."""

from collections import Counter

import numpy as np
import pytest

from lightning_edge.data.loading import (
    ClassBalancedSampler,
    SeededSampler,
    num_occurrences_before,
    passes_through,
)

LABELS = np.array([0] * 10 + [1] * 3 + [2])


def drawn(sampler, epoch=0, start=0):
    sampler.set_epoch(epoch)
    sampler.start = start
    return list(sampler)


def balanced(num_samples, batch_size=2, **options):
    return ClassBalancedSampler(range(len(LABELS)), LABELS, batch_size, num_samples=num_samples, **options)


def test_each_pass_is_a_new_permutation():
    passes = passes_through(5, 23, np.random.default_rng(0)).reshape(-1)
    assert len(passes) == 23
    whole = passes[:20].reshape(4, 5)
    assert all(sorted(order) == list(range(5)) for order in whole.tolist())
    assert len({tuple(order) for order in whole.tolist()}) == 4
    assert len(set(passes[20:])) == 3
    assert passes_through(5, 0, np.random.default_rng(0)).tolist() == []
    assert passes_through(0, 0, np.random.default_rng(0)).tolist() == []


def test_one_pass_is_as_before():
    without, with_number = SeededSampler(range(9), 2), SeededSampler(range(9), 2, num_samples=9)
    assert drawn(without) == drawn(with_number)
    longer = SeededSampler(range(9), 2, num_samples=20)
    assert drawn(longer)[:8] == drawn(without)
    assert len(longer) == len(drawn(longer)) == 20


def test_fewer_samples_than_the_data_have_are_drawn_from_all():
    sampler = SeededSampler(range(100), 2, num_samples=10)
    requests = [request.index for epoch in range(40) for request in drawn(sampler, epoch)]
    assert len(requests) == 400
    assert len(set(requests)) > 90


def test_occurrences_are_counted_as_a_loop_does():
    order = np.random.default_rng(0).integers(0, 7, 50)
    expected = [order[:place].tolist().count(item) for place, item in enumerate(order)]
    assert num_occurrences_before(order).tolist() == expected
    assert num_occurrences_before(np.empty(0, np.int64)).tolist() == []


@pytest.mark.parametrize("num_replicas", [1, 2])
def test_a_sample_has_another_seed_whenever_it_occurs(num_replicas):
    samplers = [SeededSampler(range(6), 2, num_replicas, rank, num_samples=24) for rank in range(num_replicas)]
    requests = [request for sampler in samplers for request in drawn(sampler)]
    assert Counter(request.index for request in requests) == dict.fromkeys(range(6), 4)
    assert len({request.seed for request in requests}) == 24


@pytest.mark.parametrize("start", [4, 10])
def test_a_long_order_resumes(start):
    make = [lambda: SeededSampler(range(6), 2, num_samples=24), lambda: balanced(24)]
    for sampler in make:
        assert drawn(sampler(), start=start) == drawn(sampler())[start:]


def test_every_round_has_each_class_once():
    sampler = balanced(21, batch_size=3)
    for epoch in range(2):
        rounds = np.array([LABELS[request.index] for request in drawn(sampler, epoch)]).reshape(-1, 3)
        assert [sorted(labels) for labels in rounds.tolist()] == [[0, 1, 2]] * 7
        assert len({tuple(labels) for labels in rounds.tolist()}) > 1
    assert drawn(sampler, 0) != drawn(sampler, 1)


def test_samples_of_a_class_count_the_same():
    counts = Counter(request.index for request in drawn(balanced(90)))
    assert {counts[index] for index in range(10)} == {3}
    assert {counts[index] for index in range(10, 13)} == {10}
    assert counts[13] == 30


def test_a_last_round_may_be_cut():
    counts = Counter(LABELS[request.index] for request in drawn(balanced(20)))
    assert sum(counts.values()) == 20
    assert set(counts.values()) == {6, 7}


def test_balanced_classes_are_shared_by_processes():
    shares = [drawn(balanced(24, num_replicas=2, rank=rank)) for rank in range(2)]
    together = sorted(request.seed for share in shares for request in share)
    assert together == sorted(request.seed for request in drawn(balanced(24, batch_size=4)))


def test_labels_may_have_gaps():
    sampler = ClassBalancedSampler(range(4), np.array([7, 7, 7, 40]), 2, num_samples=8)
    assert Counter(request.index == 3 for request in drawn(sampler)) == {True: 4, False: 4}


def test_a_label_for_each_sample_is_expected():
    with pytest.raises(ValueError, match="expected a label for each of 5 samples, got 4"):
        ClassBalancedSampler(range(5), np.zeros(4, np.int64), 2)


def test_too_short_orders_are_refused():
    with pytest.raises(ValueError, match=r"\(4\) of at most the number of training samples \(3\)"):
        SeededSampler(range(9), 2, accumulate=2, num_samples=3)
