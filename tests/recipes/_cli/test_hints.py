"""Hints about refused arguments: each is followed, and works."""

import re
import shlex
from pathlib import Path

import pytest
from outside import tiny

from lightning_edge import data
from recipes import accel, ddn, segmentation, shift
from recipes._cli.messages import explain


def refusal(capsys, main, *args):
    with pytest.raises(SystemExit, match="2"):
        main(list(args))
    first, second = capsys.readouterr().err.splitlines()
    assert second.endswith("those of a class.")
    return first.removeprefix("error: ")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--data.batch_size=three", "expected data.batch_size as an int, got three"),
        ("--data.batch_size=1e1", "expected data.batch_size as an int, got 1e1"),
        ("--data.init_args.batch_size=1.5", "expected data.batch_size as an int, got 1.5"),
        ("--data.val_fraction=10%", "expected data.val_fraction as a float, got 10%"),
        ("--data.eval_batch_size=three", "expected data.eval_batch_size as an int, got three"),
        ("--data.num_samples=[200,x]", "expected each value of data.num_samples as an int, got x"),
        ("--trainer.max_epochs=ten", "expected trainer.max_epochs as an int, got ten"),
        ("--model.optimizer.lr=fast", "expected model.optimizer.lr as a float, got fast"),
        ("--model.schedule.warmup=x", "expected model.schedule.warmup as a float, got x"),
        ("--model.net.num_classes=x", "expected model.net.num_classes as an int, got x"),
    ],
)
def test_a_value_of_another_type_is_one_line(argument, said, capsys):
    assert refusal(capsys, shift.main, "fit", argument) == said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("data: {init_args: {count: three}}", "expected data.count as an int, got three"),
        ("model: {init_args: {net: {init_args: {num_classes: x}}}}", "expected model.net.num_classes as an int, got x"),
        ("trainer: {max_epochs: ten}", "expected trainer.max_epochs as an int, got ten"),
    ],
)
def test_so_is_one_in_a_configuration(content, said, capsys):
    Path("here.yaml").write_text(content)
    assert refusal(capsys, tiny.main, "fit", "-c", "here.yaml") == said


@pytest.mark.parametrize(
    ("main", "command", "argument", "value"),
    [
        (shift.main, "fit", "--data.num_samples", "200,40"),
        (shift.main, "fit", "--data.num_samples", "(200,40)"),
        (shift.main, "fit", "--data.num_samples", "[200,40,3]"),
        (shift.main, "fit", "--data.num_samples", "200"),
        (segmentation.main, "fit", "--data.sample_size", "64x128"),
        (accel.main, "fit", "--data.train_distances", "4, 5"),
        (accel.main, "keyframes", "--intervals", "5,10"),
        (shift.main, "compare", "--variants", "shift1,shift3"),
    ],
)
def test_a_hint_for_a_list_works_when_it_is_followed(main, command, argument, value, capsys):
    said = refusal(capsys, main, command, f"{argument}={value}")
    assert said.endswith(f", got {value.replace('[200,40,3]', '[200, 40, 3]')}")
    hint = re.search(r"such as (--\S+='\[.*?\]')", said)
    assert hint, said
    with pytest.raises(SystemExit, match="0"):
        main([command, *shlex.split(hint[1]), "--print_config"])


def test_a_list_that_cannot_be_mended_has_no_hint(capsys):
    assert (
        refusal(capsys, accel.main, "keyframes", "--intervals=5,x")
        == "expected intervals as a list in brackets, got 5,x"
    )


@pytest.mark.parametrize(("argument", "base"), [("--data", "DataModule"), ("--trainer.callbacks+", "")])
def test_a_class_that_does_not_exist_is_answered_with_those_of_its_kind(argument, base, capsys):
    said = refusal(capsys, shift.main, "fit", f"{argument}=NoSuchModule")
    assert said.startswith("'NoSuchModule' is neither a class of this library nor a dotted path to one")
    assert "Schedule" not in said
    suggested = re.findall(r"\w+", said.partition("; ")[2])[2:]
    assert all(hasattr(data, name) for name in suggested if base)
    assert "; did you mean 'FramesDataModule'?" in refusal(capsys, shift.main, "fit", "--data=FrameDataModule")
    assert "; did you mean 'DANN'?" in refusal(capsys, shift.main, "fit", "--trainer.callbacks+=DANNN")


def test_a_missing_value_is_named_as_it_is_typed(capsys):
    assert refusal(capsys, accel.main, "choose") == "--budget_ms is missing"
    assert refusal(capsys, accel.main, "choose", "--budget_ms=x") == "expected budget_ms as a float, got x"
    said = refusal(capsys, accel.main, "keyframes", "--net=foo")
    assert said == "expected net as one of 'accel', 'dff', 'copy', got foo"


@pytest.mark.parametrize(
    ("main", "arguments", "hint"),
    [
        (accel.main, ["--model.branch_share=1"], "'branch_share'; it is now called 'branch_stage_fraction'"),
        (
            tiny.main,
            ["--trainer.callbacks+=WarmStart", "--trainer.callbacks.init_args.begin_anew=[net]"],
            "'begin_anew'; it is now called 'exclude'",
        ),
        (ddn.main, ["--data.only={a: [b]}"], "'only.a'; it is now called 'keep_attributes'"),
        (
            segmentation.main,
            ["--data.train_transform=StreetAugmentation", "--data.train_transform.colour=1"],
            "'colour'; it is now called 'color'",
        ),
        (
            segmentation.main,
            ["--data.sample_domain=night"],
            "'sample_domain'; it is now called 'sample_domains', and takes a list",
        ),
        (segmentation.main, ["--data.num_sample_train=3"], "'num_sample_train'; use num_samples=[TRAIN,EVALUATION]"),
        (tiny.main, ["--rules=[fixed]"], "'rules'; the option of sweep is now called 'lr_rules'"),
        (tiny.main, ["--on=ray"], "'on'; the option of sweep is now called 'backend'"),
        (tiny.main, ["--overrides=[--data.count=3]"], "'overrides'; pass the options themselves"),
    ],
)
def test_an_argument_of_an_earlier_version_is_answered_with_its_new_name(main, arguments, hint, capsys):
    assert refusal(capsys, main, "fit", *arguments).endswith(hint)


@pytest.mark.parametrize("name", ["part", "only", "num_sample_val", "on", "overrides"])
def test_a_class_that_never_had_such_an_argument_is_answered_with_its_own(name, capsys):
    said = refusal(capsys, tiny.main, "fit", f"--data.{name}=1")
    assert said == f"outside.parts.TinyData has no argument {name!r}; it takes count, seed"


def test_so_is_an_unknown_argument_in_a_configuration(capsys):
    Path("here.yaml").write_text("data: {init_args: {number: 1}}")
    said = refusal(capsys, tiny.main, "fit", "-c", "here.yaml")
    assert said == "outside.parts.TinyData has no argument 'number'; it takes count, seed"


def test_an_argument_of_a_nested_class_is_answered_with_its_new_name(capsys):
    said = refusal(capsys, ddn.main, "fit", "--model.net.part=encoder")
    assert said == "lightning_edge.nn.DomainNet has no argument 'part'; it is now called 'submodule'"


@pytest.mark.parametrize("name", ["accel_log", "tiny"])
def test_other_messages_stay_as_they_are(name):
    assert explain(f"something about {name}", {}, ()) == f"something about {name}"


def test_choose_without_a_run_says_what_to_run_first():
    with pytest.raises(
        FileNotFoundError, match=r"no tradeoff.csv in runs/accel: run `python -m recipes.accel fit` first"
    ):
        accel.main(["choose", "--budget_ms=15"])


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--model.optimizer.lr=.nan", "expected model.optimizer.lr to be a number, got nan"),
        ("--model.optimizer.lr=.inf", "expected model.optimizer.lr to be finite and at least 0, got inf"),
        ("--model.optimizer.lr=-0.1", "expected model.optimizer.lr to be finite and at least 0, got -0.1"),
        ("--model.optimizer.momentum=-1.0", "expected model.optimizer.momentum to be finite and at least 0, got -1"),
        ("--model.scale=.nan", "expected model.scale to be a number, got nan"),
        ("--trainer.gradient_clip_val=.nan", "expected trainer.gradient_clip_val to be a number, got nan"),
        ("--trainer.devices=99999", "expected trainer.devices from 1 to"),
        ("--trainer.devices=two", "expected trainer.devices from 1 to"),
        ("--trainer.devices=0", "expected trainer.devices from 1 to"),
    ],
)
def test_numbers_that_no_training_survives_are_refused_before_anything_is_built(argument, said, monkeypatch):
    def build(self, *args):
        raise AssertionError("the data were built")

    monkeypatch.setattr("outside.parts.TinyData.__init__", build)
    with pytest.raises(ValueError, match=re.escape(said)):
        tiny.main(["fit", argument])
