"""Texts for users are plain English: docstrings, messages and pages have no words that a reader must decode."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COVERED = ("lightning_edge", "callbacks", "recipes", "docs", "README.md")
"""Folders and pages that are checked, relative to the repository, such as ``docs`` and ``README.md``."""

WORDS = re.compile(
    r"\bbegins? anew\b|\b(told|foretell\w*|foretold|anew|whence)\b|by other hands|cut short",
    re.IGNORECASE,
)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of each line of a page, or of the string literals of a module.

    A literal without a space is a key or a name, not a text.
    """
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from enumerate(content.splitlines(), 1)
        return
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for offset, line in enumerate(node.value.splitlines()):
                yield node.lineno + offset, line


def hard_words(path: Path) -> list[str]:
    """Where a text has such a word, as ``file:line: word``."""
    return [f"{path}:{number}: {match[0]}" for number, text in texts(path) for match in WORDS.finditer(text)]


@pytest.mark.parametrize("place", COVERED)
def test_texts_for_users_have_no_hard_words(place):
    root = ROOT / place
    paths = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.suffix in (".py", ".md"))
    assert paths
    assert [line for path in paths for line in hard_words(path)] == []


def test_a_hard_word_is_found_in_docstrings_messages_and_pages(tmp_path):
    module = tmp_path / "module.py"
    module.write_text('"""A run.\n\nIt begins anew."""\nKEY = "told"\nprint(f"{KEY} is told once")\nbegin_anew = 1\n')
    page = tmp_path / "page.md"
    page.write_text("Plain.\nNets by other hands.\n")
    assert hard_words(module) == [f"{module}:3: begins anew", f"{module}:5: told"]
    assert hard_words(page) == [f"{page}:2: by other hands"]
