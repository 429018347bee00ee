"""What a recipe answers at once, in a process of its own, as a newcomer meets it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RECIPES = ["accel", "anodev2", "batch_size_scaling", "ddn", "segmentation", "shift"]
HEAVY = ("torch", "lightning", "numpy", "timm", "cv2", "matplotlib", "jsonargparse", "rich")


@pytest.fixture
def type_command(tmp_path):
    """Run a command line in a foreign folder, by the script that pip writes or by ``python -m``; heavy imports fail."""
    folders = {name: tmp_path / name for name in ("bin", "poison", "here")}
    for folder in folders.values():
        folder.mkdir()
    (folders["bin"] / "lightning-edge").write_text("from recipes._cli.command_line import console\nconsole()\n")
    for name in HEAVY:
        (folders["poison"] / f"{name}.py").write_text(f"raise SystemExit('{name} was imported')")

    def run(line, is_poisoned=True):
        script, *args = line.split()
        command = ["-m", *args[1:]] if script == "python" else [str(folders["bin"] / script), *args]
        path = [str(folders["poison"])] * is_poisoned + [str(ROOT)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "WANDB_MODE": "disabled"}
        return subprocess.run(
            [sys.executable, *command],
            cwd=folders["here"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    run.here = folders["here"]
    return run


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_without_a_command_prints_its_usage(recipe, type_command):
    for start in (f"python -m recipes.{recipe}", f"lightning-edge {recipe}"):
        bare, asked = (type_command(f"{start}{option}") for option in ("", " --help"))
        assert (bare.returncode, bare.stderr) == (0, "")
        assert bare.stdout.startswith(f"usage: {start} COMMAND [options]\n")
        assert bare.stdout == asked.stdout
    commands = ["sweep", "analyze"] if recipe == "batch_size_scaling" else ["fit", "validate", "test", "predict"]
    assert all(f"\n  {command} " in bare.stdout for command in commands)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("fitt", "got 'fitt'; did you mean 'fit'?"),
        ("--trainer.max_epoch=3", "such as `{start} fit --trainer.max_epoch=3`, got --trainer.max_epoch=3"),
        ("--trainer.max_epochs=3 test", "such as `{start} test --trainer.max_epochs=3`"),
        ("-c long.yaml", "expected a command before the options, such as `{start} fit -c long.yaml`"),
        ("fit -c nosuch.yaml", "no configuration nosuch.yaml in the current folder or in the recipe's folder; "),
    ],
)
def test_a_usage_error_is_one_line_about_what_was_typed(args, said, type_command):
    for start in ("python -m recipes.accel", "lightning-edge accel"):
        answer = type_command(f"{start} {args}")
        assert (answer.returncode, answer.stdout) == (2, "")
        first_line, *others = answer.stderr.splitlines()
        assert first_line.startswith("error: ")
        assert said.format(start=start) in first_line
        assert others in ([], [f"`{start} --help` lists the commands."])
    assert "nosuch" not in args or "are adapt_camvid.yaml, camvid.yaml, camvid_sample.yaml," in first_line


def test_the_help_of_a_command_begins_with_the_options_that_matter(type_command):
    answer = type_command("lightning-edge shift fit --help")
    assert answer.stderr.endswith("was imported\n")  # for the list of all options
    lines = answer.stdout.splitlines()
    assert lines[0] == "lightning-edge shift fit [options]"
    begin = lines.index("The main options:") + 1
    options = [line.split()[0].partition("=")[0] for line in lines[begin : lines.index("", begin)]]
    assert len(options) == 10
    assert {"-c", "--ckpt_path", "--data", "--trainer.max_epochs", "--model.optimizer.lr"} <= set(options)


def test_the_main_options_exist(capsys):
    from recipes import shift
    from recipes._cli.usage import _MAIN_OPTIONS

    with pytest.raises(SystemExit, match="0"):
        shift.main(["fit", "--help"])
    shown = capsys.readouterr().out.partition("All options:")[2]
    names = {option.split()[0].partition("=")[0] for option in _MAIN_OPTIONS}
    of_classes = {"--data.root", "--data.batch_size", "--model.optimizer.lr"}
    assert all(f"[{name} " in shown for name in names - of_classes)
    for name in of_classes:
        with pytest.raises(SystemExit, match="0"):
            shift.main(["fit", f"{name}={'.' if name.endswith('root') else 1}", "--print_config"])


def test_the_script_finds_the_users_own_modules_and_speaks_of_itself(type_command):
    (type_command.here / "my_pictures.py").write_text(
        "from lightning_edge.data import CIFARDataModule\n\nclass MyPictures(CIFARDataModule):\n    pass\n"
    )
    refused = type_command("lightning-edge shift fit --data=my_pictures.MyPictures --data.seedd=1", is_poisoned=False)
    first, second = refused.stderr.splitlines()[-2:]
    assert first == "error: my_pictures.MyPictures has no argument 'seedd'; did you mean 'seed'?"
    assert second.startswith("`lightning-edge shift fit --help` lists all arguments")
