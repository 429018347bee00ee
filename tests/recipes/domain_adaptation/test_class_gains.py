"""What each way of adaptation gains for each class."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from texts_in_figures import beyond_the_edge, drawn_texts, overlapping

from recipes import domain_adaptation
from recipes._cli.run_record import metrics_of_finished
from recipes.domain_adaptation import _class_gains
from recipes.domain_adaptation._class_gains import class_scores, draw_gains, write_class_gains

OPTIONS = ("num_samples=[60,100]", "batch_size=8", "num_workers=0")
TESTS = {
    "source_only": [
        {"test_target/miou": 0.3, "test_target/iou_car": 0.5, "test/iou_car": 0.9, "test_target/iou_sky": 0.2},
        {"test_target/iou_car": 0.3, "test_target/iou_sky": 0.2},
    ],
    "dann": [
        {"test_target/iou_car": 0.6, "test_target/iou_sky": 0.1, "test_target/iou_pole": 0.4},
        {"test_target/iou_car": 0.2, "test_target/iou_sky": 0.4},
    ],
}


def test_gains_are_differences_with_the_same_seed():
    rows = class_scores(TESTS, "iou")
    gains = {(row.variant, row.seed, row.class_name): row.gain for row in rows}
    assert len(gains) == len(rows) == 9
    assert gains["dann", 0, "car"] == pytest.approx(10)
    assert gains["dann", 1, "car"] == pytest.approx(-10)
    assert gains["dann", 1, "sky"] == pytest.approx(20)
    assert gains["dann", 0, "pole"] is None
    assert gains["source_only", 0, "sky"] == 0
    assert {row.score for row in rows if row.variant == "source_only"} == {50, 20, 30}


def test_the_table_has_all_rows_and_the_picture_the_means(tmp_path, monkeypatch):
    drawn = []
    draw = _class_gains.draw_gains
    monkeypatch.setattr(_class_gains, "draw_gains", lambda *given: (drawn.append(given), draw(*given))[1])
    rows = class_scores(TESTS, "iou")
    write_class_gains(rows, "iou", tmp_path)
    table = list(csv.DictReader((tmp_path / "classes.csv").open()))
    assert [row["class_name"] for row in table] == [row.class_name for row in rows]
    ((gains, variants, classes, metric),) = drawn
    assert (variants, classes, metric) == (["dann"], ["car", "sky", "pole"], "iou")
    np.testing.assert_allclose(gains, [[0, 5, math.nan]], atol=1e-9)
    assert imread(tmp_path / "classes.png").ndim == 3


def test_without_a_baseline_there_is_a_table_only(tmp_path):
    write_class_gains(class_scores({"dann": TESTS["dann"]}, "iou"), "iou", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["classes.csv"]


def test_a_comparison_has_the_gain_of_each_class():
    sides = [f"--data.{side}.{option}" for side in ("source", "target") for option in OPTIONS]
    trial = ["--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1", "--data.batches_per_epoch=1", *sides]
    domain_adaptation.main(["compare", "--num_seeds=1", '--variants=["source_only","dann"]', *trial])
    folder = Path("runs/domain_adaptation_comparison")
    table = list(csv.DictReader((folder / "classes.csv").open()))
    assert {row["variant"] for row in table} == {"source_only", "dann"}
    for row in table:
        logged = metrics_of_finished(folder / f"seed_0/{row['variant']}_test")
        assert float(row["score"]) == pytest.approx(100 * logged[f"test_target/recall_{row['class_name']}"])
    assert imread(folder / "classes.png").ndim == 3


@pytest.mark.parametrize("num_classes", [2, 11, 40])
def test_the_texts_are_readable(num_classes, monkeypatch):
    gains = np.random.default_rng(0).normal(size=(5, num_classes)) * 20
    gains[0, 0] = np.nan
    names = [f"traffic_sign_{number}" for number in range(num_classes)]
    figure = draw_gains(gains, ["dann", "cdan", "mcd", "class_discrepancy", "dann_mean_teacher"], names, "recall")
    texts = drawn_texts(figure, monkeypatch)
    assert {"dann_mean_teacher", names[-1], "recall minus that of source_only, percentage points"} <= {
        text.get_text() for text in texts
    }
    assert not overlapping(texts)
    assert not beyond_the_edge(figure, texts)
