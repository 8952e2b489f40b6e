"""Nothing is left of a scan that cannot be written."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.run.job import ProcessedObservation, write_processed
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.errors import LayoutError
from cal_pipeline.pipelines import calibration


@pytest.fixture
def attempt(tmp_path, monkeypatch):
    """Write a scan, of which a part is there when an error comes."""
    root = LocalStorePath(tmp_path / "scan_000001")

    def start(error):
        def write_scan(scan, root, *_):
            root.put("gamma/c.0", b"1")
            raise error

        monkeypatch.setattr(calibration, "write_scan", write_scan)
        processed = ProcessedObservation(1, SimpleNamespace(number=1, clock=StageClock()), store="night.zarr")
        try:
            return write_processed(processed, root, CalibrationPipeline())
        finally:
            assert not root.path.exists()

    return start


@pytest.mark.parametrize(
    ("error", "message"),
    [(OSError("disk full"), "disk full"), (MemoryError(), "MemoryError()"), (LayoutError("x"), "x")],
)
def test_an_error_is_a_result(attempt, error, message):
    result = attempt(error)
    assert (result.failed_in, result.error_class, result.message) == (
        "write",
        type(error).__name__,
        f"scan 1 of night.zarr: {message}",
    )
    assert "write_scan" in result.traceback


@pytest.mark.parametrize("error", [KeyError("gain"), ValueError("bad"), TypeError(), ZeroDivisionError("by nought")])
def test_an_error_that_nobody_raised_on_purpose_is_a_fault_to_be_reported(attempt, error):
    result = attempt(error)
    assert (result.failed_in, result.error_class) == ("write", "InternalError")
    said = (
        f"scan 1 in night.zarr: step write ended in {type(error).__name__}: ",
        str(error),
        "fault of cal_pipeline",
        "report",
    )
    assert all(words in result.message for words in said), result.message
    assert f"{type(error).__name__}" in result.traceback


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_not_held_back(attempt, error):
    with pytest.raises(error):
        attempt(error())
