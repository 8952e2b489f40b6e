"""``verify``: what a disk or memory changes between writing and reading back is not published."""

from __future__ import annotations

import pytest

from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.core.store.local_path import LocalStorePath


@pytest.fixture
def bad_disk(monkeypatch):
    """A disk that flips a bit of what is written below a name."""
    put, fragment = LocalStorePath.put, []

    def spoil(path, key, *data):
        content = b"".join(data)
        if fragment and all(part in f"{path.name}/{key}" for part in fragment):
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
        put(path, key, content)

    monkeypatch.setattr(LocalStorePath, "put", spoil)
    return fragment


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [("spectra", "/c."), ("tau_signal", "/c."), ("pwv", "zarr.json")])
def test_a_bit_that_flips_fails_its_scan(make_session, calibrate, bad_disk, damaged):
    session = make_session(scans=2)
    bad_disk += ["scan_000002", *damaged]
    with pytest.raises(RunFailedError) as told:
        calibrate(session, verify=True)
    product = told.value.product
    assert product.numbers == [1]
    (failure,) = product.failures
    assert (failure["scan_number"], failure["step"]) == (2, "write")
    assert failure["error_class"] in ("ReadBackError", "IncompleteWriteError")
    assert damaged[0] in failure["message"]


@pytest.mark.slow
def test_what_was_written_well_is_published(make_session, calibrate):
    assert calibrate(make_session(scans=2), verify=True).numbers == [1, 2]
