"""Compiled ODE blocks compute what plain ones do: values, gradients and statistics of batch norm, by every gradient."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_edge

PROGRAM = Path(__file__).parents[2] / "support/compiled_ode.py"


def differences(*arguments):
    """Of each compiled block from the plain one, last in its row; where a graph would break, there is an error."""
    root = str(Path(lightning_edge.__file__).parents[1])
    command = [sys.executable, str(PROGRAM), *arguments]
    environment = os.environ | {"PYTHONPATH": root}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_blocks_with_checkpoints_are_compiled_whole():
    actual = differences("eager", "aot_eager")
    assert len(actual) == 6
    assert [row for row in actual if not row[-1] < 1e-12] == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_blocks_of_all_kinds_are_compiled(backend):
    actual = differences("all", backend)
    assert len(actual) == 8
    assert [row for row in actual if not row[-1] < 1e-12] == []
