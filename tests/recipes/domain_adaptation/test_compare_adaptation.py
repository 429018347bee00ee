"""The comparison of ways of adaptation: its numbers are those of the runs, and the selected checkpoints are tested."""

import csv
import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from matplotlib.image import imread
from scipy.stats import spearmanr

import recipes
from lightning_edge.analysis.intervals import mean_with_interval
from lightning_edge.checkpoints import read_checkpoint
from lightning_edge.data import MNISTMDataModule
from lightning_edge.methods import Classification
from lightning_edge.metrics.adaptation.target_free_scores import KEYS
from lightning_edge.nn import DigitNet
from recipes import domain_adaptation
from recipes._cli.run_config import run_config
from recipes.domain_adaptation.compare import _FOR_IMAGES, VARIANTS

SMALL = [
    "--data.source.num_samples=[60,100]",
    "--data.target.num_samples=[60,100]",
    "--data.source.batch_size=6",
    "--data.target.batch_size=6",
    "--data.source.num_workers=0",
    "--data.target.num_workers=0",
    "--data.batches_per_epoch=10",
    "--model.net.width=4",
    "--model.optimizer.lr=0.01",
    "--trainer.max_epochs=3",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.logger=[{'class_path':'CSVLogger','init_args':{'save_dir':'runs','name':'adaptation'}}]",
]
NAMES = ("source_only", "oracle", "dann")
SELECT_BY = "negative_mmd"


def call(folder, *arguments, names=NAMES, num_seeds=2):
    variants = f"--variants={json.dumps(names)}"
    first = ["compare", f"--folder={folder}", f"--num_seeds={num_seeds}", f"--select_by={SELECT_BY}", variants]
    return domain_adaptation.main([*first, *SMALL, *arguments]).metrics


class Ran:
    def __init__(self, folder, metrics, out):
        self.folder, self.metrics, self.out = folder, metrics, out


def quick_scores(source_features, source_logits, source_labels, target_features, target_logits):
    """Numbers in place of the scores, which take seconds; their own tests have the real ones."""
    return {key: float((number * target_logits).sin().mean()) for number, key in enumerate(KEYS, 1)}


QUICK = ("callbacks.adaptation.target_free_scores.target_free_scores", quick_scores)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr(*QUICK)
        patch.setattr(
            "recipes.domain_adaptation.compare.Console",
            lambda: SimpleNamespace(print=lambda text, **_: lines.append(text)),
        )
        metrics = call(folder)
    return Ran(folder, metrics, lines)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def epochs_of(folder):
    """Scores and accuracy of each epoch of a run."""
    (table,) = folder.rglob("metrics.csv")
    return [row for row in rows(table) if row["val_target/accuracy"]]


def by_hand(folder, key):
    """Epoch and accuracies, in percent, that a score selects in a run."""
    epochs = epochs_of(folder)
    scores = [float(row[f"target_free/{key}"]) for row in epochs]
    accuracies = [100 * float(row["val_target/accuracy"]) for row in epochs]
    chosen = scores.index(max(scores))
    constant = len(set(scores)) == 1 or len(set(accuracies)) == 1
    rank = math.nan if constant else spearmanr(scores, accuracies)[0]
    return int(epochs[chosen]["epoch"]), accuracies[chosen], accuracies[-1], max(accuracies), rank


def test_the_table_of_all_runs_and_scores_is_that_of_their_metrics(ran):
    table = rows(ran.folder / "comparison.csv")
    assert [(row["variant"], int(row["seed"]), row["score"]) for row in table] == [
        (name, seed, key) for name in NAMES for seed in (0, 1) for key in KEYS
    ]
    for row in table:
        expected = by_hand(ran.folder / f"seed_{row['seed']}" / row["variant"], row["score"])
        actual = [float(row[name]) for name in ("epoch", "selected", "last", "best", "rank_correlation")]
        np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert len({row["epoch"] for row in table}) > 1
    for other in ("last", "best"):
        assert any(row["selected"] != row[other] for row in table)


def result_of_test(folder, name, seed):
    return json.loads((folder / f"seed_{seed}/{name}_test/done.json").read_text())


def accuracy_of(path, data):
    method = Classification.load_from_checkpoint(path, net=DigitNet(10, width=4)).eval()
    data.setup("test")
    with torch.no_grad():
        right = [method((batch["image"] / 255).float()).argmax(1) == batch["label"] for batch in data.test_dataloader()]
    return float(torch.cat(right).float().mean())


def test_the_selected_checkpoint_is_tested_and_not_the_last_one(ran):
    differ = 0
    for name in NAMES:
        for seed in (0, 1):
            folder = ran.folder / f"seed_{seed}" / name
            (best,), (last,) = folder.rglob("best.ckpt"), folder.rglob("last.ckpt")
            assert read_checkpoint(best, "best")["epoch"] == by_hand(folder, SELECT_BY)[0]
            assert read_checkpoint(last, "last")["epoch"] == 2
            data = MNISTMDataModule(num_samples=(60, 100), num_workers=0)
            accuracy, of_last = accuracy_of(best, data), accuracy_of(last, data)
            assert result_of_test(ran.folder, name, seed)["test_target/accuracy"] == pytest.approx(accuracy)
            differ += accuracy != of_last
    assert differ


def test_results_are_the_means_of_the_tests(ran):
    for name in NAMES:
        accuracies = [100 * result_of_test(ran.folder, name, seed)["test_target/accuracy"] for seed in (0, 1)]
        assert ran.metrics[f"{name}_accuracy"] == pytest.approx(sum(accuracies) / 2)
    assert imread(ran.folder / "comparison.png").shape[1] == 840


def cells(table):
    return [list(row) for row in zip(*(column.cells for column in table.columns), strict=True)]


def test_the_printed_table_has_paired_differences_and_the_accuracies_of_epochs(ran):
    table, _, files = ran.out
    assert files.startswith(f"Tables and pictures: {ran.folder}/comparison.csv")
    accuracies = {
        name: [100 * result_of_test(ran.folder, name, seed)["test_target/accuracy"] for seed in (0, 1)]
        for name in NAMES
    }
    for row, name in zip(cells(table), NAMES, strict=True):
        gains = [one - other for one, other in zip(accuracies[name], accuracies["source_only"], strict=True)]
        chosen = [by_hand(ran.folder / f"seed_{seed}" / name, SELECT_BY)[1:4] for seed in (0, 1)]
        epochs = [f"{np.mean(values):.1f}" for values in zip(*chosen, strict=True)]
        assert row == [name, mean_with_interval(accuracies[name]), mean_with_interval(gains), *epochs]


def test_the_table_of_scores_leaves_out_the_oracle_whose_source_is_the_target(ran):
    _, table, _ = ran.out
    assert "over 4 runs" in str(table.title)
    folders = [ran.folder / f"seed_{seed}" / name for name in ("source_only", "dann") for seed in (0, 1)]
    for row, key in zip(cells(table), KEYS, strict=True):
        results = [by_hand(folder, key) for folder in folders]
        lost = mean_with_interval([oracle - selected for _, selected, _, oracle, _ in results])
        ranks = [rank for *_, rank in results if not math.isnan(rank)]
        assert row == [key, lost, f"{np.mean(ranks):.2f}" if ranks else "-"]


def test_a_comparison_continues_without_repeating_runs_and_prints_no_table_of_a_run(ran, capsys, monkeypatch):
    monkeypatch.setattr(*QUICK)
    marks = {path: path.stat().st_mtime_ns for path in ran.folder.rglob("done.json")}
    assert len(marks) == 12
    csv_before = (ran.folder / "comparison.csv").read_bytes()
    (ran.folder / "comparison.csv").unlink()
    (ran.folder / "seed_1/dann_test/done.json").unlink()  # as if stopped
    assert call(ran.folder) == ran.metrics
    assert (ran.folder / "comparison.csv").read_bytes() == csv_before
    again = {path for path in ran.folder.rglob("done.json") if marks[path] != path.stat().st_mtime_ns}
    assert again == {ran.folder / "seed_1/dann_test/done.json"}
    out = capsys.readouterr().out
    assert "Test metric" not in out
    *tables, files = out.splitlines()
    assert str(ran.folder) in files  # as long as that path
    assert [line for line in tables if len(line) > 80] == []
    assert re.search(r"^ *dann ", out, re.M)


def test_the_oracle_is_trained_with_labels_of_the_target(ran):
    metrics = result_of_test(ran.folder, "oracle", 0)
    assert metrics["test/accuracy"] == metrics["test_target/accuracy"]
    assert metrics["test/loss"] == metrics["test_target/loss"]
    other = result_of_test(ran.folder, "source_only", 0)
    assert other["test/loss"] != other["test_target/loss"]


def test_variants_differ_by_their_callbacks_only(ran):
    folders = [ran.folder / f"seed_0/{name}" for name in ("source_only", "dann")]
    plain, adapted = (json.loads((folder / "run.json").read_text())["arguments"] for folder in folders)
    assert adapted == [*plain, "--trainer.callbacks+=DANN"]
    plain, adapted = (json.loads((folder / "done.json").read_text()) for folder in folders)
    assert adapted.keys() - plain.keys() == {"train/dann", "train/dann_accuracy"} & adapted.keys()
    assert "train/dann" in adapted
    assert plain["val_target/loss"] != adapted["val_target/loss"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (['--variants=["dan","dna"]'], r"expected variants among \['source_only', .*got \['dna'\]"),
        (["--variants=[]"], "expected variants among .*got none"),
        (["--select_by=miou"], r"expected select_by among \['source_accuracy', .*got 'miou'"),
        (["--num_seeds=0"], "expected num_seeds of at least 1, got 0"),
        (["--data.target=UnlabeledImagesDataModule"], "expected a target with labels.*got --data.target=Unlabeled"),
        (["--data.target.class_path=lightning_edge.data.UnlabeledImagesDataModule"], "expected a target with labels"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        domain_adaptation.main(["compare", *arguments])


def test_trainings_that_diverged_are_a_result(tmp_path, capsys):
    """The loss of one of them becomes NaN, and the callback of the other one refuses it."""
    arguments = ["--model.optimizer.lr=1e30", "--trainer.max_epochs=1"]
    metrics = call(tmp_path, *arguments, names=("source_only", "dann"), num_seeds=1)
    assert metrics == pytest.approx({"source_only_accuracy": math.nan, "dann_accuracy": math.nan}, nan_ok=True)
    assert result_of_test(tmp_path, "dann", 0) == result_of_test(tmp_path, "source_only", 0) == {}
    out = capsys.readouterr().out
    for name in ("source_only", "dann"):
        assert re.search(rf"^ *{name} +nan ", out, re.M)


STREETS = [
    "--data.source.sample_size=[64,96]",
    "--data.source.num_samples=[4,8]",
    "--data.source.batch_size=2",
    "--data.source.num_workers=0",
    "--data.source.train_transform=null",
]


@pytest.mark.slow
def test_another_recipe_is_compared_by_its_own_score(tmp_path, capsys):
    options = [*STREETS, *(option.replace("source", "target") for option in STREETS)]
    own = ["--recipe=segmentation", "--base=adapt_camvid.yaml", "--metric=miou", "--num_seeds=1"]
    own += [
        '--variants=["oracle","dann","fda_adaptsegnet_mean_teacher_mix"]',
        '--oracle_arguments=["--data.seed=3"]',
        f"--folder={tmp_path}",
    ]
    short = ["--trainer.max_epochs=2", "--trainer.check_val_every_n_epoch=1", "--data.batches_per_epoch=2"]
    root = ["--data.target.root=null", "--model.net.hidden_channels=8"]
    metrics = domain_adaptation.main(["compare", *own, *root, *options, *short]).metrics
    assert math.isfinite(metrics["fda_adaptsegnet_mean_teacher_mix_miou"])
    assert metrics["dann_miou"] == pytest.approx(100 * result_of_test(tmp_path, "dann", 0)["test_target/miou"])
    (table,) = (tmp_path / "seed_0/dann").rglob("metrics.csv")
    mious = [100 * float(row["val_target/miou"]) for row in rows(table) if row["val_target/miou"]]
    assert len(mious) == 2  # of the epochs that the command line asks for, and not those of the configuration
    (row,) = (row for row in rows(tmp_path / "comparison.csv") if (row["variant"], row["score"]) == ("dann", KEYS[0]))
    assert [float(row["last"]), float(row["best"])] == pytest.approx([mious[-1], max(mious)])
    out = capsys.readouterr().out
    assert "Test metric" not in out
    assert "target_free/" not in out  # the table of a run
    (config,) = (tmp_path / "seed_0/fda_adaptsegnet_mean_teacher_mix").rglob("config.yaml")
    config = yaml.safe_load(config.read_text())
    callbacks = {one["class_path"].rpartition(".")[2]: one.get("init_args") for one in config["trainer"]["callbacks"]}
    assert callbacks["MeanTeacher"]["mix"] is True
    assert {"FDA", "AdaptSegNet"} <= callbacks.keys()


@pytest.mark.slow
def test_a_detector_is_compared_by_its_own_score(tmp_path):
    base = Path(recipes.__file__).parent / "ddn/day_to_night.yaml"
    smoke = re.search(r"^# smoke: (.*)$", base.read_text(), re.M)[1].split()
    own = ["--recipe=ddn", "--base=day_to_night.yaml", "--metric=ap50", "--class_metric=ap", "--num_seeds=1"]
    variants = ['--variants=["source_only","dann","pseudo_boxes"]', f"--folder={tmp_path}"]
    domain_adaptation.main(["compare", *own, *variants, *smoke])
    done = [result_of_test(tmp_path, name, 0) for name in ("source_only", "dann", "pseudo_boxes")]
    assert all("test_target/ap50" in metrics for metrics in done)
    assert {row["score"] for row in rows(tmp_path / "comparison.csv")} == set(KEYS)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in _FOR_IMAGES if name not in NAMES])
def test_every_variant_trains(name, tmp_path):
    if name == "deepjdot":
        pytest.importorskip("ot")
    arguments = ["-c", "source_only.yaml", *SMALL, "--trainer.max_epochs=1", *VARIANTS[name]]
    metrics = run_config("domain_adaptation", arguments, tmp_path / "run")
    assert math.isfinite(metrics["train/loss"])
    terms = {key for key in metrics if key.startswith("train/")} - {"train/lr", "train/loss"}
    assert bool(terms) == (name not in ("fda", "backgrounds"))  # which change images, and have no term
