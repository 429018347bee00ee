"""The commands that fit several classifiers and set them side by side."""

import csv
from pathlib import Path

import pytest
from matplotlib.image import imread

from lightning_edge.analysis.intervals import mean_with_interval
from recipes import anodev2, shift
from recipes._experiments.figure import draw_comparison
from recipes.anodev2.compare import VARIANTS as EQUATIONS
from recipes.shift.compare import VARIANTS as SHIFTS

SMALL = [
    "--data.root=null",
    "--data.num_samples=[40,20]",
    "--data.batch_size=8",
    "--data.num_workers=0",
    "--trainer.max_epochs=2",
    "--trainer.callbacks=[{'class_path':'callbacks.LatencyMonitor','init_args':{'stages':['val'],'warmup_batches':1}}]",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def accuracies(folder):
    return [float(row["val/accuracy"]) for row in rows(next(folder.rglob("metrics.csv"))) if row["val/accuracy"]]


def test_every_variant_has_all_seeds_and_a_difference_by_seed(capsys):
    overrides = ["-c", "cifar10.yaml", *SMALL]
    call = ["compare", "--num_seeds=2", '--variants=["shift1","resnet1"]', *overrides]
    actual = shift.main(call).metrics
    folder = Path("runs/shift_comparison")
    last, best = {}, {}
    for name in ("shift1", "resnet1"):
        runs = [accuracies(folder / f"seed_{seed}" / name) for seed in (0, 1)]
        assert [len(run) for run in runs] == [2, 2]  # an accuracy for each epoch
        last[name], best[name] = [100 * run[-1] for run in runs], [100 * max(run) for run in runs]
    assert actual == pytest.approx({f"{name}_accuracy": sum(values) / 2 for name, values in last.items()})
    table = rows(folder / "comparison.csv")
    assert [(row["variant"], row["seed"]) for row in table] == [
        (name, f"seed_{seed}") for name in ("shift1", "resnet1") for seed in (0, 1)
    ]
    assert {row["num_parameters"] for row in table} == {"34906", "32396"}
    assert [float(row["last"]) for row in table] == pytest.approx(last["shift1"] + last["resnet1"])
    assert [float(row["best"]) for row in table] == pytest.approx(best["shift1"] + best["resnet1"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith(" resnet1 "))
    differences = [a - b for a, b in zip(last["resnet1"], last["shift1"], strict=True)]
    averages = [mean_with_interval(values) for values in (last["resnet1"], best["resnet1"], differences)]
    low, high = (f"{end(last['resnet1']):.1f}" for end in (min, max))
    assert line.split()[3:] == [averages[0], low, high, averages[1], averages[2]]
    assert imread(folder / "comparison.png").shape[1] == 840  # 7 inches
    (folder / "comparison.csv").unlink()
    assert shift.main(call).metrics == actual  # by the runs that are there
    assert len(rows(folder / "comparison.csv")) == 4


def test_the_picture_has_every_seed_and_the_mean():
    (axes,) = draw_comparison({"a": [70.0, 74.0], "b": [71.0]}).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert [list(line.get_xdata()) for line in axes.lines] == [[70, 74], [72, 72], [71], [71, 71]]
    assert axes.yaxis_inverted()
    low, high = axes.get_xlim()
    assert (low + high) / 2 == pytest.approx(72)
    assert high - low == pytest.approx(10)  # differences of chance stay small
    for values, limits in (([1.6, 3.5], (0, 10)), ([99.5, 99.7], (90, 100))):
        (axes,) = draw_comparison({"a": values}).axes
        assert axes.get_xlim() == pytest.approx(limits)
    (axes,) = draw_comparison({"a": [20.0, 70.0]}).axes
    low, high = axes.get_xlim()
    assert low < 20 < 70 < high < 75


def test_equations_are_compared():
    variants = ["baseline", "neural_ode_t", "anodev2_1", "anode_by_time"]
    overrides = ["-c", "cifar10.yaml", "--model.net.model=ode_resnet4", *SMALL, "--trainer.max_epochs=1"]
    actual = anodev2.main(["compare", "--num_seeds=1", f"--variants={variants}", *overrides]).metrics
    assert set(actual) == {f"{name}_accuracy" for name in variants}
    sizes = [row["num_parameters"] for row in rows(Path("runs/anodev2_comparison/comparison.csv"))]
    assert sizes == ["7706", "7850", "7714", "7706"]


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "variants"), [(shift, SHIFTS), (anodev2, EQUATIONS)])
def test_all_variants_run(recipe, variants):
    overrides = ["-c", "cifar10.yaml", *SMALL, "--trainer.max_epochs=1"]
    actual = recipe.main(["compare", "--num_seeds=1", *overrides]).metrics
    assert set(actual) == {f"{name}_accuracy" for name in variants}


def test_a_variant_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"expected variants among \['shift1', .*got \['shift2'\]"):
        shift.main(["compare", '--variants=["shift2"]'])


def test_a_stopped_run_goes_on_and_one_that_only_lacks_its_mark_is_used():
    overrides = ["-c", "cifar10.yaml", *SMALL]
    call = ["compare", "--num_seeds=1", '--variants=["shift1"]']
    actual = shift.main([*call, *overrides]).metrics
    folder = Path("runs/shift_comparison/seed_0/shift1")
    whole = accuracies(folder)
    (folder / "done.json").unlink()  # as if killed after its last checkpoint
    assert shift.main([*call, *overrides]).metrics == actual
    assert accuracies(folder) == whole


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variants=[]"], "expected variants among .*got none"),
        (["--model.net.model_options={}"], "without model_options, which the variants set, got .*model_options"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        shift.main(["compare", *arguments])


def test_runs_without_latency_monitor_are_named():
    overrides = ["-c", "cifar10.yaml", *SMALL, "--trainer.callbacks=[]", "--trainer.max_epochs=1"]
    with pytest.raises(ValueError, match="expected runs with a validation and the callback LatencyMonitor"):
        shift.main(["compare", "--num_seeds=1", '--variants=["shift1"]', *overrides])


def test_some_seeds_are_needed():
    with pytest.raises(ValueError, match="expected num_seeds of at least 1, got 0"):
        anodev2.main(["compare", "--num_seeds=0"])
