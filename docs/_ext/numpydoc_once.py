"""numpydoc's template, compiled once: by itself numpydoc compiles it for each docstring, a sixth of the build."""

from functools import cache
from pathlib import Path

import numpydoc
from jinja2 import FileSystemLoader
from jinja2.sandbox import SandboxedEnvironment
from numpydoc.docscrape_sphinx import SphinxDocString


@cache
def load_template():
    """Load the template as numpydoc does."""
    loader = FileSystemLoader(str(Path(numpydoc.__file__).parent / "templates"))
    return SandboxedEnvironment(loader=loader).get_template("numpydoc_docstring.rst")


def setup(app):
    original = SphinxDocString.load_config

    def load_config(self, config):
        original(self, {"template": load_template(), **config})

    SphinxDocString.load_config = load_config
    return {"parallel_read_safe": True}
