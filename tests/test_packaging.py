"""What pyproject.toml promises of other packages."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What the tests are installed with; the tools of `lint` and `docs` are always taken new.
REQUIREMENTS = PROJECT["dependencies"] + [
    text for extra in ("distributed", "remote", "test") for text in PROJECT["optional-dependencies"][extra]
]


def parse_requirements() -> dict[str, Requirement]:
    """Parse what is required, by canonical name, without the package's own extras."""
    found = {canonicalize_name(r.name): r for r in map(Requirement, REQUIREMENTS)}
    del found["cal-pipeline"]
    return found


def parse_oldest() -> dict[str, Version]:
    lines = (ROOT / ".ci" / "oldest.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): Version(next(iter(pin.specifier)).version) for pin in pins}


@pytest.mark.parametrize("name", parse_requirements())
def test_the_oldest_releases_tried_are_those_that_are_allowed(name):
    # `.ci/run` tries the releases in .ci/oldest.txt: a bound that was changed here alone would not be true.
    (bound,) = parse_requirements()[name].specifier
    assert bound.operator == ">="
    assert parse_oldest()[name] == Version(bound.version)


@pytest.mark.parametrize("name", parse_requirements())
def test_what_is_installed_is_allowed(name):
    try:
        installed = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    assert parse_requirements()[name].specifier.contains(installed, prereleases=True)


def test_interpreters_that_are_named_are_those_that_are_allowed():
    named = [
        Version(text.rsplit(" ", 1)[1])
        for text in PROJECT["classifiers"]
        if text.startswith("Programming Language :: Python :: 3.")
    ]
    assert named == sorted(named)
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_every_package_is_installed():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = setup["options"]["packages"].split()
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "cal_pipeline").rglob("__init__.py")}
    assert listed == sorted({"cal_pipeline.cfg", *(".".join(folder.parts) for folder in folders)})


@pytest.mark.slow
def test_what_is_imported_is_required():
    """Every package that the pipeline imports is a dependency or in an extra, not brought by chance."""
    extras = [text for texts in PROJECT["optional-dependencies"].values() for text in texts]
    required = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"] + extras}
    modules = {}
    for path in (ROOT / "cal_pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules.update({alias.name.split(".")[0]: path for alias in node.names})
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules[node.module.split(".")[0]] = path
    modules = {name: path for name, path in modules.items() if name not in sys.stdlib_module_names}
    providers = {
        name: [canonicalize_name(p) for p in found]
        for name, found in importlib.metadata.packages_distributions().items()
    }
    for name, path in modules.items():
        assert required & set(providers.get(name, [canonicalize_name(name)])), f"{path} imports {name}"
