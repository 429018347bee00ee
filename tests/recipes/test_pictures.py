"""Texts of the recipes' pictures can be read: none lies on another or is cut off."""

import math

import pytest
from scaling_runs import make_run, steps_of
from small_sweep import results
from texts_in_figures import beyond_the_edge, drawn_texts, overlapping

from recipes._experiments.figure import draw_comparison
from recipes.batch_size_scaling._figure import draw_results
from recipes.ddn._stream_report import StreamScore, draw_stream


def check(figure, monkeypatch):
    texts = drawn_texts(figure, monkeypatch, dpi=120)
    assert overlapping(texts) == []
    assert beyond_the_edge(figure, texts) == []
    return [text.get_text() for text in texts]


@pytest.mark.parametrize("num_variants", [1, 20])
def test_comparisons_of_many_long_names(num_variants, monkeypatch):
    names = [f"anodev2_{number}_by_time, 123,456,789 parameters" for number in range(num_variants)]
    accuracies = {name: [40.0 + 13 * number, 41.7, 59.9] for number, name in enumerate(names)}
    assert set(names) <= set(check(draw_comparison(accuracies), monkeypatch))


@pytest.mark.parametrize(
    "domains",
    [
        ("day", "night", "rain"),
        ("daytime partly cloudy", "dawn/dusk foggy", "night rainy", "undefined", "daytime clear", "night"),
    ],
)
def test_streams_through_many_domains_name_each(domains, monkeypatch):
    frames = range(0, 60 * len(domains), 10)
    nets = ("static", "domain_known", "domain_detected")
    scores = [StreamScore(net, frame, float(frame % 50)) for net in nets for frame in frames]
    shown = check(draw_stream(scores, domains, 60), monkeypatch)
    assert {*domains, "static", "domain known", "domain detected"} <= set(shown)


@pytest.mark.parametrize(
    "sizes",
    [
        (4, 8),
        (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192),
        (65_536, 98_304, 131_072, 196_608, 262_144, 393_216, 524_288, 786_432, 1_048_576),
    ],
)
def test_sweeps_over_many_sizes(sizes, tmp_path, monkeypatch):
    def make(planned):
        budget = 300 if planned.size == sizes[0] else math.inf
        return make_run(planned.size, steps_of(planned.size) * (1 + planned.setting.learning_rate), budget)

    changes = {"sizes": sizes, "base_size": sizes[0], "micro_batch_size": sizes[-1], "tuned_lrs": (0.1, 0.2)}
    actual = results(tmp_path, make, lr_rules=("fixed", "linear", "sqrt", "tuned"), max_examples=2**21, **changes)
    shown = check(draw_results(actual), monkeypatch)
    for name in ("fixed", "linear", "sqrt", "tuned", "fit", "not reached", "95 % interval"):
        assert shown.count(name) == 1  # in one legend for all plots
    first, last = str(sizes[0]), str(sizes[-1])
    assert shown.count(first) >= 6
    assert shown.count(last) >= 6 or len(sizes) > 2


def test_a_legend_of_a_plot_hides_no_rule(tmp_path, monkeypatch):
    actual = results(tmp_path, lr_rules=("fixed", "linear"), make=lambda run: make_run(run.size, steps_of(run.size)))
    figure = draw_results(actual)
    check(figure, monkeypatch)
    for axis in figure.axes:
        legend = axis.get_legend()
        names = [text.get_text() for text in legend.get_texts()] if legend else []
        assert not {"fixed", "linear"} & set(names)
    (legend,) = figure.legends
    lowest = min(axis.get_tightbbox().y0 for axis in figure.axes)
    assert legend.get_window_extent().y1 <= lowest + 1
