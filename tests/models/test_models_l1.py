"""What an L1 store holds."""

from __future__ import annotations

import pytest

from cal_pipeline import CalibratedSession
from cal_pipeline.errors import StoreError
from cal_pipeline.models.chunks import write_group
from cal_pipeline.models.storage import LocalPlace


@pytest.fixture
def product(tmp_path):
    place = LocalPlace(tmp_path / "l1.zarr")
    for path in ("", "scan_000001", "scan_000002", *(f"scan_000002/band_{band}" for band in (10, 0, 2))):
        write_group(place, path, {"name": path})
    return CalibratedSession(tmp_path / "l1.zarr")


def test_bands_are_counted_not_spelt(product):
    assert product.bands(1) == ["scan_000001"]
    assert product.bands(2) == [f"scan_000002/band_{band}" for band in (0, 2, 10)]
    assert product.attributes(2) == {"name": "scan_000002/band_0"}


def test_a_scan_that_is_not_there(product):
    with pytest.raises(StoreError, match=r"has no scan 3; it has scans \[1, 2\]"):
        product.bands(3)
