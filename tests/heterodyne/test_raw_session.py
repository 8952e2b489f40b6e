"""L0 sessions for work in Python: scans, tables of subscans, counts by pixel."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
import xarray
import zarr
from helpers_l0 import write_scan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cal_pipeline import open_l0
from cal_pipeline.errors import StoreError

PHASES = ["OFF", "ON", "ON", "OFF"]


@pytest.fixture
def session(make_session):
    return open_l0(make_session(scans=2, channels=32, pixels=2))


def test_it_prints_its_scans(session):
    first, titles, *rows = repr(session).splitlines()
    assert first.endswith("session.zarr: 2 scans>")
    assert titles.split()[0] == "scan"
    assert [row.split()[:3] for row in rows] == [["1", "SIM-ORION", "otf"], ["2", "SIM-ORION", "otf"]]
    assert "<table>" in session._repr_html_()


def test_table_and_selection(session):
    table = session.table()
    assert table["subscans"].tolist() == [7, 7]
    assert table["pixels"].tolist() == [2, 2]
    assert table["size"].unit == u.Mbyte
    # Seven subscans of eight dumps; the telescope moves in between.
    assert 7 * 8 * 0.5 * u.s <= table["duration"][0] < 60 * u.s
    assert list(session.select(scan=2)) == [2]
    assert list(session.select(mode="otf")) == [1, 2]


def test_a_scan_prints_layout_subscans_and_loads(session):
    text = repr(session[1])
    assert "32 channels, 8 dumps, 2 receivers, 1 array, 7 subscans; 0.0 MB" in text
    assert "OTF-OFF, 2 OTF-ON, OTF-OFF, 2 OTF-ON, OTF-OFF" in text
    assert "scan 1 (own)" in text
    assert session[1].pixels == ["CHAI_PX00", "CHAI_PX01"]
    assert session[1].bands == []


def test_the_subscans(session):
    table = session[1].table()
    assert table["phase"].tolist()[:2] == ["OTF-OFF", "OTF-ON"]
    assert (np.diff(table["mjd"]) > 0 * u.day).all()
    # 60 to 65 degrees high; 515 hPa at 5600 m.
    assert 60 * u.deg < table["elevation"][0] < 65 * u.deg
    assert table["pamb"][0].to_value(u.hPa) == pytest.approx(515.0, abs=1.0)


class TestCounts:
    INDEX = st.one_of(st.integers(0, 1), st.just(slice(None)), st.lists(st.integers(0, 1), min_size=1))
    SUBSCANS = st.one_of(st.integers(0, 6), st.slices(7).filter(lambda part: len(range(7)[part]) > 0))
    CHANNELS = st.one_of(st.integers(0, 31), st.slices(32).filter(lambda part: len(range(32)[part]) > 0))

    @given(pixel=INDEX, subscan=SUBSCANS, channel=CHANNELS)
    @settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_part_is_that_of_the_store(self, session, pixel, subscan, channel):
        stored = zarr.open_array(f"{session.path}/scan_000001/source/data_5d", mode="r")[...]
        whole = xarray.DataArray(stored[:, :, :, 0].astype(float), dims=("channel", "dump", "pixel", "subscan"))
        part = {"pixel": pixel, "subscan": subscan, "channel": channel}
        np.testing.assert_array_equal(session[1].to_xarray().counts.isel(part).values, whole.isel(part).values)

    def test_a_pixel_by_name(self, session):
        counts = session[1].to_xarray()
        assert counts.sel(pixel="CHAI_PX01").counts.dims == ("channel", "dump", "subscan")
        assert counts.phase.values[1] == "OTF-ON"
        assert np.issubdtype(counts.mjd.dtype, np.datetime64)
        assert counts.counts.attrs["units"] == "ct"

    def test_missing_counts_are_no_numbers(self, session):
        array = zarr.open_array(f"{session.path}/scan_000001/source/data_5d", mode="r+")
        array[3, 2, 1, 0, 4] = np.iinfo(np.int32).min
        part = session[1].to_xarray().counts.sel(pixel="CHAI_PX01").isel(channel=3, subscan=4)
        assert np.isnan(part.values).tolist() == [dump == 2 for dump in range(8)]


def test_bands_and_broken_scans(tmp_path):
    root = tmp_path / "session.zarr"
    for band in ("band_0", "band_1"):
        write_scan(root, 1, band=band)
    write_scan(root, 2)
    (tmp_path / "session.zarr" / "scan_000002" / "source" / "mjd" / "zarr.json").write_text("{")
    session = open_l0(tmp_path / "session.zarr")
    table = session.table()
    assert table["scan"].tolist() == [1, 1, 2]
    assert table["verdict"].tolist() == ["readable", "readable", "unreadable"]
    assert session[1].bands == ["band_0", "band_1"]
    assert "unreadable" in repr(session[2])
    assert "band_1" in repr(session[1])
    with pytest.raises(ValueError, match=r"scan 1 has no band 'band_7'; it has band_0, band_1"):
        session[1].table("band_7")


def test_a_scan_that_is_not_there(session):
    with pytest.raises(KeyError, match=r"has no scan 9; it has scans \[1, 2\]"):
        session[9]


def test_no_session(tmp_path):
    with pytest.raises(StoreError, match="not there"):
        open_l0(tmp_path / "none.zarr")
