"""Examples in docstrings: all that a user meets has some, and they are true."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cal_pipeline
from cal_pipeline import CalibratedSession, CalibrationPipeline, simulate, steps
from cal_pipeline.heterodyne import modes, physics, references
from cal_pipeline.heterodyne.physics.pwv import SkyObservation
from cal_pipeline.heterodyne.physics.sky import SkyDirection
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.core.store.product import Product

MODULES = [
    module.name
    for module in pkgutil.walk_packages(cal_pipeline.__path__, "cal_pipeline.")
    if not module.name.endswith("__main__")
]

CONTINUED = {
    "cal_pipeline.heterodyne.physics.pwv": SkyObservation,
    "cal_pipeline.heterodyne.physics.sky": SkyDirection,
    "cal_pipeline.heterodyne.physics.strategies": SkyObservation,
}
"""Classes whose example makes what other examples of a module refer to."""


@pytest.fixture(scope="session")
def folder_of_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the documentation speaks of: ``session.zarr`` and ``l1.zarr``."""
    folder = tmp_path_factory.mktemp("examples")
    session, product = str(folder / "session.zarr"), str(folder / "l1.zarr")
    line = simulate.Line(t_peak=1.0, fwhm_hz=1e9)
    config = simulate.preset("ccat_chai", channels=64, pixels=1, mode="otf", scans=1, lines=(line,))
    simulate.simulate(config, session)
    CalibrationPipeline.call(session, output_file=product, configure_log=False)
    return folder


def _names_made_by(kind: type[Any] | None) -> dict[str, Any]:
    """Run the example of a class; return the names that it makes."""
    if kind is None:
        return {}
    known = vars(inspect.getmodule(kind))
    names = dict(known)
    for example in doctest.DocTestParser().get_examples(inspect.getdoc(kind) or ""):
        exec(example.source, names)
    return {name: value for name, value in names.items() if name not in known}


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str, folder_of_examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder_of_examples)
    module = importlib.import_module(name)
    results = doctest.testmod(module, extraglobs=_names_made_by(CONTINUED.get(name)))
    assert results.failed == 0
