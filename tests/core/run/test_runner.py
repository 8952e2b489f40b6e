"""One scan after the other, each on its own."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest
from helpers_l0 import write_scan

from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.core.pipeline import default_output
from cal_pipeline.core.run.job import Prepared
from cal_pipeline.core.run.runner import RunFailedError, calibrate_observations
from cal_pipeline.core.run.this_process import ThisProcess
from cal_pipeline.core.store.local_output import LocalOutput
from cal_pipeline.errors import LayoutError
from cal_pipeline.heterodyne.session import Session


class Recipe(CalibrationPipeline):
    """Stages that need no parameters."""

    def __init__(self, stages):
        super().__init__()
        self._stages = stages

    def prepare_for(self, scan):
        return Prepared({"parameters": {"a": None, "b": [1, scan.number]}}, self._stages)


@pytest.fixture
def session(tmp_path):
    for number in (1, 2, 3):
        write_scan(tmp_path / "night.zarr", number)
    return Session(tmp_path / "night.zarr")


@pytest.fixture
def run(session, tmp_path):
    def start(**stages):
        with LocalOutput(tmp_path / "l1.zarr", True, session.path, CalibratedSession.kind) as output:
            return calibrate_observations(session, session.numbers, Recipe(stages), output, ThisProcess())

    return start


@pytest.mark.slow
def test_scans_are_written_and_logged(run, caplog):
    with caplog.at_level(logging.INFO, "cal_pipeline"):
        product = run(first=lambda scan: scan)
    assert product.numbers == [1, 2, 3]
    assert product.failures == []
    lines = [record.getMessage() for record in caplog.records]
    names = ("scale_error", "noise_ratio", "load_age_s", "sky_misfit")
    unknown = "questionable: " + " ".join(f"{name} (not known)" for name in names)
    assert lines[:3] == [f"scan {number}, {unknown}" for number in (1, 2, 3)]
    assert lines[3].startswith("3 scans calibrated (3 questionable) in ")
    recorded = product.open_scan(1).attrs["provenance"]
    assert recorded["parameters"] == {"a": None, "b": [1, 1]}


@pytest.mark.slow
@pytest.mark.parametrize(("bad", "status"), [((2,), 2), ((1, 3), 2), ((1, 2, 3), 1)])
def test_what_fails_is_told_at_the_end(run, bad, status, caplog):
    def stage(scan):
        if scan.number in bad:
            raise LayoutError("by nought")
        return scan

    with pytest.raises(RunFailedError, match=f"{len(bad)} of 3 scans could not be calibrated; see ") as caught:
        run(first=lambda scan: scan, second=stage)
    assert caught.value.exit_status == status
    assert caught.value.product.numbers == [n for n in (1, 2, 3) if n not in bad]
    failures = caught.value.product.failures
    assert [(one["scan_number"], one["step"], one["error_class"]) for one in failures] == [
        (n, "second", "LayoutError") for n in bad
    ]
    assert all(
        re.fullmatch(rf"scan {one['scan_number']} of .*night.zarr: by nought", one["message"]) for one in failures
    )
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [
        f"scan {one['scan_number']} failed in step second: LayoutError: {one['message']}" for one in failures
    ]


@pytest.mark.slow
def test_an_interruption_stops_the_run_and_leaves_what_is_complete(run, tmp_path):
    def stage(scan):
        if scan.number == 2:
            raise KeyboardInterrupt
        return scan

    with pytest.raises(KeyboardInterrupt):
        run(first=stage)
    assert sorted(p.name for p in (tmp_path / "l1.zarr").glob("scan_*")) == ["scan_000001"]
    assert not (tmp_path / "l1.zarr.staging").exists()


@pytest.mark.slow
def test_the_framework_is_quiet_meanwhile_and_as_before_afterwards(run):
    framework = logging.getLogger("stpipe")
    before = framework.level
    levels = []
    run(first=lambda scan: levels.append(framework.level) or scan)
    assert levels == [logging.WARNING] * 3
    assert framework.level == before


@pytest.mark.parametrize(("name", "output"), [("night.zarr", "night_l1.zarr"), ("night", "night_l1.zarr")])
def test_default_output(tmp_path, name, output):
    write_scan(tmp_path / name, 1)
    assert default_output(str(tmp_path / name)) == output


def test_scans_are_taken_in_the_order_of_time(tmp_path, caplog):
    for number, start in ((1, 0.5), (2, 0.1), (3, 0.3)):
        write_scan(tmp_path / "night.zarr", number, source={"mjd": 60000.0 + start + 1e-4 * np.arange(4)})
    session = Session(tmp_path / "night.zarr")
    assert session.in_order_of_time([1, 2, 3]) == [2, 3, 1]
    (tmp_path / "night.zarr/scan_000002/source/mjd/zarr.json").unlink()
    assert session.in_order_of_time([1, 2, 3]) == [3, 1, 2]
