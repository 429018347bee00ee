"""When a stream is said to have come into another domain."""

import pytest
import torch

from lightning_edge.systems.streaming.domain_watcher import DomainWatcher

CENTERS = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])


def follow(watcher, places):
    return [watcher(torch.tensor([float(x), float(y)])) for x, y in places]


def test_the_first_frame_decides():
    assert DomainWatcher(CENTERS)(torch.tensor([9.0, 1.0])) == 1


def test_a_change_that_lasts_is_noticed():
    actual = follow(DomainWatcher(CENTERS, momentum=0.5, patience=3), [(0, 0)] * 5 + [(10, 0)] * 8)
    assert actual[:5] == [0] * 5
    first = actual.index(1) - 5
    assert 2 <= first <= 5  # two frames of patience, and the mean must come over first
    assert set(actual[5 + first :]) == {1}


def test_strange_frames_change_nothing():
    watcher = DomainWatcher(CENTERS, momentum=0.0, patience=3)
    assert set(follow(watcher, [(0, 0)] * 5 + [(10, 0)] * 2 + [(0, 0)] * 3 + [(10, 0)] * 2 + [(0, 0)])) == {0}


def test_a_frame_beyond_all_domains_counts_as_one_of_them():
    watcher = DomainWatcher(CENTERS)
    assert set(follow(watcher, [(0, 0)] * 5 + [(1000, 0)] + [(0, 0)] * 20)) == {0}


def test_a_domain_that_is_left_for_several_in_turn_is_left():
    near = DomainWatcher(torch.tensor([[0.0, 0], [10, 0], [10.5, 0]]), momentum=0.0, patience=3)
    assert follow(near, [(0, 0), (10, 0), (10.5, 0), (10, 0)])[-2:] == [0, 1]


def test_somebody_who_knows_is_believed_until_it_is_clear_that_it_is_otherwise():
    watcher = DomainWatcher(CENTERS, momentum=0.5, patience=3)
    follow(watcher, [(0, 0)] * 3)
    watcher.reset_to(1)
    assert follow(watcher, [(10, 0)] * 5) == [1] * 5
    watcher.reset_to(2)
    actual = follow(watcher, [(10, 0)] * 9)
    assert actual[:3] == [2] * 3
    assert actual[-1] == 1


def test_between_two_domains_it_stays_where_it_is():
    generator = torch.Generator().manual_seed(0)
    noise = 5 + 0.3 * torch.randn(300, generator=generator)
    places = [(x, 0) for x in noise.tolist()]
    for begin, domain in ((0, 0), (10, 1)):
        watcher = DomainWatcher(CENTERS)
        assert set(follow(watcher, [(begin, 0), *places])) == {domain}


def test_faulty_features_are_named_and_forgotten():
    watcher = DomainWatcher(CENTERS)
    watcher(torch.tensor([1.0, 1.0]))
    before = watcher.recent.clone()
    for features in (torch.tensor([torch.nan, 0]), torch.zeros(3)):
        with pytest.raises(ValueError, match="expected 2 finite features of a frame, got"):
            watcher(features)
    assert torch.equal(watcher.recent, before)
    watcher.reset()
    assert watcher(torch.tensor([0.0, 9.0])) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"momentum": 1.0}, r"expected momentum within \[0, 1\), got 1.0"),
        ({"margin": 0.0}, r"expected margin within \(0, 1\], got 0.0"),
        ({"patience": 0}, "expected patience of at least 1, got 0"),
        ({"centers": torch.zeros(0, 2)}, r"expected centers of one domain or more, .*, got \[0, 2\]"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        DomainWatcher(**{"centers": CENTERS} | change)


def test_patience_and_momentum_are_counted_by_the_frame():
    watcher = DomainWatcher(CENTERS, momentum=0.0, patience=3)
    assert follow(watcher, [(0, 0), (10, 0), (10, 0), (10, 0), (0, 0), (0, 0), (0, 0)]) == [0, 0, 0, 1, 1, 1, 0]
    watcher = DomainWatcher(CENTERS, momentum=0.75, patience=1)
    follow(watcher, [(0, 0), (8, 0), (4, 4)])
    torch.testing.assert_close(watcher.recent, torch.tensor([0.75 * 0.25 * 8 + 0.25 * 4, 0.25 * 4]))


@pytest.mark.parametrize(("place", "domain"), [(5.1, 0), (5.5, 0), (5.8, 1)])
def test_clearly_nearer_is_by_the_margin(place, domain):
    """At 5.56 of 10, the distance to the other is 0.8 of that to the present one."""
    watcher = DomainWatcher(CENTERS, momentum=0.0, margin=0.8, patience=2)
    assert follow(watcher, [(0, 0), *[(place, 0)] * 5])[-1] == domain


@pytest.mark.parametrize("strange", [(10, 0), (0, 10), (1000, 1000), (-1e6, 3)])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.8, 0.9])
def test_one_strange_frame_changes_nothing(strange, momentum):
    watcher = DomainWatcher(CENTERS, momentum=momentum)
    assert set(follow(watcher, [(0, 0)] * 5 + [strange] + [(0, 0)] * 20)) == {0}


def test_faulty_features_do_not_interrupt_the_count():
    watcher = DomainWatcher(CENTERS, momentum=0.0, patience=3)
    assert follow(watcher, [(0, 0), (10, 0), (10, 0)]) == [0, 0, 0]
    for features in (torch.tensor([torch.nan, 0]), torch.tensor([0, torch.inf])):
        with pytest.raises(ValueError, match=r"got \[2\] with NaN or infinity"):
            watcher(features)
    assert watcher.domain == 0
    assert follow(watcher, [(10, 0)]) == [1]


def test_one_domain_is_always_it():
    watcher = DomainWatcher(CENTERS[:1])
    assert set(follow(watcher, [(0, 0), (1000, 3), (-5, 2)])) == {0}


def test_a_buffer_that_is_used_again_changes_no_memory():
    watcher, buffer = DomainWatcher(CENTERS, momentum=0.9), torch.zeros(2)
    watcher(buffer)
    buffer.fill_(7)
    assert watcher.recent.tolist() == [0, 0]
