"""Adding a step, a mode, an L1 array and the like touches the files that CONTRIBUTING names, and those alone.

Each folder in `adding` mirrors the repository: a file is new, ``FILE.edit`` has lines to insert in FILE. The addition
is made in a copy of the repository, where its own tests and those that hold the house together run.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import photometer
import pytest
from numba.core.caching import _CacheLocator

from cal_pipeline.heterodyne.physics import averages

ROOT = Path(__file__).parents[1]
PIECES = Path(__file__).parent / "adding"
COPIED = (
    *(".ci", ".github", "benchmarks", "cal_pipeline", "cfg", "changes", "docs", "tests"),
    *("CHANGES.md", "CITATION.cff", "CONTRIBUTING.md", "README.md", "SECURITY.md", "pyproject.toml", "setup.cfg"),
)


class Addition(NamedTuple):
    """Sections of CONTRIBUTING that tell how to add something, and what the names in it stand for."""

    sections: tuple[str, ...]
    names: dict[str, str] = {}


ADDITIONS = {
    "step": Addition(("A step", "A result that a step keeps"), {"step": "beam"}),
    "mode": Addition(("An observing mode",)),
    "parameter_file": Addition(("A parameter file for a telescope, frontend or mode",), {"file": "gbt_wband_otf"}),
    "telescope": Addition(("A telescope",), {"telescope": "jcmt"}),
    "profile": Addition(("A profile of a telescope's files",), {"profile": "pampa"}),
    "l1_array": Addition(("An L1 array",), {"step": "loads"}),
    "figure": Addition(("A quality figure",)),
    "strategy": Addition(("A strategy for the water vapour",)),
    "family": Addition(("A family of instruments",), {"family": "photometer"}),
}


class Section(NamedTuple):
    """Files that sections of CONTRIBUTING name, and the tests that check the addition."""

    new: set[str]
    edited: set[str]
    tests: list[str]


def read_sections() -> dict[str, str]:
    adding = (ROOT / "CONTRIBUTING.md").read_text().partition("## Adding things\n")[2]
    title, *rest = re.split(r"^### (.+)\n", adding, flags=re.M)
    assert "tests/adding/" in title
    return dict(zip(rest[::2], rest[1::2], strict=True))


def named(addition: Addition) -> Section:
    """Read the sections of an addition."""
    new, edited, tests = set(), set(), []
    for title in addition.sections:
        text = re.sub(r"<(\w+)>", lambda found: addition.names[found[1]], read_sections()[title])
        rows = re.findall(r"^\| (new )?`([^`]+)` \| .+ \|$", text, flags=re.M)
        assert len(rows) == text.count("\n| ") - 1, f"a row of {title!r} is not understood"
        new |= {path for is_new, path in rows if is_new}
        edited |= {path for is_new, path in rows if not is_new}
        (command,) = re.findall(r'^Check: `python -m pytest -m "not slow" (.+)`$', text, flags=re.M)
        tests += command.split()
    return Section(new, edited, tests)


def pieces_of(kind: str) -> dict[str, str]:
    """Pieces of an addition by their path in the repository, those to insert with ``.edit`` after it."""
    folder = PIECES / kind
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files} | MADE.get(kind, dict)()


def split_photometer() -> dict[str, str]:
    """Put the classes of `photometer` where those of a family belong."""
    source = Path(photometer.__file__).read_text()
    tree = ast.parse(source)
    nodes = {getattr(node, "name", None) or node.targets[0].id: node for node in tree.body if is_definition(node)}
    header = "".join(source[: source.index("\nKIND =")].partition("from __future__")[1:])
    rooms = {
        "cal_pipeline.photometer.data": ("KIND", "SCHEMA", "Exposure", "Night", "Photometry"),
        "cal_pipeline.steps.photometer.base": ("PhotometerBase",),
        "cal_pipeline.steps.photometer.dark": ("DarkStep",),
        "cal_pipeline.pipelines.photometer": ("PhotometerPipeline",),
    }
    assert sum(rooms.values(), ()) == tuple(nodes), "a definition has no place"
    made = {f"cal_pipeline/{room}photometer/__init__.py": '"""Photometer."""\n' for room in ("", "steps/")}
    for module, names in rooms.items():
        body = "\n\n".join(ast.get_source_segment(source, nodes[name]) for name in names)
        made[module.replace(".", "/") + ".py"] = f'"""Photometer."""\n\n{header}\n{body}\n'
        header += f"from {module} import {', '.join(names)}\n"
    return made


def is_definition(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) or (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name))


MADE = {
    "family": split_photometer,
    "l1_array": lambda: {"tests/digests.json.edit": ""},  # by WRITE_DIGESTS
}
"""Pieces that are made from what is there."""


def insert(text: str, edit: str) -> str:
    """Insert lines: after or before a line that occurs once, or at the end."""
    for block in edit.split(">>> ")[1:]:
        where, _, lines = block.partition("\n")
        if where == "at the end":
            text += lines
            continue
        side, anchor = where.split(": ", 1)
        start = f"\n{text}".index(f"\n{anchor}\n")
        assert f"\n{text}".count(f"\n{anchor}\n") == 1, f"{anchor!r} does not occur once"
        start += len(anchor) + 1 if side == "after" else 0
        text = text[:start] + lines + text[start:]
    return text


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy of the repository, the same for all additions, with the compiled functions."""
    copy = tmp_path_factory.mktemp("adding") / "copy"
    copy.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
        else:
            shutil.copy2(ROOT / name, copy / name)
    compiled = Path(next(value.stats.cache_path for value in vars(averages).values() if hasattr(value, "stats")))
    if compiled.is_dir():
        # numba names the folder by the path of the source.
        source = copy / Path(averages.__file__).relative_to(ROOT)
        shutil.copytree(compiled, compiled_functions(copy) / _CacheLocator.get_suitable_cache_subpath(str(source)))
    return copy


def compiled_functions(repository: Path) -> Path:
    """Folder for the compiled functions of a copy."""
    return repository.with_name("numba")


@pytest.fixture
def add(repository):
    """Make an addition in the copy, and undo it after the test."""
    written, folders = [], []

    def add_pieces(kind):
        for path, piece in pieces_of(kind).items():
            target = repository / path.removesuffix(".edit")
            folders.extend(folder for folder in target.parents if not folder.exists())
            target.parent.mkdir(parents=True, exist_ok=True)
            assert target.exists() == path.endswith(".edit"), path
            target.write_text(insert(target.read_text(), piece) if target.exists() else piece)
            written.append(path)
        return repository

    yield add_pieces
    for path in written:
        target = repository / path.removesuffix(".edit")
        if path.endswith(".edit"):
            shutil.copy2(ROOT / path.removesuffix(".edit"), target)
        else:
            target.unlink()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def run(repository: Path, *arguments: str) -> str:
    """Run Python in the copy."""
    environment = os.environ | {"PYTHONPATH": str(repository), "NUMBA_CACHE_DIR": str(compiled_functions(repository))}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{arguments[-1]}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    return done.stdout


WRITE_DIGESTS = """
import json, sys, tempfile
from pathlib import Path
sys.path.insert(0, "tests")
from test_digests import TRUTH, digest_case, write_table
truth = json.loads(TRUTH.read_text())
with tempfile.TemporaryDirectory() as folder:
    truth["cases"]["floats"] = digest_case(Path(folder), write_table(Path(folder)), "floats")
TRUTH.write_text(json.dumps(truth, indent=1) + "\\n")
"""
"""What `test_digests` does when it runs as a script, for one case instead of all."""


@pytest.mark.parametrize("kind", ADDITIONS)
def test_contributing_names_the_files_that_are_touched(kind):
    section = named(ADDITIONS[kind])
    folders = {path for path in section.new if path.endswith("/")}
    pieces = {next((folder for folder in folders if path.startswith(folder)), path) for path in pieces_of(kind)}
    assert {path for path in pieces if not path.endswith(".edit")} == section.new
    assert {path.removesuffix(".edit") for path in pieces if path.endswith(".edit")} == section.edited
    assert all((ROOT / path).is_file() for path in section.edited)
    assert not any((ROOT / path).exists() for path in section.new)


def test_every_section_has_its_example():
    assert list(read_sections()) == [title for addition in ADDITIONS.values() for title in addition.sections]
    assert {path.name for path in PIECES.iterdir()} == set(ADDITIONS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ADDITIONS)
def test_an_addition_works_and_keeps_the_rules_of_the_house(kind, add):
    repository = add(kind)
    run(repository, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *choose_tests(kind))
    if kind == "l1_array":
        run(repository, "-c", WRITE_DIGESTS)
        assert find_new_digests(repository) == {"scan_000001/y_factor"}


def find_new_digests(repository: Path) -> set[str]:
    """Find the arrays that were digested in the copy, and see that all others are as before."""
    before, after = (json.loads((root / "tests/digests.json").read_text())["cases"] for root in (ROOT, repository))
    new = set(after["floats"]) - set(before["floats"])
    assert before == after | {"floats": {path: value for path, value in after["floats"].items() if path not in new}}
    return new


def choose_tests(kind: str) -> list[str]:
    """List the tests that an addition brings, those of its check, and those of the house."""
    tests = [*named(ADDITIONS[kind]).tests, "tests/test_house.py", "tests/test_docs.py"]
    for path, piece in pieces_of(kind).items():
        file = path.removesuffix(".edit")
        if file != path and file in tests:
            tests.remove(file)
            tests += [f"{file}::{name}" for name in re.findall(r"^def (test_\w+)", piece, flags=re.M)]
    # Blocked imports take seconds; they matter to a family.
    deselected = [] if kind == "family" else ["--deselect=tests/test_house.py::test_a_room_works_without_the_others"]
    return [*dict.fromkeys(tests), *deselected]
