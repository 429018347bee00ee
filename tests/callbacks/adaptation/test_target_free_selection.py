"""The epochs that scores without labels of the target select."""

import pytest
from domain_pairs import fit, tiny_method
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from target_free_runs import (
    FITS,
    SCORES,
    Collected,
    fast_method,
    make_data,
    make_easy_data,
)

from callbacks.adaptation import TargetFreeScores


def selected(text):
    """Epoch, and accuracy of the selected, the last and the best epoch, by score."""
    rows = [line.split() for line in text.splitlines() if line.strip().startswith("target_free/")]
    return {row[0]: (int(row[1]), *row[2:5]) for row in rows}


class Accuracies(Callback):
    """Accuracy and scores of each validation."""

    def __init__(self):
        self.values = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            metrics = trainer.callback_metrics
            self.values.append({key: float(metrics[key]) for key in SCORES | {"val_target/accuracy"}})

    def expected(self):
        """The table by hand."""
        accuracies = [100 * values["val_target/accuracy"] for values in self.values]
        table = {}
        for key in SCORES:
            scores = [values[key] for values in self.values]
            epoch = scores.index(max(scores))
            table[key] = (epoch, *(f"{value:.1f}" for value in (accuracies[epoch], accuracies[-1], max(accuracies))))
        return table


@pytest.mark.parametrize("logger", ["csv", "none"])
def test_a_table_at_the_end_shows_what_each_score_selects(logger, tmp_path, capsys, quick):
    other = tmp_path / "version_7"  # a run in a folder nearby
    other.mkdir()
    (other / "metrics.csv").write_text("epoch,step\n0,1\n")
    values = Accuracies()
    loggers = [CSVLogger(tmp_path, "", version="run")] if logger == "csv" else False
    fit(fast_method(), make_easy_data(), TargetFreeScores(), values, logger=loggers, folder=tmp_path, **FITS)
    table = selected(capsys.readouterr().out)
    assert table == values.expected()
    assert len({row[0] for row in table.values()}) > 1  # epochs
    assert len({row[1] for row in table.values()}) > 1  # and accuracies


def test_the_table_of_a_resumed_run_has_all_epochs(tmp_path, capsys, quick):
    keep = ModelCheckpoint(tmp_path, filename="at_{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    values = Accuracies()
    fit(fast_method(), make_easy_data(), TargetFreeScores(), values, keep, enable_checkpointing=True, **FITS)
    whole = capsys.readouterr().out
    path = tmp_path / "at_epoch=1.ckpt"
    fit(fast_method(3), make_easy_data(), TargetFreeScores(), ckpt_path=path, num_sanity_val_steps=1, **FITS)
    assert selected(capsys.readouterr().out) == selected(whole) == values.expected()


def test_a_second_fit_has_a_table_of_its_own(capsys, quick):
    scores = TargetFreeScores()
    for epochs in (4, 2):
        values = Accuracies()
        fit(fast_method(), make_easy_data(), scores, values, **FITS | {"max_epochs": epochs})
        assert selected(capsys.readouterr().out) == values.expected()


def test_no_table_is_shown_without_validation_or_if_it_is_not_wanted(capsys, quick):
    fit(tiny_method(), make_data(), TargetFreeScores(show_table=False), limit_val_batches=1.0)
    fit(tiny_method(), make_data(), TargetFreeScores(), limit_val_batches=0)
    assert "target_free/" not in capsys.readouterr().out


def test_the_table_has_the_epochs_only_if_the_target_has_no_labels(capsys, quick):
    collected = Collected()
    scores = TargetFreeScores(accuracy="val_target/miou")
    fit(fast_method(), make_easy_data(), scores, collected, **FITS)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    entropies = [values["target_free/negative_entropy"] for values in collected.scores]
    assert ["target_free/negative_entropy", str(entropies.index(max(entropies)))] in lines
    assert ["score", "epoch"] in lines


def test_a_checkpoint_is_selected_by_a_score(tmp_path, quick):
    keep = ModelCheckpoint(tmp_path, monitor="target_free/information", mode="max", filename="{epoch}")
    collected = Collected()
    fit(fast_method(), make_data(), TargetFreeScores(), collected, keep, enable_checkpointing=True, **FITS)
    information = [scores["target_free/information"] for scores in collected.scores]
    best = information.index(max(information))
    assert best > 0
    assert [path.name for path in tmp_path.iterdir()] == [f"epoch={best}.ckpt"]
    assert float(keep.best_model_score) == pytest.approx(max(information))
