from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEMS = sorted(path.parent.name for path in (ROOT / "recipes").glob("[!_]*/__init__.py"))
CONFIGS = sorted((ROOT / "recipes").glob("[!_]*/*.yaml"))


def test_there_are_recipes():
    assert STEMS
    assert CONFIGS


@pytest.mark.parametrize("stem", STEMS)
def test_a_recipe_has_a_configuration_a_card_and_a_part(stem):
    assert (ROOT / f"recipes/{stem}/default.yaml").is_file()
    assert (ROOT / f"docs/methods/{stem}.md").is_file()
    parts = [path for package in ("lightning_edge", "callbacks") for path in (ROOT / package).rglob(stem + "*")]
    assert any(path.stem == stem for path in parts), f"expected a file or folder {stem} in the library or the callbacks"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_configuration_belongs_to_a_recipe(config):
    assert config.parent.name in STEMS


@pytest.mark.parametrize("card", sorted((ROOT / "docs/methods").glob("*.md")), ids=lambda path: path.stem)
def test_a_card_belongs_to_a_recipe_and_fits_110_lines(card):
    assert card.stem in STEMS
    assert len(card.read_text().splitlines()) <= 110


def test_every_public_module_stands_in_the_reference():
    rooms = ("lightning_edge", "callbacks")
    files = [path.relative_to(ROOT).with_suffix("") for room in rooms for path in (ROOT / room).rglob("*.py")]
    modules = {".".join(path.parts) for path in files if not any(part.startswith("_") for part in path.parts)}
    pages = "".join(path.read_text() for path in (ROOT / "docs/reference").glob("*.md"))
    assert {module for module in modules if f".. automodule:: {module}\n" not in pages} == set()
