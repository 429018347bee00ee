"""The tables of shallow domain adaptation: every number is that of its method, and a stopped run continues."""

import csv
import re

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from lightning_edge.data import OfficeCaltechDataModule
from lightning_edge.shallow import (
    KLIEP,
    ULSIF,
    CorrelationAlignment,
    KernelMeanMatching,
    SubspaceAlignment,
    TransferComponentAnalysis,
)
from recipes import domain_adaptation
from recipes.domain_adaptation import shallow as command
from recipes.domain_adaptation._shallow_data import SAMPLE_SIZES, Domain, Pair, draw_labeled, parse_pairs
from recipes.domain_adaptation._shallow_methods import FEW_LABELS, MACHINES, NEIGHBORS
from recipes.domain_adaptation._shallow_tables import PUBLISHED, REMEASURED


@pytest.fixture(scope="module")
def dslr():
    return Domain(*OfficeCaltechDataModule("dslr", num_samples=SAMPLE_SIZES).arrays())


@pytest.fixture(scope="module")
def webcam():
    return Domain(*OfficeCaltechDataModule("webcam", num_samples=SAMPLE_SIZES).arrays())


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_tables_have_the_accuracies_of_the_methods(dslr, webcam, capsys, tmp_path):
    actual = command.shallow(None, tmp_path, ("NA", "TCA", "CORAL-LINEAR"), ("W-D", "D-W"), num_splits=2)
    neighbor, tca = (
        [100 * estimator.fit(*source, *rest).score(*target) for source, target, *rest in pairs]
        for estimator, pairs in (
            (KNeighborsClassifier(1), [(webcam, dslr), (dslr, webcam)]),
            (TransferComponentAnalysis(), [(webcam, dslr, dslr.features), (dslr, webcam, webcam.features)]),
        )
    )
    assert actual["NA"] == pytest.approx(np.mean(neighbor))
    assert actual["TCA"] == pytest.approx(np.mean(tca))
    table = rows(tmp_path / "full_source.csv")
    assert [(row["method"], row["source"], row["target"]) for row in table] == [
        ("NA", "W", "D"), ("TCA", "W", "D"), ("NA", "D", "W"), ("TCA", "D", "W"),
    ]  # fmt: skip
    assert [float(row["accuracy"]) for row in table] == pytest.approx([neighbor[0], tca[0], neighbor[1], tca[1]])
    few = rows(tmp_path / "few_labels.csv")
    assert [row["split"] for row in few] == ["0", "1", "0", "1"]
    assert actual["CORAL-LINEAR"] == pytest.approx(np.mean([float(row["accuracy"]) for row in few]))
    printed = capsys.readouterr().out
    assert re.search(rf"^ *W>D +{neighbor[0]:.1f} +{tca[0]:.1f} *$", printed, re.M)
    assert re.search(rf"^ *mean +{np.mean(neighbor):.1f} +{np.mean(tca):.1f} *$", printed, re.M)
    assert re.search(r"^ *mean +\d+\.\d±\d+\.\d *$", printed, re.M)
    assert "Accuracy %, 8 labeled source images a class, mean of 2 splits with 95 % interval" in printed
    assert "Most of the published gain of CORAL over NA, on the real SURF features, is" in " ".join(printed.split())
    assert "published " not in re.sub("the published", "", printed)  # generated features have no published figures


def test_a_stopped_run_continues_and_other_settings_start_again(tmp_path, monkeypatch):
    calls = []

    def counted(source, target, seed):
        calls.append(len(source.labels))
        return np.zeros(len(target), np.int64)

    monkeypatch.setattr(command, "FEW_LABELS", {"NA-RBF": counted})

    def run(**arguments):
        calls.clear()
        command.shallow(None, tmp_path, ("NA-RBF",), ("D-W",), **arguments)
        return list(calls)

    assert run(num_splits=2, images_per_class=3) == [30, 30]
    assert run(num_splits=3, images_per_class=3) == [30]
    assert run(num_splits=3, images_per_class=3) == []
    assert run(num_splits=1, images_per_class=4) == [40]
    assert len(rows(tmp_path / "few_labels.csv")) == 4


def test_features_of_a_folder_are_compared_with_published_means(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    for name in ("amazon", "Caltech10", "dslr", "webcam"):
        features, labels = rng.integers(0, 9, (40, 30)), np.arange(40) % 10 + 1
        np.savez(tmp_path / f"{name}_SURF_L10.npz", fts=features, labels=labels)
    command.shallow(tmp_path, tmp_path / "tables", ("NA", "GFK", "NA-RBF", "NA-LINEAR"), num_splits=1)
    printed = capsys.readouterr().out
    assert re.search(r"^ *published +31\.4 +43\.1 *$", printed, re.M)
    assert re.search(r"^ *measured again +31\.4 +44\.7 *$", printed, re.M)
    assert re.search(r"^ *published +37\.8 *$", printed, re.M)
    assert re.search(r"^ *measured again +38\.8 +44\.1 *$", printed, re.M)
    assert "20 labeled source images a class, one split" in printed
    positions = [printed.index(name) for name in ("C>A", "C>W", "C>D", "A>C", "A>W", "A>D", "W>C", "W>A", "W>D", "D>C")]
    assert positions == sorted(positions)


@pytest.mark.parametrize(("number", "has_references"), [(20, True), (3, False)])
def test_means_of_few_labels_are_compared_for_twenty_a_class_only(number, has_references, tmp_path, capsys):
    for name in ("amazon", "Caltech10", "dslr", "webcam"):
        np.savez(tmp_path / f"{name}_SURF_L10.npz", fts=np.eye(40), labels=np.arange(40) % 10 + 1)
    command.shallow(tmp_path, tmp_path / "tables", ("NA-RBF",), num_splits=1, images_per_class=number)
    assert ("measured again  " in capsys.readouterr().out) == has_references


def test_means_are_compared_for_all_pairs_only(tmp_path, capsys):
    for name in ("amazon", "Caltech10", "dslr", "webcam"):
        np.savez(tmp_path / f"{name}_SURF_L10.npz", fts=np.eye(20), labels=np.arange(20) % 10 + 1)
    command.shallow(tmp_path, tmp_path / "tables", ("NA",), ("A-W",))
    assert "measured again" not in capsys.readouterr().out


def test_every_reference_belongs_to_a_method():
    assert {*PUBLISHED, *REMEASURED} <= {*NEIGHBORS, *MACHINES, *FEW_LABELS}


def test_labeled_images_are_a_few_of_each_class(dslr):
    labeled = draw_labeled(dslr, 3, split=0)
    assert np.bincount(labeled.labels).tolist() == [3] * 10
    known = {row.tobytes(): label for row, label in zip(*dslr, strict=True)}
    assert all(known[row.tobytes()] == label for row, label in zip(*labeled, strict=True))
    assert np.array_equal(draw_labeled(dslr, 3, 0).features, labeled.features)
    assert not np.array_equal(draw_labeled(dslr, 3, 1).features, labeled.features)
    assert len(draw_labeled(dslr, 99, 0).labels) == len(dslr.labels)


def chosen_cost(estimator, source, seed):
    costs = {"C": [0.001, 0.01, 0.1, 1, 10, 100, 1000, 10_000]}
    return GridSearchCV(estimator, costs, cv=StratifiedKFold(2, shuffle=True, random_state=seed)).fit(*source)


def test_linear_and_gaussian_machines_are_those_of_scikit_learn(dslr, webcam):
    for name, estimator in (
        ("NA-LINEAR", SVC(kernel="linear")),
        ("NA-SVM", SVC(kernel="linear")),
        ("NA-RBF", SVC(kernel="rbf", gamma=1 / 800)),
    ):
        expected = chosen_cost(estimator, dslr, 1).predict(webcam.features)
        assert ({**MACHINES, **FEW_LABELS}[name](dslr, webcam.features, 1) == expected).mean() > 0.99


@pytest.mark.parametrize(("name", "kind"), [("CORAL-SVM", CorrelationAlignment), ("SA-LINEAR", SubspaceAlignment)])
def test_linear_machines_learn_from_the_aligned_source(name, kind, dslr, webcam):
    alignment = kind().fit(*dslr, webcam.features)
    aligned = Domain(alignment.transform_source(dslr.features), dslr.labels)
    expected = chosen_cost(SVC(kernel="linear"), aligned, 1).predict(alignment.transform(webcam.features))
    method = {**MACHINES, **FEW_LABELS}[name]
    assert (method(dslr, webcam.features, 1) == expected).mean() > 0.99
    unaligned = chosen_cost(SVC(kernel="linear"), dslr, 1).predict(webcam.features)
    assert (unaligned != expected).mean() > 0.02  # the comparison can fail


@pytest.mark.parametrize(
    ("name", "kind"), [("KMM-SVM", KernelMeanMatching), ("KLIEP-SVM", KLIEP), ("ULSIF-SVM", ULSIF)]
)
def test_weighted_machines_use_the_weights(name, kind, dslr, webcam):
    weights = kind().fit(*dslr, webcam.features).weights_
    cost = chosen_cost(SVC(kernel="linear"), dslr, 1).best_params_["C"]
    counts = weights > 0
    learned = SVC(kernel="linear", C=cost).fit(dslr.features[counts], dslr.labels[counts], weights[counts])
    assert np.array_equal(MACHINES[name](dslr, webcam.features, 1), learned.predict(webcam.features))
    assert np.ptp(weights) > 0.01 * weights.mean()


def test_neighbors_in_components_are_those_of_twenty_of_both_domains(dslr, webcam):
    both = np.concatenate([dslr.features, webcam.features])
    _, vectors = np.linalg.eigh(np.cov(both, rowvar=False))
    source, target = (features @ vectors[:, -20:] for features in (dslr.features, webcam.features))
    expected = KNeighborsClassifier(1).fit(source, dslr.labels).predict(target)
    assert np.array_equal(NEIGHBORS["PCA"](dslr, webcam.features, 0), expected)


def test_real_features_are_drawn_twenty_times(tmp_path, monkeypatch):
    for name in ("amazon", "Caltech10", "dslr", "webcam"):
        np.savez(tmp_path / f"{name}_SURF_L10.npz", fts=np.eye(250), labels=np.arange(250) % 10 + 1)
    sizes = []

    def counted(source, target, seed):
        sizes.append(len(source.labels))
        return np.zeros(len(target), np.int64)

    monkeypatch.setattr(command, "FEW_LABELS", {"NA-RBF": counted})
    command.shallow(tmp_path, tmp_path / "tables", ("NA-RBF",), ("A-W",))
    assert sizes == [200] * 20


def test_similarities_of_coral_are_aligned_on_one_side(dslr, webcam):
    matrix = CorrelationAlignment().fit(*dslr, webcam.features).source_projection_
    kernel = dslr.features @ matrix @ dslr.features.T
    expected = chosen_cost(SVC(kernel="precomputed"), Domain(kernel, dslr.labels), 0)
    similarities = (dslr.features @ matrix @ webcam.features.T).T
    assert np.array_equal(FEW_LABELS["CORAL-LINEAR"](dslr, webcam.features, 0), expected.predict(similarities))


@pytest.mark.parametrize("name", [*NEIGHBORS, *MACHINES, *FEW_LABELS])
def test_every_method_is_better_than_chance(name, dslr, webcam):
    method = {**NEIGHBORS, **MACHINES, **FEW_LABELS}[name]
    assert (method(dslr, webcam.features, 0) == webcam.labels).mean() > 0.2


def test_pairs_are_initials():
    assert parse_pairs(("A-W", "d-c")) == [Pair("A", "W"), Pair("D", "C")]
    assert str(Pair("A", "W")) == "A>W"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": ("NA", "XYZ")}, r"expected methods among \['NA', .*got \['XYZ'\]"),
        ({"methods": ()}, "expected methods as a list of names"),
        ({"pairs": ("A-A",)}, "expected pairs of two of the initials .*got 'A-A'"),
        ({"pairs": ("A-X",)}, "expected pairs .*got 'A-X'"),
        ({"pairs": ()}, "expected pairs as a list of names"),
        ({"num_splits": -1}, "num_splits of at least 1, got -1"),
        ({"images_per_class": 1}, "images_per_class of at least 2, got 1"),
        ({"pairs": ("A-W", "a-w")}, "expected each pair once, got 'a-w' twice"),
    ],
)
def test_mistakes_are_named(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        command.shallow(None, tmp_path, **arguments)


def test_a_foreign_table_is_not_overwritten(tmp_path):
    (tmp_path / "full_source.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"full_source.csv: expected a table of this command"):
        command.shallow(None, tmp_path, ("NA",), ("D-W",))
    assert (tmp_path / "full_source.csv").read_text() == "a,b\n1,2\n"


def test_the_command_line_takes_methods_and_pairs(tmp_path, capsys):
    run = domain_adaptation.main(["shallow", "--methods=[NA]", "--pairs=[D-W]", f"--folder={tmp_path}"])
    assert run.metrics.keys() == {"NA"}
    assert "D>W" in capsys.readouterr().out
