"""When a stream is said to have come into another domain."""

import pytest
import torch

from lightning_edge.systems.domain_watcher import DomainWatcher

CENTERS = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])


def follow(watcher, places):
    return [watcher(torch.tensor([float(x), float(y)])) for x, y in places]


def test_the_first_frame_decides():
    assert DomainWatcher(CENTERS)(torch.tensor([9.0, 1.0])) == 1


def test_a_change_that_lasts_is_noticed():
    found = follow(DomainWatcher(CENTERS, momentum=0.5, patience=3), [(0, 0)] * 5 + [(10, 0)] * 8)
    assert found[:5] == [0] * 5
    first = found.index(1) - 5
    assert 2 <= first <= 5  # two frames of patience, and the mean must come over first
    assert set(found[5 + first :]) == {1}


def test_strange_frames_change_nothing():
    watcher = DomainWatcher(CENTERS, momentum=0.0, patience=3)
    assert set(follow(watcher, [(0, 0)] * 5 + [(10, 0)] * 2 + [(0, 0)] * 3 + [(10, 0)] * 2 + [(0, 0)])) == {0}
    assert follow(watcher, [(10, 0), (0, 10), (10, 0), (0, 10)]) == [0] * 4  # not the same one for long enough


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
