"""Configuration of the documentation."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from cal_pipeline import __version__

project = "cal_pipeline"
author = "the cal_pipeline developers"
release = version = __version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "myst_parser",
    "numpydoc",
    "parameter_choice",
    "step_parameters",
]
html_theme = "sphinx_rtd_theme"
exclude_patterns = ["_build", "_ext"]
numpydoc_show_class_members = False
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "member-order": "bysource"}
