"""The wheel has all that a user needs, in a folder of their own."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("lightning_edge", "callbacks", "recipes")


def call(*command: str | Path, folder: Path, python_path: str = "") -> str:
    environment = {**os.environ, "PYTHONPATH": python_path, "WANDB_MODE": "offline"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    isolation = [] if importlib.util.find_spec("setuptools") is None else ["--no-isolation"]
    source = folder / "source"  # builds leave files behind
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    call(sys.executable, "-m", "build", "--wheel", *isolation, "--outdir", folder, source, folder=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("target")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel]
    call(*pip, folder=target.parent)
    return target


def test_the_wheel_has_every_module_and_configuration(wheel):
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    wanted = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    packed = zipfile.ZipFile(wheel).namelist()
    assert wanted <= set(packed)
    assert any(name.endswith("licenses/LICENSE") for name in packed)
    assert not any(name.startswith(("tests", "docs")) for name in packed)


@pytest.mark.slow
def test_a_recipe_runs_from_a_foreign_folder(installed, tmp_path):
    where = f"import {', '.join(PACKAGES)}; print({', '.join(f'{name}.__file__' for name in PACKAGES)})"
    actual = call(sys.executable, "-P", "-c", where, folder=tmp_path, python_path=str(installed)).split()
    assert all(Path(file).is_relative_to(installed) for file in actual)
    smoke = (installed / "recipes/accel/default.yaml").read_text().splitlines()[4].removeprefix("# smoke: ").split()
    command = [sys.executable, "-P", "-m", "recipes.accel", "fit", *smoke]
    call(*command, folder=tmp_path, python_path=str(installed))
    assert (tmp_path / "runs/accel/version_0/config.yaml").is_file()


def test_the_console_script_lists_the_recipes(installed, tmp_path):
    shown = call(sys.executable, "-P", installed / "bin/lightning-edge", folder=tmp_path, python_path=str(installed))
    assert "accel" in shown
