"""Fixtures for all tests: an atmosphere table, small sessions, and how they are calibrated."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from helpers_atm import under_one_layer, write_test_atm_table
from helpers_warm import WarmCommands

from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.simulate import SessionConfig, preset, simulate, truth_path

# What `test_adding` adds to a copy of the repository.
collect_ignore = ["adding"]

# The first example of a property may wait for a function to be compiled, and any example for other processes.
hypothesis.settings.register_profile("compiled", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("compiled")


def pytest_xdist_auto_num_workers() -> int:
    """Run one worker more than there are cores: many tests wait for servers and processes that they start."""
    return (os.cpu_count() or 1) + 1


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let workers that have nothing left to do take tests over from the others."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getoption("dist") == "load" else None


FIRST = (
    "test_remote_output_dies",
    "test_docs",
    "test_faults",
    "test_fault_table",
    "test_any_store",
    "test_demo_imager",
    "test_adding",
    "test_remote_products",
    "test_remote",
    "test_time_limits",
    "test_workers",
    "test_commands",
    "test_cluster",
)
"""Modules with tests that take long or wait, which would leave workers idle if they came last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


@pytest.fixture(autouse=True)
def _few_objects_to_collect() -> Iterator[None]:
    """Keep what libraries made out of garbage collection, which stpipe starts in every `Step.run`."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def atm_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up atmosphere table for 450 to 500 GHz."""
    return write_test_atm_table(tmp_path_factory.mktemp("atm") / "atm.asdf")


@pytest.fixture(scope="session")
def configure(atm_table: Path) -> Callable[..., SessionConfig]:
    """Choose a small session: ``configure(channels=…, noise=…, …)``.

    The sky is one layer, as in the table, unless an ``atmosphere`` is given.
    """

    def choose(**changes: Any) -> SessionConfig:
        settings = {"channels": 32, "pixels": 2, "mode": "otf", "table": str(atm_table)} | changes
        config = preset(settings.pop("preset", "ccat_chai"), **settings)
        return config if "atmosphere" in changes else under_one_layer(config)

    return choose


@pytest.fixture(scope="session")
def simulate_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[SessionConfig], Path]:
    """Simulate each configuration once, in a folder that all tests share and none may change."""
    folder = tmp_path_factory.mktemp("simulated")
    made: dict[bytes, Path] = {}

    def once(config: SessionConfig) -> Path:
        key = pickle.dumps(config)
        if key not in made:
            made[key] = folder / f"{len(made)}.zarr"
            simulate(config, made[key])
        return made[key]

    return once


@pytest.fixture
def make_session(
    tmp_path: Path, configure: Callable[..., SessionConfig], simulate_once: Callable[[SessionConfig], Path]
) -> Callable[..., Path]:
    """Simulate a session in the test's folder: ``make_session(name, channels=…, noise=…, …)``, as `configure` takes."""

    def make(name: str = "session.zarr", **changes: Any) -> Path:
        path, made = tmp_path / name, simulate_once(configure(**changes))
        shutil.copytree(truth_path(made), truth_path(path))
        return Path(shutil.copytree(made, path))

    return make


@pytest.fixture(scope="session")
def calibrate_to(atm_table: Path) -> Callable[..., CalibratedSession]:
    """Calibrate a session to a product: ``calibrate_to(product, session, loads={…}, atmosphere={…}, …)``."""

    def run(product: Path, session: Path, **settings: Any) -> CalibratedSession:
        steps = {name: settings.pop(name, {}) for name in CalibrationPipeline.step_defs}
        steps["loads"] = {"forward_efficiency": 0.95} | steps["loads"]
        steps["atmosphere"] = {"override_atm": str(atm_table)} | steps["atmosphere"]
        settings = {"configure_log": False} | settings
        return CalibrationPipeline.call(str(session), output_file=str(product), steps=steps, **settings)

    return run


@pytest.fixture
def calibrate(tmp_path: Path, calibrate_to: Callable[..., CalibratedSession]) -> Callable[..., CalibratedSession]:
    """Calibrate a session into the test's folder: ``calibrate(session, loads={…}, atmosphere={…}, …)``."""

    def run(session: Path, output: str = "l1.zarr", **settings: Any) -> CalibratedSession:
        return calibrate_to(tmp_path / output, session, **settings)

    return run


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmCommands]:
    """Commands that start at once, for tests that are not about the start."""
    commands = WarmCommands(tmp_path_factory.mktemp("warm"))
    yield commands
    commands.close()


CHERENKOV_DATA = "CAL_PIPELINE_CHERENKOV_DATA"
DATA_BESIDE = Path(__file__).parents[2] / "shared" / "data" / "cherenkov"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real meteorological tables, reference models, muons and pairs, with expected values."""
    folder = Path(os.environ.get(CHERENKOV_DATA, DATA_BESIDE))
    if not folder.is_dir():
        pytest.skip(f"no folder of real data; {CHERENKOV_DATA} names one")
    return folder


@pytest.fixture(scope="session")
def _made_up_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a made-up night, its database with models, and its concentration of CO2; no test may change it."""
    from cal_pipeline.cherenkov.simulate.night import simulate_night
    from cal_pipeline.cli.calibpipe import run_tool

    folder = tmp_path_factory.mktemp("made_up")
    with contextlib.chdir(folder):
        night = simulate_night("night", seed=4)
        for command, path in night.commands[:6]:
            assert run_tool(command, ["-c", str(path)]) == 0
    return folder / "night"


@pytest.fixture
def made_up_night(_made_up_night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder ``night`` of a made-up night in the test's folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(_made_up_night, tmp_path / "night")
    return Path("night")
