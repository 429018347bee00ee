"""The pages show what was written: code lines fit, sentences are no types, and Read the Docs builds as we do."""

import ast
import re
import tomllib
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from markdown_it import MarkdownIt
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.pycode import ModuleAnalyzer

ROOT = Path(__file__).parents[1]
TEXTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MODULES = sorted(path for room in ("lightning_edge", "callbacks", "recipes") for path in (ROOT / room).rglob("*.py"))
PUBLIC_MODULES = [path for path in MODULES if not re.search(r"/_(?!_init)", path.relative_to(ROOT).as_posix())]
MAX_COLUMNS = 85
"""Chromium shows 90 in the column of a page and 86 below a class; the rest is for wider fonts."""


def code_lines(text: str) -> list[str]:
    """Lines of the blocks that are shown as code, fenced or indented; directives such as toctrees are not."""
    blocks = [token for token in MarkdownIt().parse(text) if token.type in ("fence", "code_block")]
    return [line for block in blocks if not block.info.startswith("{") for line in block.content.splitlines()]


def code_lines_of_docstring(text: str) -> list[str]:
    """Lines of examples at the prompt, and of blocks that follow a double colon."""
    blocks = re.findall(r"::\n\n((?:    +.*\n|\n)+)", text + "\n")
    return [*re.findall(r"^>>> .*", text, re.M), *(line for block in blocks for line in dedent(block).splitlines())]


def sentences_read_as_types(path: Path) -> list[str]:
    """Attributes and properties whose first line Napoleon takes for ``type: description``, as it does at any colon."""
    docs = [(name, lines) for (_, name), lines in ModuleAnalyzer.for_file(path, path.stem).find_attr_docs().items()]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        decorators = [ast.unparse(decorator) for decorator in getattr(node, "decorator_list", [])]
        if {"property", "cached_property"} & set(decorators) and (text := ast.get_docstring(node)):
            docs.append((node.name, text.splitlines()))
    return [
        f"{name}: {lines[0]}"
        for name, lines in docs
        if not name.startswith("_")
        and any(line.startswith(":type:") for line in GoogleDocstring(lines, what="attribute", name=name).lines())
    ]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_code_fits_the_column(path):
    assert [line for line in code_lines(path.read_text(encoding="utf-8")) if len(line) > MAX_COLUMNS] == []


@pytest.mark.parametrize("path", PUBLIC_MODULES, ids=lambda path: path.stem)
def test_docstrings_are_shown_as_written(path):
    assert sentences_read_as_types(path) == []
    docstrings = [
        text
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node))
    ]
    assert [line for text in docstrings for line in code_lines_of_docstring(text) if len(line) > MAX_COLUMNS] == []


def test_a_colon_in_an_attribute_is_found(tmp_path):
    path = tmp_path / "module.py"
    path.write_text('width = 1\n"""Pixels: a type to Napoleon."""\nheight = 2\n"""Pixels, no type: not so."""\n')
    assert len(sentences_read_as_types(path)) == 2


def test_read_the_docs_builds_with_warnings_as_errors():
    """Keys of https://docs.readthedocs.com/platform/stable/config-file/v2.html."""
    config = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text(encoding="utf-8"))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    [install] = config["python"]["install"]
    assert config["version"] == 2
    assert config["build"].keys() >= {"os", "tools"}
    assert (ROOT / config["sphinx"]["configuration"]).is_file()
    assert config["sphinx"]["fail_on_warning"] is True
    assert install["method"] == "pip"
    assert set(install["extra_requirements"]) <= extras.keys()
