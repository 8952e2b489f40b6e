"""The documentation as a site: built once for all tests and worker processes, or given by a variable."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

GIVEN = "CAL_PIPELINE_SITE"
"""Variable with the folder of a site that is built already."""

PACKAGES = ("sphinx", "myst_parser", "numpydoc", "sphinx_gallery", "sphinx_rtd_theme")
"""What a build needs: the extra ``docs``."""

LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data", "link": "href"}


def find_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site; it is built once, and a warning fails the build."""
    if given := os.environ.get(GIVEN):
        folder = Path(given).resolve()
        if not (folder / "index.html").is_file():
            pytest.fail(f"{GIVEN} names {folder}, which has no index.html")
        return folder
    for package in PACKAGES:
        pytest.importorskip(package)
    shared = tmp_path_factory.getbasetemp()
    # Each worker of pytest-xdist has a folder in the one that they share.
    shared = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "site"
    shared.mkdir(exist_ok=True)
    with open(shared / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "log").exists():
            (shared / "log").write_text(build_site(shared / "html", shared / "trees"))
    assert (log := (shared / "log").read_text()) == "", log
    return shared / "html"


def build_site(folder: Path, trees: Path) -> str:
    """Build the site; return the messages of a build that failed, else nothing."""
    # Tutorials are shown without being run.
    options = ["-q", "-W", "-D", "plot_gallery=0", "-b", "html", "-d", trees]
    command = [sys.executable, "-m", "sphinx", *options, DOCS, folder]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return "" if outcome.returncode == 0 else outcome.stderr or f"sphinx ends with status {outcome.returncode}"


class SitePage(HTMLParser):
    """Resources, links and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.loaded, self.links, self.anchors = path, [], [], set()
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if given.get("id"):
            self.anchors.add(given["id"])
        address = given.get(LOADS.get(tag, ""))
        if address and given.get("rel") != "canonical":
            self.loaded.append(address)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
