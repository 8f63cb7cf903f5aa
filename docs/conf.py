"""The documentation site: `uv run --group docs sphinx-build -W docs build/site`. Nothing is fetched."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_extensions")]

from hypernudge import __version__  # noqa: E402 -- found by the line above

project = "hypernudge"
author = "The hypernudge authors"
version = release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "docstrings",
    "executed",
    "repository",
]
exclude_patterns = ["_build"]
templates_path: list[str] = []
html_theme = "furo"
html_title = "hypernudge"
# Formulas are drawn by the reader's browser; only pages with formulas load MathJax.
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # the changelog begins sections anew

default_role = "name"  # of docstrings; see `docstrings.py`
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_mock_imports = ["neps"]  # needs an environment of its own
python_use_unqualified_type_names = True
