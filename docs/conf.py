"""Configuration of Sphinx: ``sphinx-build -W -b html docs docs/_build/html``."""

from importlib.metadata import version as installed_version

project = "lightning_edge"
author = "The lightning_edge developers"
copyright = f"2026, {author}"
release = version = installed_version("lightning-edge")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "exclude-members": "training, __new__, set_fit_request, set_score_request",
}
autodoc_inherit_docstrings = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "lightning_edge"
