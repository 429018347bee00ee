"""Every configuration, and every command and Python example in the texts, does what it says."""

import importlib
import re
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from recipes._cli.command_line import list_recipes

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "recipes").glob("[!_]*/*.yaml"))
TEXTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


class Header(NamedTuple):
    """The five lines that open a configuration."""

    paper: str
    command: str
    time: str
    expected: str
    smoke: str


def read_header(config: Path) -> Header:
    lines = config.read_text(encoding="utf-8").splitlines()[:5]
    assert len(lines) == 5
    assert all(line.startswith("# ") for line in lines), f"{config.name}: expected five lines of comment, got {lines}"
    return Header(*(line.removeprefix("# ") for line in lines))


def recipe_calls(text: str) -> list[tuple[str, list[str]]]:
    """Recipe and arguments of each recipe command in shell lines; a chain with && counts link by link."""
    calls = []
    for line in text.replace("\\\n", " ").splitlines():
        for link in line.removeprefix("$ ").split("&&"):
            words = shlex.split(link, comments=True)
            if words[:2] == ["python", "-m"] and words[2:] and words[2].split(".")[0] == "recipes":
                calls.append((words[2].partition(".")[2], words[3:]))
            elif words[:1] == ["lightning-edge"]:
                calls.append((words[1] if len(words) > 1 else "", words[2:]))
    return calls


def config_name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def examples(path: Path) -> list[tuple[str, str]]:
    """Language and text of the blocks of a text that are run."""
    actual = re.findall(r"^```(\w+)\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
    return [(language, block) for language, block in actual if language in ("python", "bash")]


WITHOUT_TRAINING = ("choose", "shallow", "taxonomy")
"""Commands that take no arguments of a configuration."""


def smoke_arguments(recipe: str, args: list[str]) -> list[str]:
    """What shrinks a call to a step: the smoke line of the configuration that it uses.

    Arguments of the configuration's data module are left out where the call names another one.
    """
    if not args or "--help" in args or args[0] in WITHOUT_TRAINING:
        return []
    named = [word for word in args if word.endswith(".yaml")]
    owner = next((word.removeprefix("--recipe=") for word in args if named and word.startswith("--recipe=")), recipe)
    config = ROOT / "recipes" / owner / (Path(named[-1].removeprefix("--config=")).name if named else "default.yaml")
    words = shlex.split(read_header(config).smoke.removeprefix("smoke:"))
    names_data = any(word.partition("=")[0] == "--data" for word in args)
    return [word for word in words if not (names_data and word.startswith("--data."))]


def call(recipe: str, args: list[str]) -> None:
    if not recipe:
        assert list_recipes()
        return
    try:
        importlib.import_module(f"recipes.{recipe}").main([*args, *smoke_arguments(recipe, args)])
    except SystemExit as stop:
        if stop.code:
            pytest.fail(f"recipes.{recipe} {shlex.join(args)} ended with {stop.code}")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setattr(sys, "argv", ["a recipe"])


def test_there_is_a_readme():
    assert ROOT / "README.md" in TEXTS


def test_every_configuration_is_enrolled():
    committed = set((ROOT / "recipes").rglob("*.y*ml")) - {ROOT / "recipes/_cli/trainer.yaml"}  # a part of all
    assert committed == set(CONFIGS)
    assert committed


@pytest.mark.parametrize("config", CONFIGS, ids=config_name)
def test_a_configuration_opens_with_its_five_lines(config):
    header = read_header(config)
    assert re.search(r"arXiv:\d{4}\.\d{5}", header.paper)
    [(recipe, args)] = recipe_calls(header.command)
    assert config.parent.name == recipe
    assert is_default(config) or any(word.endswith(config.name) for word in args)
    assert header.time.startswith("time: ")
    assert header.expected.startswith("expected: ")
    assert re.search(r"\d|not measured yet", header.expected)
    assert header.smoke.startswith("smoke:")


def is_default(config: Path) -> bool:
    """Whether a recipe takes it unless another one is named."""
    return config.stem == "default"


@pytest.mark.parametrize("config", [path for path in CONFIGS if not is_default(path)], ids=config_name)
def test_a_configuration_is_understood(config, capsys):
    [(recipe, args)] = recipe_calls(read_header(config).command)
    call(recipe, [args[0], "--print_config", *args[1:]])
    assert "class_path" in capsys.readouterr().out


@pytest.mark.parametrize(
    "config",
    [path if is_default(path) else pytest.param(path, marks=pytest.mark.slow) for path in CONFIGS],
    ids=config_name,
)
def test_a_configuration_runs_a_step(config, tmp_path):
    [(recipe, args)] = recipe_calls(read_header(config).command)
    call(recipe, args)
    assert {path.name for path in tmp_path.iterdir()} <= {"runs"}


def trains(config: Path) -> bool:
    """Whether its recipe trains a model; others have commands only."""
    return "\nmodel:" in config.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "config",
    [
        path if path.parent.name == "shift" else pytest.param(path, marks=pytest.mark.slow)
        for path in CONFIGS
        if is_default(path) and trains(path)
    ],
    ids=config_name,
)
def test_a_recipe_runs_a_step_without_loggers(config, tmp_path):
    [(recipe, args)] = recipe_calls(read_header(config).command)
    call(recipe, [*args, "--trainer.logger=false"])
    assert {path.name for path in tmp_path.iterdir()} <= {"lightning_logs"}


LONG_TEXTS = (
    "batch_size_scaling",
    "domain_adaptation",
    "domains",
    "own_data",
    "own_method",
    "prediction",
    "quick_start",
    "wandb",
)
"""Those whose examples the default run leaves out."""


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.slow) if path.stem in LONG_TEXTS else path
        for path in TEXTS
        if examples(path)
    ],
    ids=lambda path: path.stem,
)
@pytest.mark.filterwarnings("error:Found .* in eval mode at the start of training")
def test_the_examples_of_a_text_run_one_after_the_other(path, monkeypatch):
    monkeypatch.setenv("PL_TRAINER_LIMIT_TRAIN_BATCHES", "1")
    monkeypatch.setenv("PL_TRAINER_LIMIT_VAL_BATCHES", "1")
    torch.manual_seed(0)
    namespace = {"__name__": "example"}
    for number, (language, block) in enumerate(examples(path)):
        if language == "python":
            exec(compile(block, f"{path.name}, example {number}", "exec"), namespace)
        else:
            for recipe, args in recipe_calls(block):
                call(recipe, args)


def test_commands_are_found_in_chains_and_after_prompts():
    text = "python -m venv .venv && python -m recipes.accel fit --a=1  # why\n$ lightning-edge x test\n"
    assert recipe_calls(text) == [("accel", ["fit", "--a=1"]), ("x", ["test"])]
    assert recipe_calls("python -m recipes\n") == [("", [])]
