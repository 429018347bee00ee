"""Options that a later configuration overrides or drops are named in a warning."""

import warnings
from pathlib import Path

import pytest
from outside import tiny

from recipes import accel, segmentation
from recipes._cli.overridden_options import dropped_options, undone_options

HERE = Path("here.yaml")


def test_a_configuration_that_undoes_options_before_it_is_warned_of():
    HERE.write_text(
        "trainer: {max_epochs: 5, precision: 32, callbacks: []}\n"
        "model: {init_args: {net: {init_args: {num_classes: 4}}}}\n"
        "data: {class_path: outside.parts.TinyData, init_args: {count: 6}}\n"
    )
    before = [
        "--trainer.max_epochs=1",
        "--trainer.precision=32",
        "--model.net.num_classes",
        "3",
        "--data=FramesDataModule",
        "--data.init_args.count=6",
        "--trainer.callbacks+=ModelCheckpoint",
        "--trainer.callbacks.monitor=x",
    ]
    [warning] = undone_options(["fit", *before, "-c", "here.yaml", "--trainer.max_steps=3"])
    assert warning.startswith("-c here.yaml overrides options that come before it: ")
    for change in (
        "trainer.max_epochs (1 becomes 5)",
        "model.net.num_classes (3 becomes 4)",
        "data (FramesDataModule becomes outside.parts.TinyData)",
        "trainer.callbacks (ModelCheckpoint becomes [])",
        "trainer.callbacks.monitor (x becomes [])",
    ):
        assert change in warning
    assert warning.count("becomes") == 5
    assert warning.endswith("Put -c first to keep them.")
    assert undone_options(["fit", "-c", "here.yaml", *before]) == []


@pytest.mark.parametrize(
    ("option", "config", "name", "change"),
    [
        ("--trainer.max_epochs=1", ["-c", "{trainer: {max_epochs: 5}}"], "-c", "trainer.max_epochs (1 becomes 5)"),
        ("--trainer.max_epochs=1", ["--trainer", "part.yaml"], "--trainer", "trainer.max_epochs (1 becomes 5)"),
        ("--trainer.max_epochs=1", ["--trainer=part.yaml"], "--trainer", "trainer.max_epochs (1 becomes 5)"),
    ],
)
def test_so_is_one_of_a_part_and_one_that_is_written_out(option, config, name, change):
    Path("part.yaml").write_text("max_epochs: 5\n")
    [warning] = undone_options(["fit", option, *config])
    assert change in warning
    assert warning.endswith(f"Put {name} first to keep them.")
    assert undone_options(["fit", *config, option]) == []
    assert undone_options(["fit", option, "-c", "{trainer: [}"]) == []


def test_so_is_one_that_brings_back_a_part_of_the_net():
    later = ["-c", "cityscapes_18.yaml", "--print_config"]
    for spelling in (["--model.net.update=null"], ["--model.net.update", "null"]):
        with (
            pytest.warns(UserWarning, match=r"model\.net\.update \(null becomes lightning_edge\.nn\.DeepLab\)"),
            pytest.raises(SystemExit, match="0"),
        ):
            accel.main(["fit", *spelling, *later])


@pytest.mark.parametrize(
    ("option", "content"),
    [
        ("--model.optimizer.lr=1e-3", "model: {init_args: {optimizer: {init_args: {lr: 0.001}}}}"),
        ("--trainer.logger=false", "trainer: {logger: false}"),
        ("--data=outside.parts.TinyData", "data: {class_path: TinyData}"),
        ("--data.size=[1,2]", "data: {init_args: {size: [1, 2]}}"),
        ("--data.root=null", "data: {init_args: {root: null}}"),
        ("--trainer.callbacks+=X", "trainer: {callbacks+: [Y]}"),
    ],
)
def test_one_that_says_the_same_is_not(option, content):
    HERE.write_text(content)
    assert undone_options(["fit", option, "-c", "here.yaml"]) == []


def test_the_warning_reaches_whoever_types(capsys):
    args = ["fit", "--trainer.max_epochs=1", "-c", "camvid.yaml", "--print_config"]
    with pytest.warns(UserWarning, match=r"trainer.max_epochs \(1 becomes \d+\)"), pytest.raises(SystemExit, match="0"):
        segmentation.main(args)


SGD = "model: {init_args: {optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.1}}}}"
ADAM = SGD.replace("SGD", "AdamW").replace("lr: 0.1", "amsgrad: true")
WEIGHT_DECAY = SGD.replace("lr", "weight_decay")
PLAIN_ADAM = SGD.replace("SGD", "AdamW")
DROPPED = "drops options that come before it: model.optimizer.amsgrad ({}), which torch.optim.SGD does not have."


@pytest.fixture
def configurations():
    """Two that name one class of optimizer each, with an option that the other class lacks or that both have."""
    Path("sgd.yaml").write_text(SGD)
    Path("adam.yaml").write_text(ADAM)


@pytest.mark.usefixtures("configurations")
def test_options_that_a_new_class_does_not_have_are_named_where_a_recipe_runs():
    """SGD has a weight decay too, and nobody typed the betas of the recipe's AdamW."""
    typed = ["--model.optimizer.amsgrad=true", "--model.optimizer.weight_decay=0.5", "--data.root=no_such_folder"]
    always = warnings.catch_warnings(record=True, action="always")
    with always as record, pytest.raises(FileNotFoundError, match="no_such_folder"):
        segmentation.main(["fit", *typed, "-c", "sgd.yaml"])
    [warning] = [text for item in record if "drops" in (text := str(item.message))]
    assert warning == f"-c sgd.yaml {DROPPED.format('true')}"


@pytest.mark.usefixtures("configurations")
def test_so_are_options_that_the_class_had_lost_when_it_came_back():
    """AdamW has a weight decay too, which is kept."""
    Path("plain.yaml").write_text(PLAIN_ADAM)
    typed = ["--model.optimizer=SGD", "--model.optimizer.momentum=0.9", "--model.optimizer.weight_decay=0.5"]
    always = warnings.catch_warnings(record=True, action="always")
    with always as record, pytest.raises(FileNotFoundError, match="no_such_folder"):
        segmentation.main(["fit", *typed, "--data.root=no_such_folder", "-c", "plain.yaml", "-c", "sgd.yaml"])
    [warning] = [text for item in record if "drops" in (text := str(item.message))]
    assert warning == (
        "-c plain.yaml drops options that come before it: model.optimizer.momentum (0.9 becomes 0.0), because "
        "model.optimizer became torch.optim.AdamW."
    )


SGD_IS_PARSED = {
    "model": {
        "class_path": "lightning_edge.methods.Segmentation",
        "init_args": {
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "weight_decay": 0.0}},
            "net": {"class_path": "Net", "init_args": {"options": None, "size": 3}, "dict_kwargs": {"depth": 2}},
        },
    },
    "trainer": {"callbacks": []},
}


@pytest.mark.usefixtures("configurations")
@pytest.mark.parametrize(
    ("args", "warning"),
    [
        (["-c", "adam.yaml", "-c", "sgd.yaml"], f"-c sgd.yaml {DROPPED.format('True')}"),
        (["-c", ADAM, "-c", "sgd.yaml"], f"-c sgd.yaml {DROPPED.format('True')}"),
        (["-c", "adam.yaml", "-c", "sgd.yaml", "-c", SGD], f"-c sgd.yaml {DROPPED.format('True')}"),
        (
            ["--model.optimizer.amsgrad", "true", "-c", "adam.yaml", "-c", "sgd.yaml"],
            f"-c sgd.yaml {DROPPED.format('True')}",
        ),
        (
            ["--model.optimizer.amsgrad=true", "--model.optimizer=SGD"],
            f"--model.optimizer SGD {DROPPED.format('true')}",
        ),
        (
            ["-c", "adam.yaml", "--model.optimizer.amsgrad=true", "--model.optimizer=SGD"],
            f"--model.optimizer SGD {DROPPED.format('true')}",
        ),
        (
            [f"--model.optimizer.amsgrad={'x' * 61}", "-c", "sgd.yaml"],
            f"-c sgd.yaml {DROPPED.format('x' * 60 + '…')}",
        ),
        (
            ["--model.optimizer.amsgrad=true", "-c", SGD],
            f"-c {SGD[:60]}… {DROPPED.format('true')}",
        ),
    ],
)
def test_the_first_configuration_or_option_after_which_the_class_stayed_is_named(args, warning):
    assert dropped_options(["fit", *args], SGD_IS_PARSED) == [warning]


def test_so_is_an_option_within_a_class_that_was_another_one_in_between():
    other, back = "{model: {class_path: Other}}", "{model: {class_path: Segmentation}}"
    [warning] = dropped_options(["fit", "--model.net.size=4", "-c", other, "-c", back], SGD_IS_PARSED)
    assert warning == (
        f"-c {other} drops options that come before it: model.net.size (4 becomes 3), because model became Other."
    )


@pytest.mark.usefixtures("configurations")
@pytest.mark.parametrize(
    "args",
    [
        ["-c", "sgd.yaml", "--model.optimizer.lr=1"],
        ["-c", "adam.yaml", "--model.optimizer=SGD"],  # whoever types a class means all of it
        ["-c", WEIGHT_DECAY, "--model.optimizer=RMSprop", "--model.optimizer=SGD"],
        ["--model.optimizer.weight_decay=0", "-c", "sgd.yaml"],
        ["--model.net.depth=2", "-c", "{model: {init_args: {net: {class_path: Net}}}}"],
        ["--model.net.options.depth=2", "-c", "{model: {init_args: {net: {class_path: Net}}}}"],  # of a null
        ["--trainer.callbacks+=Timer", "--trainer.callbacks.duration=1", "-c", "{trainer: {callbacks: []}}"],
        ["--folder=here", "-c", "sgd.yaml"],  # an option of the command
        ["--model.optimizer.weight_decay=0", "-c", PLAIN_ADAM, "-c", "sgd.yaml"],  # is an option of both
        ["--model.optimizer.lr=1", "-c", PLAIN_ADAM, "-c", "sgd.yaml"],  # is overridden, which has a warning of its own
        ["--model.net=outside.Net", "-c", "{model: {class_path: Other}}", "-c", "{model: {class_path: Segmentation}}"],
        ["--model.net.size=4", "-c", "{model: {init_args: {net: {class_path: Net}}}}"],  # always of this class
    ],
)
def test_options_that_are_kept_or_replaced_on_purpose_are_not_named(args):
    assert dropped_options(["fit", *args], SGD_IS_PARSED) == []


@pytest.mark.parametrize("value", [3, 7])
def test_a_number_that_the_data_replace_is_named(value):
    arguments = ["fit", "--trainer.max_epochs=1", f"--model.net.num_classes={value}", "--trainer.logger=false"]
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        tiny.main(arguments)
    texts = [str(warning.message) for warning in shown if "in place of" in str(warning.message)]
    name = "model.init_args.net.init_args.num_classes"
    assert texts == ([] if value == 3 else [f"{name} is 3, as in the data (data.num_classes), in place of 7."])
