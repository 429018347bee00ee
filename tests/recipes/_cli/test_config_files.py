"""Configuration files on the command line: found, read in bounded time, and warned of where they undo something."""

import os
import time
from pathlib import Path

import pytest
import yaml
from outside import tiny

from recipes import accel
from recipes._cli.config_files import find_configs, read_config

HERE = Path("here.yaml")


def refusal(capsys, main, *args):
    """What a recipe writes when it refuses its arguments before anything else."""
    with pytest.raises(SystemExit, match="2"):
        main(list(args))
    [line] = capsys.readouterr().err.splitlines()
    return line.removeprefix("error: ")


def test_a_shipped_configuration_is_found_without_its_ending(capsys):
    for spelling in (["-c", "tiny_long"], ["--config=tiny_long"], ["-c", "tiny_long.yaml"]):
        with pytest.raises(SystemExit, match="0"):
            tiny.main(["fit", *spelling, "--print_config"])
        assert yaml.safe_load(capsys.readouterr().out)["trainer"]["max_epochs"] == 5


def test_one_that_does_not_exist_is_answered_with_those_that_do(capsys):
    shipped = {path.name for path in Path(accel.__file__).parent.glob("*.yaml")} - {"default.yaml"}
    said = refusal(capsys, accel.main, "fit", "-c", "lonk")
    assert set(said.partition("configurations are ")[2].split(", ")) == shipped
    assert len(shipped) > 5


def test_a_recipe_elsewhere_has_its_own_callbacks_only(capsys):
    with pytest.raises(SystemExit, match="0"):
        tiny.main(["fit", "--print_config"])
    [checkpoint] = yaml.safe_load(capsys.readouterr().out)["trainer"]["callbacks"]
    assert checkpoint["init_args"]["filename"] is None  # trainer.yaml names the one of our recipes "last"


def test_an_old_name_is_answered_with_the_new_one(capsys):
    for old in ("accel_camvid", "accel_camvid.yaml"):
        said = refusal(capsys, accel.main, "fit", "-c", old)
        assert said == f"there is no configuration {old} any more; it is now called camvid.yaml"


def test_the_configuration_of_another_recipe_is_left_to_that_one(tmp_path):
    assert find_configs(["sweep", "--config=theirs.yaml"], tmp_path / "x.yaml", is_of_this_recipe=False)[1:] == [
        "--config=theirs.yaml"
    ]


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
A_MILLION = "a: &a [1]\nb: &b [" + "*a," * 1000 + "]\nc: [" + "*b," * 1000 + "]\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "to be text in UTF-8, got byte 0xff at position 0"),
        ("name: café".encode("latin-1"), "to be text in UTF-8, got byte 0xe9 at position 9"),
        (LAUGHS.encode(), "got more once its aliases are replaced"),
        (A_MILLION.encode(), "got more once its aliases are replaced"),
        (b"trainer: &a {callbacks: *a}", "nested too deeply or contains itself"),
        (b"trainer: &a [*a]", "nested too deeply or contains itself"),
        (b"trainer: &a {<<: *a}", "nested too deeply or contains itself"),
        (b"[" * 100_000, "nested too deeply or contains itself"),
        (b"a: 1\n" * 100_000, "to be a configuration of at most 262,144 bytes"),
        (b"trainer: {max_epochs: 3", "got an error in line 1"),
        (b"trainer: !!python/object/apply:os.system [ls]", "got an error in line 1"),
        (b"trainer: *nothing", "got an error in line 1"),
        (b"trainer: {max_epochs: " + b"9" * 5000 + b"}", "got an error: "),
        (b"trainer: 2020-13-45", "got an error: "),
        (b"- trainer", "to contain options by name, such as `trainer:`, got a list"),
        (b"trainer", "to contain options by name, such as `trainer:`, got a str"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_faulty_configuration_is_refused_in_one_line_and_in_no_time(content, said, capsys):
    HERE.write_bytes(content)
    begin = time.process_time()
    for args in (["-c", "here.yaml"], ["--config=here.yaml"], ["--trainer=here.yaml"]):
        line = refusal(capsys, tiny.main, "fit", *args)
        assert "here.yaml" in line
        assert said in line
    assert time.process_time() - begin < 20  # without a bound some of them take hours


def test_what_is_no_file_is_refused_at_once(capsys):
    Path("folder").mkdir()
    os.mkfifo("pipe")
    assert refusal(capsys, tiny.main, "fit", "-c", "folder") == "expected folder to be a YAML file, got a folder"
    for args in (["-c", "pipe"], ["-c", "/dev/zero"]):
        assert refusal(capsys, tiny.main, "fit", *args).endswith("to be a YAML file, got a pipe or a device")
    Path("loop.yaml").symlink_to("loop.yaml")
    assert "loop.yaml" in refusal(capsys, tiny.main, "fit", "-c", "loop.yaml")


def test_every_shipped_configuration_is_within_the_bounds():
    for path in Path(accel.__file__).parents[1].rglob("*.yaml"):
        assert read_config(path)
