"""Fixtures of the imager: a small visit with reference files, simulated once, and what it is calibrated to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stpipe._cli.strun

from cal_pipeline import Detector1Pipeline, Image2Pipeline, Image3Pipeline
from cal_pipeline.imager.simulate import Detector, ExposurePlan, VisitConfig, VisitFiles, simulate_visit

PLANS = (
    ExposurePlan("DARK", n_groups=4, target="DARK"),
    ExposurePlan("FLAT", n_groups=4, target="LAMP"),
    ExposurePlan("SCI", n_groups=4, target="FIELD"),
    ExposurePlan("SCI", n_groups=4, target="FIELD", offset=(1.3, 0.4)),
    ExposurePlan("SCI", n_groups=4, target="STAR", n_integrations=3, tso=True),
    ExposurePlan("SKY", n_groups=4, target="SKY", offset=(900.0, 0.0)),
)
"""Exposures 1 to 6 of the visit."""


@pytest.fixture(scope="session")
def visit(tmp_path_factory: pytest.TempPathFactory) -> VisitFiles:
    """A visit of 32 x 32 pixels with its truth and reference files, which no test may change."""
    folder = tmp_path_factory.mktemp("visit")
    return simulate_visit(VisitConfig(list(PLANS), Detector(size=32)), folder / "visit.zarr")


@pytest.fixture(scope="session")
def rate_store(visit: VisitFiles) -> Path:
    """Rates of the visit."""
    output = visit.visit.with_name("rate.zarr")
    run_pipeline(Detector1Pipeline, visit.visit, output, visit.references)
    return output


@pytest.fixture(scope="session")
def cal_store(visit: VisitFiles, rate_store: Path) -> Path:
    """Calibrated images of the visit."""
    output = visit.visit.with_name("cal.zarr")
    run_pipeline(Image2Pipeline, rate_store, output, visit.references)
    return output


@pytest.fixture(scope="session")
def mosaic_store(visit: VisitFiles, cal_store: Path) -> Path:
    """Mosaic of the visit."""
    output = visit.visit.with_name("mosaic.zarr")
    run_pipeline(Image3Pipeline, cal_store, output, visit.references)
    return output


def run_pipeline(pipeline: Any, source: Path, output: Path, references: Path, **settings: Any) -> Any:
    return pipeline.call(
        str(source), output_file=str(output), references=str(references), configure_log=False, **settings
    )


@pytest.fixture
def strun(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command ``strun`` in this process; returns its exit status."""

    def run(*arguments: str | Path) -> int:
        monkeypatch.setattr("sys.argv", ["strun", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            stpipe._cli.strun.main()
        return int(caught.value.code or 0)

    return run


@pytest.fixture
def own_visit(visit: VisitFiles, tmp_path: Path) -> VisitFiles:
    """The visit in the test's folder, to be changed."""
    for path in visit.all:
        shutil.copytree(path, tmp_path / path.name)
    return VisitFiles.of(tmp_path / visit.visit.name)


@pytest.fixture
def own_copy(tmp_path: Path) -> Callable[[Path], Path]:
    """Copy a store into the test's folder."""
    return lambda store: Path(shutil.copytree(store, tmp_path / store.name))
