"""Docstrings describe arguments and errors in one style: sentences that begin with a capital and end with a period."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECTION = re.compile(r"(Args|Raises|Returns|Yields):")
ENTRY = re.compile(r" {4}(\*{0,2}\w+): (.*)")
START = re.compile(r"[A-Z0-9`]|:\w+:`|timm\b")
"""A sentence may also begin with a number, code, a link, or the package that writes its name in small letters."""


def entries(docstring):
    """Section, name and text of each described argument and error."""
    actual, section = [], None
    for line in docstring.splitlines():
        if heading := SECTION.fullmatch(line):
            section = heading[1]
        elif line and not line.startswith(" "):
            section = None
        elif section in ("Args", "Raises") and line.strip():
            entry = ENTRY.fullmatch(line)
            if entry:
                actual.append([section, entry[1], entry[2]])
            else:
                actual[-1][2] += f" {line.strip()}"
    return actual


def faults(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            for section, name, text in entries(ast.get_docstring(node) or ""):
                if not START.match(text) or not text.endswith((".", "::")):
                    yield f"{path}: {node.name}, {section}, {name}: {text}"


@pytest.mark.parametrize("package", ["lightning_edge", "callbacks", "recipes"])
def test_arguments_and_errors_are_described_by_sentences(package):
    paths = sorted((ROOT / package).rglob("*.py"))
    assert paths
    assert [fault for path in paths for fault in faults(path)] == []


def test_fragments_are_found(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        'def run(a, b, c):\n    """Run.\n\n    Args:\n        a: of order\n            and augmentation.\n'
        "        b: Fine.\n"
        '        c: No period\n\n    Raises:\n        ValueError: if a is wrong.\n    """\n'
    )
    assert [fault.partition(": run, ")[2] for fault in faults(module)] == [
        "Args, a: of order and augmentation.",
        "Args, c: No period",
        "Raises, ValueError: if a is wrong.",
    ]
