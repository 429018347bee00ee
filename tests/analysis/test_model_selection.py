"""What scores select in a finished run."""

import csv
import math
import os

import pytest
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console

from lightning_edge.analysis.model_selection import Selection, selection_table, selections

ENTROPY, DENSITY, ACCURACY = "val_target/entropy", "val_target/density", "val_target/accuracy"
KEYS = (ENTROPY, DENSITY)


def write(path, rows, columns=("epoch", "step", *KEYS, ACCURACY)):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def test_each_score_selects_its_best_epoch(tmp_path):
    rows = [(0, 9, 0.1, 4.0, 0.5), (1, 19, 0.4, 3.0, 0.7), (2, 29, 0.3, 2.0, 0.9), (3, 39, 0.2, 1.0, 0.8)]
    write(tmp_path / "version_0/metrics.csv", rows)
    entropy, density = selections(tmp_path, KEYS, ACCURACY)
    assert entropy == Selection(ENTROPY, 1, 0.7, 0.8, 2, 0.9, pytest.approx(0.4), 4)
    assert density == Selection(DENSITY, 0, 0.5, 0.8, 2, 0.9, pytest.approx(-0.8), 4)


def test_the_first_of_equal_epochs_is_selected_as_the_checkpoint_keeps_it(tmp_path):
    rows = [(0, 9, 0.1, 1, 0.5), (1, 19, 0.4, 1, 0.7), (2, 29, 0.4, 1, 0.7)]
    write(tmp_path / "metrics.csv", rows)
    entropy, constant = selections(tmp_path, KEYS)
    assert (entropy.epoch, entropy.best_epoch, constant.epoch) == (1, 1, 0)
    assert math.isnan(constant.rank_correlation)


def test_nan_is_never_selected_and_an_unknown_accuracy_is_nan(tmp_path):
    rows = [(0, 9, "nan", "", 0.5), (1, 19, 0.2, "nan", "nan"), (2, 29, 0.1, "", 0.4), (3, 39, 0.0, "", "")]
    write(tmp_path / "metrics.csv", rows)
    entropy, nothing = selections(tmp_path, KEYS)
    assert entropy[:2] == (ENTROPY, 1)
    assert math.isnan(entropy.accuracy)
    assert entropy[3:6] == (0.4, 0, 0.5)
    assert math.isnan(entropy.rank_correlation)
    assert entropy.num_evaluations == 1
    assert nothing.epoch is None
    assert math.isnan(nothing.accuracy)
    assert nothing.num_evaluations == 0


def test_a_run_that_diverged_has_no_best_epoch(tmp_path):
    write(tmp_path / "metrics.csv", [(0, 9, 0.1, 1, "nan"), (1, 19, 0.2, 1, "nan")])
    selection = selections(tmp_path, KEYS)[0]
    assert (selection.epoch, selection.best_epoch) == (1, None)
    assert math.isnan(selection.last_accuracy)
    assert math.isnan(selection.best_accuracy)


def test_values_of_one_step_in_several_rows_are_one_evaluation(tmp_path):
    rows = [(0, 4, "", "", ""), (0, 9, 0.1, "", ""), ("", 9, "", 2, ""), (0, 9, "", "", 0.5), (1, 19, 0.2, 1, 0.6)]
    write(tmp_path / "metrics.csv", rows)
    entropy, density = selections(tmp_path, KEYS)
    assert (entropy.accuracy, density.accuracy) == (0.6, 0.5)
    assert entropy.num_evaluations == density.num_evaluations == 2


def test_the_later_value_of_a_repeated_step_counts(tmp_path):
    rows = [(0, 9, 0.1, 1, 0.5), (1, 19, 0.9, 1, 0.9), (2, 29, 0.2, 1, 0.6), (1, 19, 0.3, 1, 0.7), (2, 29, 0.2, 1, 0.6)]
    write(tmp_path / "metrics.csv", rows)
    selection = selections(tmp_path, [ENTROPY])[0]
    assert selection == Selection(ENTROPY, 1, 0.7, 0.6, 1, 0.7, pytest.approx(1), 3)


def test_the_last_epoch_is_that_of_the_highest_step(tmp_path):
    write(tmp_path / "metrics.csv", [(0, 9, 0.1, 1, 0.5), (2, 29, 0.4, 1, 0.6), (1, 19, 0.4, 1, 0.7)])
    selection = selections(tmp_path, [ENTROPY])[0]
    assert (selection.epoch, selection.last_accuracy) == (1, 0.6)


def test_another_accuracy_is_an_argument(tmp_path):
    columns = ("epoch", "step", ENTROPY, "val_target/miou")
    write(tmp_path / "metrics.csv", [(0, 9, 0.1, 0.3), (1, 19, 0.2, 0.4)], columns)
    assert selections(tmp_path, [ENTROPY], "val_target/miou")[0].accuracy == 0.4


def test_the_newest_table_counts(tmp_path):
    for name, accuracy, age in (("version_1", 0.1, 100), ("version_0", 0.9, 0)):
        write(tmp_path / name / "metrics.csv", [(0, 9, 1, 1, accuracy)])
        os.utime(tmp_path / name / "metrics.csv", (1e9 - age, 1e9 - age))
    assert selections(tmp_path, [ENTROPY])[0].accuracy == 0.9


def test_the_logger_of_lightning_is_read(tmp_path):
    logger = CSVLogger(tmp_path, name="run")
    for epoch, (score, accuracy) in enumerate([(0.1, 0.5), (0.3, 0.8), (0.2, 0.6)]):
        logger.log_metrics({"epoch": epoch, "train/loss": 1.0}, step=10 * epoch + 5)
        logger.log_metrics({"epoch": epoch, ENTROPY: score, ACCURACY: accuracy}, step=10 * epoch + 9)
        logger.save()
    assert selections(tmp_path, [ENTROPY]) == [Selection(ENTROPY, 1, 0.8, 0.6, 1, 0.8, pytest.approx(1), 3)]


def test_what_is_no_table_of_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected the folder of a run that wrote metrics\.csv, got "):
        selections(tmp_path, KEYS)
    path = tmp_path / "metrics.csv"
    path.touch()
    with pytest.raises(ValueError, match=r"expected a column epoch in .*metrics\.csv, got an empty file"):
        selections(tmp_path, KEYS)
    write(path, [(0, 9, 1)], ("epoch", "step", ENTROPY))
    with pytest.raises(ValueError, match=r"expected a column val_target/accuracy in .*, got epoch, step, val_target/e"):
        selections(tmp_path, [ENTROPY])
    with pytest.raises(ValueError, match="expected scores as a list of names, got 'val_target/entropy'"):
        selections(tmp_path, ENTROPY)
    write(path, [("", 9, 1, 1, 0.5)])
    with pytest.raises(ValueError, match="expected an epoch in each evaluation"):
        selections(tmp_path, KEYS)


@pytest.mark.parametrize("row", ["1,19,0.3", "1,x,0.3,1,0.5", "1,19,good,1,0.5", "1,19.5,0.3,1,0.5"])
def test_a_damaged_row_is_named(row, tmp_path):
    write(tmp_path / "metrics.csv", [(0, 9, 0.1, 1, 0.5)])
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write(row)
    with pytest.raises(ValueError, match=r"expected numbers in line 3 of .*metrics\.csv, got "):
        selections(tmp_path, KEYS)


def printed(table):
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    console.print(table)
    return [line.split() for line in console.export_text().splitlines()]


def test_the_table_of_one_run_and_of_several_seeds():
    first = Selection(ENTROPY, 1, 0.7, 0.6, 2, 0.8, 0.5, 3)
    second = Selection(ENTROPY, None, math.nan, 0.6, 2, 0.9, 1.0, 3)
    third = Selection(ENTROPY, 4, 0.8, 0.6, 2, 0.9, 1.0, 3)
    assert [ENTROPY, "1", "70.0", "60.0", "80.0", "0.50"] in printed(selection_table([[first]]))
    # Student's interval of two runs: 12.7 standard errors of 5 points
    row = [ENTROPY, "1,", "4", "75.0±63.5", "60.0±0.0", "85.0±63.5", "0.75"]
    assert row in printed(selection_table([[first], [third]]))
    assert [ENTROPY, "-", "nan", "60.0", "90.0", "1.00"] in printed(selection_table([[second]]))


def test_without_accuracies_the_table_has_the_epochs_only():
    one = Selection(ENTROPY, 7, math.nan, math.nan, None, math.nan, math.nan, 0)
    lines = printed(selection_table([[one]]))
    assert [ENTROPY, "7"] in lines
    assert ["score", "epoch"] in lines
    assert ["miou", "%", "on", "the", "target,", "selected"] in [
        line[:6] for line in printed(selection_table([[one._replace(best_accuracy=0.5)]], "miou"))
    ]


def test_runs_with_other_scores_are_refused():
    one, other = (Selection(key, 1, 0.7, 0.6, 2, 0.8, 0.5, 3) for key in KEYS)
    with pytest.raises(ValueError, match="expected one run or more with the same scores, got"):
        selection_table([[one], [other]])
    with pytest.raises(ValueError, match=r"expected one run or more with the same scores, got \[\]"):
        selection_table([])


def test_the_table_of_one_run_fits_80_columns(capsys):
    run = [Selection("target_free/deep_embedded_normalized", 199, 1.0, 1.0, 199, 1.0, -1.0, 200)]
    Console(width=80, soft_wrap=True).print(selection_table([run]))
    assert "…" not in capsys.readouterr().out
