"""Examples in docstrings: all that a user meets has one, and they are true."""

from __future__ import annotations

import contextlib
import doctest
import gc
import importlib
import inspect
import pkgutil
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers_ingest_files import write_files, write_profile

import cal_pipeline
from cal_pipeline import CalibratedSession, CalibrationPipeline, simulate, steps
from cal_pipeline.cherenkov.simulate.night import simulate_night
from cal_pipeline.cli.calibpipe import run_tool
from cal_pipeline.core.store.product import Product
from cal_pipeline.heterodyne import figures, modes, physics, references
from cal_pipeline.heterodyne.calibrated_scan import CalibratedScan
from cal_pipeline.heterodyne.physics.sky import SkyDirection
from cal_pipeline.heterodyne.physics.sky_observation import SkyObservation
from cal_pipeline.heterodyne.raw_session import RawScan, RawSession
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.imager import simulate as imager_simulate


def _modules_of(package: ModuleType) -> list[str]:
    """List the modules in a package, at all depths; `__main__` would run."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [module.name for module in found if not module.name.endswith(".__main__")]


CONTINUED: dict[str, type[Any]] = {
    "cal_pipeline.core.store.product": Product,
    "cal_pipeline.heterodyne.physics.observed_sky": SkyDirection,
    "cal_pipeline.heterodyne.physics.pwv": SkyObservation,
    "cal_pipeline.heterodyne.physics.pwv_fit": SkyObservation,
    "cal_pipeline.heterodyne.physics.scale_error": SkyObservation,
    "cal_pipeline.heterodyne.physics.sky": SkyDirection,
    "cal_pipeline.heterodyne.physics.sky_match": SkyObservation,
    "cal_pipeline.heterodyne.physics.sky_monitors": SkyObservation,
    "cal_pipeline.heterodyne.physics.sky_observation": SkyObservation,
    "cal_pipeline.heterodyne.physics.strategies": SkyObservation,
}
"""Classes whose example makes what other examples of a module refer to."""

SLOW = {
    "cal_pipeline.heterodyne.simulate.faults",
    "cal_pipeline.pipelines.calibration",
    "cal_pipeline.steps.heterodyne.dbs",
    "cal_pipeline.steps.heterodyne.skychopdiff",
}
"""Modules whose examples calibrate sessions of their own."""


def _examples_of(item: Any) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(inspect.cleandoc(item.__doc__ or ""))


def _run_example(kind: type[Any]) -> dict[str, Any]:
    """Run the example of a class; return the names that it makes."""
    known = vars(importlib.import_module(kind.__module__))
    names = dict(known)
    for example in _examples_of(kind):
        exec(example.source, names)
    return {name: value for name, value in names.items() if name not in known}


@pytest.fixture(scope="session")
def folder_of_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the ``session.zarr`` and the ``l1.zarr`` of the example of the pipeline."""
    folder = tmp_path_factory.mktemp("examples")
    gc.freeze()  # as for the tests, which begin after this
    with contextlib.chdir(folder):
        _run_example(CalibrationPipeline)
    return folder


@pytest.fixture(scope="session")
def folder_of_imager(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a small visit of an imager, and what the pipelines make of it."""
    folder = tmp_path_factory.mktemp("imager")
    with contextlib.chdir(folder):
        visit = imager_simulate.standard_visit(size=64, darks=1, flats=2, dithers=3, skies=2)
        imager_simulate.simulate_visit(visit, "visit.zarr")
        settings = {"references": "visit.references", "configure_log": False}
        cal_pipeline.Detector1Pipeline.call("visit.zarr", output_file="rate.zarr", **settings)
        cal_pipeline.Image2Pipeline.call("rate.zarr", output_file="cal.zarr", **settings)
    return folder


@pytest.fixture(scope="session")
def folder_of_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a made-up night of a Cherenkov observatory, and its database."""
    folder = tmp_path_factory.mktemp("cherenkov")
    with contextlib.chdir(folder):
        for command, configuration in simulate_night("night").commands:
            if "init" in command or "upload" in command:
                assert run_tool(command, ["-c", str(configuration)]) == 0
    return folder


@pytest.fixture(scope="session")
def folder_of_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with FITS files of an invented telescope, and their profile."""
    folder = tmp_path_factory.mktemp("files")
    write_files(folder / "night_files", 3, 4)
    write_profile(folder)
    return folder


INGEST = ("cal_pipeline.ingest", "cal_pipeline.heterodyne.ingest")
"""Beginnings of the names of modules that make sessions of FITS files."""

IMAGER = (
    "cal_pipeline.imager",
    "cal_pipeline.report.imager",
    "cal_pipeline.steps.imager",
    *(f"cal_pipeline.pipelines.{name}" for name in ("imager", "detector1", "image2", "image3", "preprocess")),
)
"""Beginnings of the names of modules of the imager."""

CHERENKOV = tuple(
    f"cal_pipeline.{name}" for name in ("cherenkov", "report.cherenkov_", "steps.cherenkov", "pipelines.molecular")
)
"""Beginnings of the names of modules of Cherenkov telescopes."""

FOLDERS = {INGEST: "folder_of_files", IMAGER: "folder_of_imager", CHERENKOV: "folder_of_night"}
"""Fixtures of the folders in which examples run, by the beginnings of the names of modules."""


def _with_examples() -> Iterator[Any]:
    """Find the modules that show something, without importing them."""
    for name in _modules_of(cal_pipeline):
        path = Path(cal_pipeline.__file__).parents[1].joinpath(*name.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if ">>>" in file.read_text(encoding="utf-8"):
            marks = [pytest.mark.slow] if name in SLOW else []
            marks += [pytest.mark.imager] if name.startswith(IMAGER) else []
            marks += [pytest.mark.cherenkov] if name.startswith(CHERENKOV) else []
            yield pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", list(_with_examples()))
def test_examples_are_true(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The example of the pipeline makes the folder of the others; it is checked in a folder of its own.
    folder = next((folder for start, folder in FOLDERS.items() if name.startswith(start)), "folder_of_examples")
    monkeypatch.chdir(tmp_path if name == CalibrationPipeline.__module__ else request.getfixturevalue(folder))
    if name.startswith(CHERENKOV):
        # Products have fixed names: in a folder that is shared, those of another example would be in the way.
        shutil.copytree(".", tmp_path, dirs_exist_ok=True)
        monkeypatch.chdir(tmp_path)
    made = _run_example(CONTINUED[name]) if name in CONTINUED else {}
    assert doctest.testmod(importlib.import_module(name), extraglobs=made).failed == 0


def _public(names: list[str]) -> Iterator[Any]:
    """Find the public functions and classes of modules, without exceptions."""
    for module in map(importlib.import_module, names):
        for name, value in vars(module).items():
            own = not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
            if own and callable(value) and not (inspect.isclass(value) and issubclass(value, BaseException)):
                yield value


IN_PYTHON = {
    CalibratedScan: ("band", "to_xarray", "velocity", "average", "to_spectrum", "plot", "plot_t_sys", "plot_sky"),
    RawScan: ("table", "to_xarray"),
}
"""Classes and methods for notebooks."""


def _met_by_users() -> list[Any]:
    """List what a user meets: pipeline, steps, data and simulator."""
    methods = [getattr(CalibratedSession, name) for name in ("groups", "bands", "attributes", "open_scan")]
    methods += [
        getattr(kind, name)
        for kind, names in {CalibratedSession: ("average", "plot_pwv", "plot_t_sys", "plot_sky"), **IN_PYTHON}.items()
        for name in names
    ]
    simulators = (simulate, imager_simulate)
    simulated = [getattr(simulator, name) for simulator in simulators for name in simulator.__all__]
    return [
        *(CalibrationPipeline, CalibratedSession, Product, Session, Scan, Band, RawSession),
        *(cal_pipeline.open_l0, cal_pipeline.open_l1, *IN_PYTHON),
        *methods,
        *(getattr(steps, name) for name in steps.__all__),
        *(item for item in simulated if inspect.isclass(item) or inspect.isfunction(item)),
    ]


def test_all_that_a_user_meets_has_an_example() -> None:
    assert [item.__qualname__ for item in _met_by_users() if not _examples_of(item)] == []


@pytest.mark.parametrize("room", [physics, references, modes, figures], ids=lambda room: room.__name__)
def test_all_functions_and_classes_have_an_example(room: ModuleType) -> None:
    names = _modules_of(room) if hasattr(room, "__path__") else [room.__name__]
    assert [f"{item.__module__}.{item.__qualname__}" for item in _public(names) if not _examples_of(item)] == []
