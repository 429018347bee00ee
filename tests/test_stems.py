import importlib
import re
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


PACKAGES = ["callbacks", *(f"lightning_edge.{name}" for name in ("data", "methods", "nn", "systems"))]
LINK = re.compile(r"\{(?:class|func|meth|mod|attr)\}`~?([\w.]+)`")


def exported(package):
    """Modules that define the names of a package, such as ``callbacks.warm_start`` of ``callbacks.WarmStart``."""
    values = vars(importlib.import_module(package)).items()
    return {value.__module__ for name, value in values if not name.startswith("_") and hasattr(value, "__qualname__")}


def documented():
    pages = "".join(path.read_text() for path in (ROOT / "docs/reference").glob("*.md"))
    return set(re.findall(r"^\.\. automodule:: (\S+)$", pages, re.M))


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_exports_is_in_the_reference(package):
    modules = {module for module in exported(package) if module.startswith(("lightning_edge", "callbacks"))}
    assert len(modules) > 2
    assert modules - documented() - {"lightning_edge.renamed"} == set()


def test_links_of_the_pages_lead_to_the_reference():
    links = [link for path in (ROOT / "docs").rglob("*.md") for link in LINK.findall(path.read_text())]
    assert len(links) > 10
    modules = documented()
    assert [link for link in links if link not in modules and link.rpartition(".")[0] not in modules] == []


def test_the_reference_names_existing_public_modules():
    for module in documented():
        assert not any(part.startswith("_") for part in module.split("."))
        importlib.import_module(module)
