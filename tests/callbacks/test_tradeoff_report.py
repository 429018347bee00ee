import csv
import math
from collections import Counter

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from matplotlib.figure import Figure
from settings import make_accel, make_cityscapes, make_cityscapes_video, make_segmentation
from texts_in_figures import beyond_the_edge, drawn_texts, overlapping
from wandb_offline import read_offline_run

from callbacks import TradeoffReport
from callbacks._pictures.point_labels import PointLabel, label_points
from callbacks.tradeoff_report import draw_curve
from lightning_edge.analysis.tradeoff import TradeoffRow, read_rows
from lightning_edge.analysis.tradeoff_tables import print_intervals, print_variants


def fit(method, data, folder, logger, num_rounds=6, **report):
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=1,
        limit_val_batches=1,
        limit_test_batches=1,
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[TradeoffReport(num_rounds=num_rounds, **report)],
        log_every_n_steps=1,
    )
    trainer.fit(method, data)
    return trainer


def test_leaves_a_table_and_a_curve_in_the_folder_and_in_wandb(tmp_path, capsys):
    loggers = [CSVLogger(tmp_path), WandbLogger(save_dir=tmp_path, offline=True)]
    method = make_accel(19)
    trainer = fit(method, make_cityscapes_video(), tmp_path, loggers)
    loggers[1].experiment.finish()
    rows = read_rows(next(tmp_path.rglob("tradeoff.csv")))
    nets = {row.net: [r.interval for r in rows if r.net == row.net] for row in rows}
    assert nets == {"reference": [1], "update": [1], "copy": [1, 2, 3], "dff": [1, 2, 3], "accel": [1, 2, 3]}
    by_name = {(row.net, row.interval): row for row in rows}
    assert by_name["accel", 2].miou == pytest.approx(float(trainer.callback_metrics["val/miou"]), abs=1e-6)
    assert {by_name[net, 1].miou for net in ("copy", "dff", "accel")} == {by_name["reference", 1].miou}
    assert next(tmp_path.rglob("tradeoff.png")).stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "Deep Feature Flow" in printed
    history = read_offline_run(tmp_path)
    assert history.column("tradeoff/nrows") == [len(rows)]
    assert (history.files / history.column("tradeoff/path")[0]).exists()
    assert history.column("tradeoff_curve/_type") == ["image-file"]
    assert (history.files / history.column("tradeoff_curve/path")[0]).stat().st_size > 10_000


def test_reports_on_a_test_without_any_logger(tmp_path):
    trainer = fit(make_accel(19), make_cityscapes_video(), tmp_path, logger=False)
    (tmp_path / "tradeoff.csv").unlink()
    trainer.test(trainer.lightning_module, make_cityscapes_video(), verbose=False)
    with (tmp_path / "tradeoff.csv").open() as file:
        assert len(list(csv.reader(file))) == 1 + 2 + 3 * 3


def test_says_when_it_has_nothing_to_do(tmp_path):
    with pytest.warns(UserWarning, match="TradeoffReport has no effect: Segmentation does not compare video nets"):
        fit(make_segmentation(19), make_cityscapes(), tmp_path, logger=False)


def test_leaves_every_module_in_its_mode(tmp_path):
    method = make_accel(19)
    trainer = fit(method, make_cityscapes_video(), tmp_path, logger=False)
    method.train()
    method.net.reference.encoder.eval()  # batch statistics held, as in fine-tuning
    [report] = [callback for callback in trainer.callbacks if isinstance(callback, TradeoffReport)]
    report._latency(method, method, torch.rand(1, 2, 3, 64, 128))
    assert method.net.update.training
    assert not any(part.training for part in method.net.reference.encoder.modules())


def report_with(monkeypatch, tmp_path, key, **arguments):
    """Report after a fit in which a function runs in place of each timed key frame."""
    monkeypatch.setattr("callbacks.tradeoff_report.steps_to_time", lambda nets, frames: key_frames(nets, key))
    trainer = fit(make_accel(19), make_cityscapes_video(), tmp_path, logger=False, **arguments)
    return trainer, read_rows(tmp_path / "tradeoff.csv")


def key_frames(nets, key):
    return {name: step for net in nets for name, step in ((net, lambda: None), (f"{net} key", key))}


def test_accuracy_is_written_before_the_nets_are_timed(tmp_path, monkeypatch, capsys):
    seen = []

    def key():
        seen.append((read_rows(tmp_path / "tradeoff.csv"), capsys.readouterr().out))

    trainer, rows = report_with(monkeypatch, tmp_path, key)
    first_rows, first_lines = seen[0]
    assert "mIoU %, one key frame in 2: reference, every frame" in first_lines
    assert [row[:4] for row in first_rows] == [row[:4] for row in rows]
    assert all(math.isnan(row.mean_ms) for row in first_rows)
    assert not any(math.isnan(row.mean_ms) for row in rows)
    assert {row.interval: row.miou for row in first_rows if row.net == "accel"}[2] == pytest.approx(
        float(trainer.callback_metrics["val/miou"]), abs=1e-6
    )


def test_the_time_limit_ends_the_measurement(tmp_path, monkeypatch):
    now_s = iter(range(0, 10_000, 100))
    monkeypatch.setattr("callbacks.tradeoff_report.monotonic", lambda: next(now_s))
    calls = []
    with pytest.warns(
        UserWarning, match=r"No latency is reported because 6 rounds are needed, but only 2 were measured within"
    ):
        _, rows = report_with(monkeypatch, tmp_path, lambda: calls.append(1), time_limit_s=450)
    assert len(calls) == 5 * (3 + 2)  # five nets; three rounds of warm-up and two others begin within 450 s
    assert all(math.isnan(row.mean_ms) for row in rows)


@pytest.mark.parametrize(("num_rounds", "has_times"), [(4, False), (8, True)])
def test_ctrl_c_keeps_the_rounds_that_were_measured(num_rounds, has_times, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    calls = []

    def key():
        calls.append(1)
        if len(calls) == 5 * (3 + num_rounds) + 1:
            raise KeyboardInterrupt

    trainer, rows = report_with(monkeypatch, tmp_path, key, num_rounds=20)
    assert trainer.state.finished
    assert f"Latency measurement ended by Ctrl-C after {num_rounds} of 20 rounds." in caplog.text
    assert math.isnan(rows[0].mean_ms) is not has_times
    assert rows[0].miou >= 0


def test_progress_is_told(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    now_s = iter(range(0, 10_000, 6))
    monkeypatch.setattr("callbacks.tradeoff_report.monotonic", lambda: next(now_s))
    report_with(monkeypatch, tmp_path, lambda: None, time_limit_s=1000)
    assert "Measuring latency: round 3 of 6" in caplog.text


def test_a_limit_that_is_none_is_refused():
    for limit in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="time_limit_s"):
            TradeoffReport(time_limit_s=limit)


def curve_rows(nets, last_interval, ms_apart, miou_apart):
    """Nets whose curves lie so far apart, and two that see every frame."""
    single = [("reference", 10.5, 0.34), ("update", 4.2, 0.24)]
    rows = [TradeoffRow(net, 1, miou, miou, ms, math.nan, ms, 1, 1, 1) for net, ms, miou in single]
    for place, net in enumerate(nets):
        for interval in range(1, last_interval + 1):
            ms = (10.5 + (interval - 1) * (1 + ms_apart * place)) / interval
            miou = 0.34 - 0.006 * (interval - 1) + miou_apart * place
            rows.append(TradeoffRow(net, interval, miou, miou - 0.01, 10.5, 1.0, ms, 1, 1, 1))
    return rows


NETS = ("copy", "dff", "trained_dff", "accel")


@pytest.mark.parametrize("apart", [(1.6, 0.012), (0.15, 0.0008), (0.0, 0.0)], ids=["far", "near", "equal"])
@pytest.mark.parametrize(("last", "labels"), [(10, ["n=5", "n=10"]), (5, ["n=5"]), (3, ["n=3"])])
def test_labels_lie_on_neither_each_other_nor_points(last, labels, apart, monkeypatch):
    figure = draw_curve(curve_rows(NETS, last, *apart))
    texts = drawn_texts(figure, monkeypatch, dpi=150)
    assert overlapping(texts) == []
    assert beyond_the_edge(figure, texts) == []
    beside_points = [text for text in texts if text.get_text().startswith("n=")]
    assert Counter(text.get_text() for text in beside_points) == dict.fromkeys(labels, len(NETS))
    curve = figure.axes[0]
    points = np.concatenate([curve.transData.transform(line.get_xydata()) for line in curve.lines])
    for text in beside_points:
        box = text.get_window_extent()
        assert curve.bbox.contains(box.x0, box.y0)
        assert curve.bbox.contains(box.x1, box.y1)
        assert not any(box.contains(*point) for point in points)
        away_px = np.linalg.norm(np.array([box.x0 + box.width / 2, box.y0 + box.height / 2]) - point_of(text, curve))
        assert away_px < 150 / 72 * 60  # points: near enough to see which one is meant


def point_of(text, axes):
    return axes.transData.transform(text.xy)


def test_labels_have_the_color_of_their_curve():
    figure = draw_curve(curve_rows(NETS, 10, 0.15, 0.0008))
    curve = figure.axes[0]
    colors = {line.get_color() for line in curve.lines if len(line.get_xdata()) > 1}
    assert {text.get_color() for text in curve.texts} == colors
    assert len(colors) == len(NETS)


def test_a_label_without_room_is_left_out(monkeypatch):
    figure = Figure(figsize=(1, 1))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1])
    label_points(axes, [PointLabel("a long label", 0.5, 0.5, "red")] * 3)
    assert overlapping(drawn_texts(figure, monkeypatch)) == []
    assert len(axes.texts) < 3


def test_interval_over_seeds_is_students(capsys):
    runs = [[TradeoffRow("accel", 1, miou, miou, 2, 1, 2, 1, 1, 1)] for miou in (0.10, 0.20, 0.30)]
    print_intervals(runs)
    # sem of 10, 20, 30 is 5.77; the 97.5 % point of t with two degrees of freedom is 4.30
    assert "20.0±24.8" in capsys.readouterr().out


def variant_run(reference, dff, accel):
    nets = {"reference": reference, "dff": dff, "accel": accel}
    ones = [TradeoffRow(net, 1, reference, reference, 2, 1, 2, 1, 1, 1) for net in nets]
    fives = [TradeoffRow(net, 5, miou, miou - 0.01, 2, 1, 1, 0.4, 0.3, 0.5) for net, miou in nets.items()]
    return [*ones, *fives[1:]]


def test_variants_are_compared_by_pairs_of_one_seed(capsys):
    runs = [variant_run(0.40, 0.35, 0.38), variant_run(0.50, 0.45, 0.48), variant_run(0.60, 0.55, 0.58)]
    print_variants({"short_clips": runs, "scores": runs}, interval=5)
    [line] = [line for line in capsys.readouterr().out.splitlines() if "scores" in line]
    # sem of 40, 50, 60 is 5.77, of equal differences 0
    assert line.split() == [
        "scores",
        *(f"{mean}±24.8" for mean in ("50.0", "45.0", "48.0", "47.0")),
        "-2.0±0.0",
        "3.0±0.0",
        "0.40",
    ]


def test_variants_are_set_against_a_reference_that_learned_alone(capsys):
    alone = [variant_run(0.45, 0.35, 0.38), variant_run(0.55, 0.45, 0.48), variant_run(0.65, 0.55, 0.58)]
    runs = [variant_run(0.40, 0.35, 0.38), variant_run(0.50, 0.45, 0.48), variant_run(0.60, 0.55, 0.58)]
    print_variants({"branches": alone, "short_clips": runs}, interval=5, alone="branches")
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    [line] = [line for line in lines if "short_clips" in line]
    assert line.split()[-3:] == ["-7.0±0.0", "3.0±0.0", "0.40"]


def test_the_curve_names_intervals_and_keeps_noise_small():
    rows = [TradeoffRow("accel", n, 0.4 + 1e-5 * n, 0.4, 20, 5, 5 + 15 / n, 1, 1, 1) for n in range(1, 9)]
    curve, distance = draw_curve(rows).axes
    assert [text.get_text() for text in curve.texts] == ["n=5", "n=8"]
    for axes in (curve, distance):
        low, high = axes.get_ylim()
        assert high - low >= 1
        assert low < 40 < high


def test_rounds_must_be_some():
    with pytest.raises(ValueError, match="expected num_rounds of at least 6, to compute an interval, got 5"):
        TradeoffReport(num_rounds=5)
