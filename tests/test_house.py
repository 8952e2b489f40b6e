"""The house: rooms that import downwards only, a core without any family, families without each other."""

from __future__ import annotations

import ast
import functools
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import cal_pipeline

PACKAGE = Path(cal_pipeline.__file__).parent
FAMILIES = tuple(sorted(path.parent.name for path in PACKAGE.glob("steps/*/__init__.py")))
"""Families of instruments: what has steps of its own."""

ROOMS = ("core", *FAMILIES, "report", "steps", "pipelines", "cli")
"""Rooms from the ground up; a module imports from its own room and from those below."""

LEAVES = ("_deferred", "_version", "registry")
"""Modules at the top, which import nothing of the package."""

FRONT = ("cal_pipeline", "cal_pipeline.errors", "cal_pipeline.ingest", "cal_pipeline.simulate", "cal_pipeline.pipeline")
"""Modules for users, which gather names from the rooms."""


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(path: Path) -> Iterator[str]:
    """Modules of the package that a module imports anywhere in it, for the type checker too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for name in node.names:
                full = f"{node.module}.{name.name}"
                yield full if full in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@functools.cache
def imports_within(name: str) -> set[str]:
    """Modules of the package that one of them imports."""
    return {imported for imported in imports_of(MODULES[name]) if imported in MODULES and imported != name}


def room(module: str) -> str:
    return module.removeprefix("cal_pipeline.").partition(".")[0]


def test_every_module_has_a_room():
    rooms = {room(name) for name in MODULES if name not in FRONT}
    assert rooms - {*LEAVES, "_asdf", "_stpipe", "__main__"} == set(ROOMS)


# One test for all modules of each rule: a test for each would take longer than what it does, in each addition too.
def test_imports_point_down():
    up = {}
    for name in MODULES:
        if room(name) in ROOMS and name not in FRONT:
            allowed = {*ROOMS[: ROOMS.index(room(name)) + 1], *LEAVES}
            if room(name) in FAMILIES:
                allowed -= set(FAMILIES) - {room(name)}
            up[name] = {found for found in imports_within(name) if room(found) not in allowed or found in FRONT}
    assert len(up) > 300
    assert {name: found for name, found in up.items() if found} == {}


def test_steps_import_their_own_family_only():
    foreign = {}
    for name in (name for name in MODULES if name.startswith("cal_pipeline.steps.")):
        own, *_ = name.removeprefix("cal_pipeline.steps.").partition(".")
        families = {found for found in imports_within(name) if room(found) in FAMILIES and room(found) != own}
        steps = {found for found in imports_within(name) if found.startswith("cal_pipeline.steps.")}
        foreign[name] = families | {found for found in steps if found.split(".")[2] != own}
    assert len(foreign) > 50
    assert {name: found for name, found in foreign.items() if found} == {}


def test_leaves_import_nothing():
    assert {name: imports_within(f"cal_pipeline.{name}") for name in LEAVES} == {name: set() for name in LEAVES}


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """Find modules that import each other in a circle; empty without any."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_through_others():
    assert set(find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == {"b", "c"}
    assert find_circle({name: imports_within(name) for name in MODULES}) == []


BLOCKED = """
import importlib, pkgutil, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if any(name == room or name.startswith(room + ".") for room in {blocked!r}):
            raise ImportError(f"{{name}} is not to be imported")

sys.meta_path.insert(0, Blocker())
for name in {names!r}:
    importlib.import_module(name)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["core", *FAMILIES])
def test_a_room_works_without_the_others(kept):
    """Import the core with every family blocked, and each family with all others blocked."""
    above = [f"cal_pipeline.{name}" for name in (*FAMILIES, *ROOMS[ROOMS.index("report") :]) if name != kept]
    names = [name for name in MODULES if room(name) == kept]
    assert len(names) > 1
    script = BLOCKED.format(blocked=above, names=names)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


INSTRUMENT = re.compile(
    r"scans?|sessions?|subscans?|bands?|beams?|kelvin|telescopes?|pixels?|channels?|dumps?|spectra|spectrum"
    r"|receivers?|pwv|gamma|ON|OFF|L0|L1",
)
"""Words of one family."""

FOREIGN = {"_close_sessions", "_session", "session", "dumps"}
"""Names of other packages: sessions of HTTP drivers, functions of `json` and `pickle`."""


@pytest.mark.slow
def test_names_in_the_core_are_of_no_instrument():
    of_instruments = {}
    for module in (name for name in MODULES if room(name) == "core"):
        text = io.StringIO(MODULES[module].read_text(encoding="utf-8"))
        names = {token.string for token in tokenize.generate_tokens(text.readline) if token.type == tokenize.NAME}
        words = {word: found for found in names - FOREIGN for word in found.split("_")}
        of_instruments[module] = [found for word, found in words.items() if INSTRUMENT.fullmatch(word)]
    assert len(of_instruments) > 50
    assert {module: found for module, found in of_instruments.items() if found} == {}


@pytest.mark.slow
def test_modules_and_functions_are_short():
    """A module has at most 600 lines, a function at most 60 without its docstring."""
    long = []
    for module, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > 600:
            long.append(module)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                docstring = ast.get_docstring(node, clean=False) or ""
                if node.end_lineno - node.lineno + 1 - len(docstring.splitlines()) > 60:
                    long.append(f"{module}.{node.name}")
    assert long == []
