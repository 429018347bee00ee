from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = (
    "lightning_edge/methods",
    "lightning_edge/nn",
    "lightning_edge/ops",
    "lightning_edge/systems",
    "callbacks",
)
STEMS = sorted(path.stem for path in (ROOT / "recipes").glob("[!_]*.py"))
CONFIGS = sorted((ROOT / "recipes").rglob("*.yaml"))


def owner(name: str, stems: list[str]) -> str | None:
    """The longest stem that a configuration's name begins with."""
    fitting = [stem for stem in stems if name == stem or name.startswith(f"{stem}_")]
    return max(fitting, key=len, default=None)


def test_there_are_recipes():
    assert STEMS
    assert CONFIGS


@pytest.mark.parametrize("stem", STEMS)
def test_a_recipe_has_a_configuration_a_card_and_a_part(stem):
    assert (ROOT / f"recipes/{stem}.yaml").is_file()
    assert (ROOT / f"docs/methods/{stem}.md").is_file()
    assert any((ROOT / room / f"{stem}.py").is_file() for room in ROOMS), f"expected one of {ROOMS} to have {stem}.py"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_belongs_to_a_recipe(config):
    assert owner(config.stem, STEMS)


def test_the_longest_stem_owns_a_variant():
    assert owner("accel_camvid", ["accel", "accel_camvid"]) == "accel_camvid"
    assert owner("accel_camvid", ["accel"]) == "accel"
    assert owner("accelerate", ["accel"]) is None


@pytest.mark.parametrize("card", sorted((ROOT / "docs/methods").glob("*.md")), ids=lambda path: path.stem)
def test_a_card_belongs_to_a_recipe_and_fits_eighty_lines(card):
    assert card.stem in STEMS
    assert len(card.read_text().splitlines()) <= 80


def test_every_public_module_stands_in_the_reference():
    rooms = ("lightning_edge", "callbacks")
    files = [path.relative_to(ROOT).with_suffix("") for room in rooms for path in (ROOT / room).rglob("*.py")]
    modules = {".".join(path.parts) for path in files if not path.name.startswith("_")}
    pages = "".join(path.read_text() for path in (ROOT / "docs/reference").glob("*.md"))
    assert {module for module in modules if f".. automodule:: {module}\n" not in pages} == set()
