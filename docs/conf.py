"""Configuration of the documentation."""

import datetime
import importlib
import inspect
import os
import re
import sys
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from figure_style import FIGURE_STYLE
from numpydoc.xref import DEFAULT_LINKS

from cal_pipeline import __version__


def name_years(first):
    """Name the years of the copyright; a reproducible build gives its own date."""
    seconds = float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    last = datetime.datetime.fromtimestamp(seconds, datetime.UTC).year
    return str(first) if last <= first else f"{first}-{last}"


def find_classes(*pages):
    """Find the full name of each class that some pages document, to link types in docstrings.

    A name that several modules have is left out.
    """
    text = "".join((Path(__file__).parent / page).read_text() for page in pages)
    found = defaultdict(list)
    for path in re.findall(r"autoclass:: (\S+)", text):
        found[path.rpartition(".")[2]].append(path)
    for module in map(importlib.import_module, re.findall(r"automodule:: (\S+)\n   :members:\n", text)):
        for name, item in vars(module).items():
            if inspect.isclass(item) and (item.__module__ == module.__name__ or name in getattr(module, "__all__", ())):
                found[name].append(f"{module.__name__}.{name}")
    return {name: paths[0] for name, paths in found.items() if len(paths) == 1}


project = "cal_pipeline"
author = "the cal_pipeline developers"
project_copyright = f"{name_years(2026)}, {author}"
release = version = __version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "cherenkov_tables",
    "command_options",
    "export_tables",
    "imager_tables",
    "ingest_tables",
    "mathml",
    "numpydoc_once",
    "parameter_choice",
    "performance_tables",
    "project_files",
    "short_code",
    "sources",
    "signatures",
    "step_parameters",
]
exclude_patterns = ["_build", "_ext", "examples"]
templates_path = ["_templates"]
# Options and ranges are read as they are typed: no dashes or quotes of a typesetter.
smartquotes = False
highlight_language = "none"

html_theme = "sphinx_rtd_theme"
html_theme_options = {"navigation_depth": 3}
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False

numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
# numpydoc's own links lead to other sites and stay text.
numpydoc_xref_aliases = {name: name for name in DEFAULT_LINKS} | find_classes("api.rst", "failures.rst")
autodoc_typehints = "none"
# Defaults as they stand in the source, not as the objects print.
autodoc_preserve_defaults = True
autodoc_default_options = {"member-order": "bysource"}
# A longer signature has a line for each parameter.
python_maximum_signature_line_length = 100

# Tutorials are scripts that the build runs; ``-D plot_gallery=0`` shows them without their output.
sphinx_gallery_conf = {
    "examples_dirs": "examples/tutorials",
    "gallery_dirs": "tutorials",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    # Tutorials print what they show; what an object prints by itself may hold an address.
    "capture_repr": (),
    "download_all_examples": False,
    "write_computation_times": False,
    # Pages are the same on every machine: no running times.
    "min_reported_time": 3600,
    "show_signature": False,
    "remove_config_comments": True,
    "compress_images": (),
    "reset_modules": ("matplotlib", "figure_style.set_style"),
}
# Figures of the explanations are drawn by scripts, too.
plot_basedir = str(Path(__file__).parent / "examples" / "figures")
plot_formats = [("png", 110)]
plot_html_show_formats = False
plot_html_show_source_link = True
plot_rcparams = FIGURE_STYLE
plot_apply_rcparams = True
