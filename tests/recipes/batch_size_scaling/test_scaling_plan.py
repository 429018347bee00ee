"""Which runs a sweep consists of, and what is refused before any of them."""

import json
from pathlib import Path

import pytest
from small_sweep import small_plan

from recipes import batch_size_scaling
from recipes.batch_size_scaling._grid import largest_divisor
from recipes.batch_size_scaling._plan import PlannedRun, Setting, one_of_each_kind
from recipes.batch_size_scaling._plan_file import PLAN, read_plan, write_plan


def test_rules_scale_the_rate_and_share_runs_where_they_agree():
    plan = small_plan(lr_rules=("fixed", "linear", "sqrt", "lars", "tuned"), tuned_lrs=(0.1, 0.3))
    assert plan.settings("fixed", 1024) == [Setting(0.1)]
    assert plan.settings("linear", 1024) == [Setting(1.6, warms_up=True)]
    assert plan.settings("linear", 16) == [Setting(0.025)]
    assert plan.settings("sqrt", 1024) == [Setting(pytest.approx(0.4))]
    assert plan.settings("lars", 1024) == [Setting(32.0, warms_up=True, by_lars=True)]
    tuned = [Setting(0.1), Setting(1.6, warms_up=True), Setting(pytest.approx(0.4)), Setting(0.3)]
    assert plan.settings("tuned", 1024) == tuned  # those of the other rules, too, but for LARS
    at_base = {run.setting for run in plan.runs() if run.size == 64}
    assert at_base == {Setting(0.1), Setting(2.0, by_lars=True), Setting(0.3)}  # of five rules
    assert plan.runs()[0].size == 1024  # what is too large shows at once


def test_a_run_gets_its_batch_its_rate_and_its_length():
    plan = small_plan(sizes=(1000,), fractions=(0.5,))
    run = PlannedRun(0.5, 1000, Setting(1.6, warms_up=True), 1)
    arguments = plan.job(run, Path("here")).arguments
    assert {
        "--data.batch_size=250",
        "--trainer.accumulate_grad_batches=4",
        "--data.train_fraction=0.5",
        "--trainer.max_steps=10",
        "--model.optimizer.lr=1.6",
        "--model.schedule.power=0",
        "--model.schedule.warmup=0.1",
        "--seed_everything=1",
        "--data.seed=1",
    } <= set(arguments)
    assert plan.job(run, Path("here")).folder == Path("here/fraction_0.5/size_1000/lr_1.6_warmup/seed_1")
    assert [largest_divisor(*pair) for pair in ((64, 256), (1000, 256), (257, 256))] == [64, 250, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": ()}, "expected sizes of at least 1, got"),
        ({"sizes": (4, 4)}, r"expected sizes without duplicates, got \(4, 4\)"),
        ({"lr_rules": ("quick",)}, r"expected lr_rules among \['fixed', .* got \['quick'\]"),
        ({"lr_rules": ()}, "expected at least one rule in lr_rules, got none"),
        ({"lr_rules": ("tuned",)}, "expected tuned_lrs or other lr_rules for the rule tuned"),
        ({"num_seeds": 0}, "num_seeds of at least 1, got 0"),
        ({"fractions": (0.0,)}, r"fractions within \(0, 1\], got \(0.0,\)"),
        ({"max_examples": 100}, r"sizes of at most max_examples \(100\), got 1024"),
        ({"lr_rules": ("fixed", "fixed")}, "expected lr_rules without duplicates"),
        ({"tuned_lrs": (-0.1,)}, "tuned_lrs above 0"),
        ({"warmup_examples": 10_000, "lr_rules": ("linear",)}, r"below max_examples \(10000\), got 10000"),
        ({"warmup_examples": 10_000, "lr_rules": ("fixed", "lars")}, r"below max_examples \(10000\), got 10000"),
        ({"warmup_examples": -1, "lr_rules": ("fixed",)}, "warmup_examples of at least 0, got -1"),
        ({"sizes": (257,)}, r"multiples of at least half of it, got 257, whose largest possible part is 1"),
        ({"fit_arguments": ("--trainer.devices=2",)}, r"which the sweep sets, got \['--trainer.devices=2'\]"),
        ({"fit_arguments": ("--model.optimizer.lr=1",)}, r"which the sweep sets, got \['--model.optimizer.lr=1'\]"),
        (
            {"fit_arguments": ("--model.optimizer.init_args.lr=1",)},
            r"which the sweep sets, got \['--model.optimizer.init",
        ),
        (
            {"fit_arguments": ("--data.train_fraction=0.5",)},
            r"which the sweep sets, got \['--data.train_fraction=0.5'\]",
        ),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        small_plan(**changes)


def test_overrides_may_add_callbacks_and_name_what_only_sounds_alike():
    overrides = ("--trainer.callbacks+=Timer", "--model.net.model_options.seeded=1", "--model.optimizer=AdamW")
    plan = small_plan(lr_rules=("lars",), fit_arguments=overrides)
    arguments = list(plan.job(plan.runs()[0], Path("here")).arguments)
    places = [next(i for i, word in enumerate(arguments) if word.startswith(name)) for name in (
        "--model.optimizer=AdamW", "--model.optimizer=timm.optim.Lars", "--trainer.callbacks=", "--trainer.callbacks+=",
    )]  # fmt: skip
    assert places == sorted(places)  # the rule wins over the override, and the callbacks are kept


def test_one_run_of_each_kind_is_enough_to_know_what_a_recipe_refuses():
    plan = small_plan(lr_rules=("fixed", "linear", "lars"), fractions=(1.0, 0.5))
    runs = one_of_each_kind(plan)
    kinds = {(run.fraction, run.setting.by_lars, run.setting.warms_up) for run in runs}
    assert len(kinds) == len(runs) == 8
    assert runs[0].size == 1024
    assert len(one_of_each_kind(small_plan(lr_rules=("fixed",)))) == 1


def test_a_folder_keeps_what_earlier_sweeps_of_it_consist_of(tmp_path):
    (tmp_path / "fraction_1").mkdir()
    (tmp_path / "fraction_1" / "run.json").touch()
    write_plan(small_plan(sizes=(16, 64), num_seeds=3, lr_rules=("fixed", "sqrt")), tmp_path)
    write_plan(small_plan(sizes=(64, 256), num_seeds=1, lr_rules=("fixed", "linear"), fractions=(0.5,)), tmp_path)
    union = read_plan(tmp_path)
    assert union.sizes == (16, 64, 256)
    assert union.lr_rules == ("fixed", "sqrt", "linear")
    assert (union.num_seeds, union.fractions) == (3, (1.0, 0.5))


def test_a_folder_without_a_sweep_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected folder to have a sweep with the file sweep\.json"):
        batch_size_scaling.main(["analyze", f"--folder={tmp_path}"])
    (tmp_path / "sweep.json").write_text('{"recipe": "shi')
    with pytest.raises(ValueError, match=r"sweep\.json as `sweep` writes it"):
        batch_size_scaling.main(["analyze", f"--folder={tmp_path}"])


@pytest.mark.parametrize(
    "changes", [{"lr_rules": ("sqrt",)}, {"lr_rules": ("fixed",)}, {"lr_rules": ("linear",), "sizes": (64,)}]
)
def test_a_warm_up_that_no_run_has_may_be_of_any_length(changes):
    plan = small_plan(warmup_examples=10_000, **changes)
    assert not any(run.setting.warms_up for run in plan.runs())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 200_000, "values that are nested too deeply"),
        (b"[1]", "a list in place of an object"),
        (b"{}", "fields other than base_lr"),
        (b"sizes", "sizes 'all'"),
        (b"recipe", "recipe 5"),
    ],
    ids=["nested", "list", "empty", "sizes", "recipe"],
)
def test_a_damaged_plan_is_named(content, said, tmp_path):
    write_plan(small_plan(), tmp_path)
    changes = {b"sizes": {"sizes": "all"}, b"recipe": {"recipe": 5}}
    if content in changes:
        content = json.dumps(json.loads((tmp_path / PLAN).read_text()) | changes[content]).encode()
    (tmp_path / PLAN).write_bytes(content)
    with pytest.raises(ValueError, match=rf"expected .*{PLAN} as `sweep` writes it, got {said}"):
        read_plan(tmp_path)
