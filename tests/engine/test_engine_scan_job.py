"""Nothing is left of a scan that cannot be written."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cal_pipeline.engine import scan_job
from cal_pipeline.engine.scan_job import CalibratedScan, write
from cal_pipeline.models.clock import StageClock
from cal_pipeline.models.storage import LocalPlace


@pytest.fixture
def attempt(tmp_path, monkeypatch):
    """Write a scan, of which a part is there when an error comes."""
    place = LocalPlace(tmp_path / "scan_000001")

    def start(error):
        def write_scan(scan, place, provenance):
            place.put("gamma/c.0", b"1")
            raise error

        monkeypatch.setattr(scan_job, "write_scan", write_scan)
        try:
            return write(CalibratedScan(1, SimpleNamespace(number=1, clock=StageClock())), place)
        finally:
            assert not place.path.exists()

    return start


@pytest.mark.parametrize(("error", "message"), [(OSError("disk full"), "disk full"), (KeyError(), "KeyError()")])
def test_an_error_is_an_outcome(attempt, error, message):
    outcome = attempt(error)
    assert (outcome.failed_in, outcome.error_class, outcome.message) == ("write", type(error).__name__, message)
    assert "write_scan" in outcome.traceback


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_not_held_back(attempt, error):
    with pytest.raises(error):
        attempt(error())
