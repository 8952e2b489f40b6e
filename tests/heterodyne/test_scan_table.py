"""The table of the scans of a session, and selection by its columns."""

from __future__ import annotations

import time

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable
from helpers_scans import MJD, write_scans

from cal_pipeline import open_l1
from cal_pipeline.errors import ScanNotFoundError, StoreError

FAILURE = {"scan_number": 4, "step": "loads", "error_class": "NoLoadsError", "message": "no hot load"}
SCANS = {
    "scan_000001": {"source": "M82", "pwv": 0.4, "t_sys": 120.0},
    "scan_000002": {"source": "DR21", "pwv": 0.8, "t_sys": 150.0, "verdict": "questionable", "checks": ["ripple"]},
    "scan_000003/band_0": {"source": "M82", "pwv": 1.2, "t_sys": 300.0},
    "scan_000003/band_1": {"source": "M82", "pwv": 1.1, "t_sys": 400.0, "verdict": "fail"},
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_scans(tmp_path_factory.mktemp("table") / "l1.zarr", SCANS, [FAILURE])


@pytest.fixture
def session(path):
    return open_l1(path)


class TestTable:
    def test_a_row_for_each_band_and_failure(self, session):
        table = session.table()
        assert isinstance(table, QTable)
        assert table["scan"].tolist() == [1, 2, 3, 3, 4]
        assert table["band"].tolist() == ["", "", "band_0", "band_1", ""]
        assert table["source"].tolist() == ["M82", "DR21", "M82", "M82", ""]
        assert table["verdict"].tolist() == ["pass", "questionable", "pass", "fail", "failed"]
        assert table["pixels"].tolist() == [6, 6, 6, 6, 0]
        assert table["reason"].tolist()[1] == "ripple"
        assert table["reason"].tolist()[4] == "loads: NoLoadsError: no hot load"

    def test_units(self, session):
        table = session.table()
        assert table["t_sys"][3] == 400.0 * u.K
        assert table["pwv"][0] == 400.0 * u.um
        # 0.03 statistical and 0.04 from the opacity model.
        assert table["pwv_err"][0].to_value(u.mm) == pytest.approx(0.05)
        # Four ONs of 4 s, one every 10 s.
        assert table["duration"][0].to_value(u.s) == pytest.approx(34.0, abs=1e-4)
        assert table["mjd"][0].to_value(u.day) == pytest.approx(MJD + 15.0 / 86400.0, abs=1e-8)
        assert np.isnan(table["pwv"][4])

    def test_columns_are_described(self, session):
        table = session.table()
        assert [name for name in table.colnames if not table[name].info.description] == []

    def test_it_is_a_copy(self, session):
        session.table()["source"][0] = "x"
        assert session.table()["source"][0] == "M82"

    def test_broken_scans_hide_no_others(self, tmp_path):
        store = write_scans(tmp_path / "l1.zarr", {"scan_000001": {}, "scan_000002": {}, "scan_000003": {}})
        (store / "scan_000002" / "zarr.json").write_text("{")
        (store / "scan_000003" / "pwv_err" / "zarr.json").unlink()
        table = open_l1(store).table()
        assert table["verdict"].tolist() == ["pass", "unreadable", "pass"]
        assert "zarr.json" in table["reason"][1]
        assert np.isfinite(table["pwv"]).tolist() == [True, False, True]
        assert np.isfinite(table["pwv_err"]).tolist() == [True, False, False]

    def test_no_scan(self, tmp_path):
        table = open_l1(write_scans(tmp_path / "l1.zarr", {})).table()
        assert len(table) == 0
        assert table["pwv"].unit == u.mm

    @pytest.mark.slow
    def test_two_hundred_scans_open_quickly(self, tmp_path):
        store = write_scans(tmp_path / "l1.zarr", {"scan_000001": {}})
        for number in range(2, 201):
            (store / f"scan_{number:06d}").symlink_to(store / "scan_000001")
        start = time.process_time()
        table = open_l1(store).table()
        assert len(table) == 200
        # Some 0.3 s here; the bound is one of order.
        assert time.process_time() - start < 3.0


class TestSelection:
    @pytest.mark.parametrize(
        ("columns", "numbers"),
        [
            ({"source": "M82"}, [1, 3]),
            ({"source": ["M82", "DR21"]}, [1, 2, 3]),
            ({"source": "M82", "verdict": "pass"}, [1, 3]),
            ({"pwv": slice(None, 0.8)}, [1, 2]),
            ({"pwv": slice(800 * u.um, None)}, [2, 3]),
            ({"t_sys": lambda t_sys: t_sys > 200.0 * u.K}, [3]),
            ({"band": "band_1"}, [3]),
            ({"scan": range(1, 3)}, [1, 2]),
            ({"source": "M82", "pwv": slice(2.0, None)}, []),
        ],
    )
    def test_by_columns(self, session, columns, numbers):
        part = session.select(**columns)
        assert list(part) == numbers
        assert sorted(set(part.table()["scan"].tolist())) == numbers
        assert list(session) == [1, 2, 3]

    def test_failed_scans(self, session):
        failed = session.select(verdict="failed")
        assert list(failed) == []
        assert failed.failures == [FAILURE]
        assert session.select(source="M82").failures == []

    def test_by_mask(self, session):
        table = session.table()
        assert list(session.select(table["t_sys"] < 200.0 * u.K)) == [1, 2]
        assert list(session.select(table["t_sys"] < 200.0 * u.K, source="DR21")) == [2]
        with pytest.raises(ValueError, match=r"mask has bool of shape \(2,\), expected 5 booleans, one a row"):
            session.select(np.ones(2, bool))

    def test_selection_of_a_selection(self, session):
        part = session.select(source="M82")
        assert list(part.select(pwv=slice(1.0, None))) == [3]
        assert list(part.select(part.table()["band"] == "")) == [1]

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"sorce": "M82"}, r"no column 'sorce'; did you mean 'source'\?"),
            ({"verdict": "good"}, r"no scan has verdict=good; there is pass, questionable, fail, failed"),
            ({"source": ["M82", "M83"]}, r"no scan has source=M83; there is M82, DR21"),
            ({"pwv": slice(0, 1, 2)}, r"range of pwv has the step 2"),
            ({"pwv": lambda _: 1.0}, r"function of column pwv returned float64 \(\), expected a mask of 5 rows"),
        ],
    )
    def test_what_is_not_there(self, session, columns, message):
        with pytest.raises(ValueError, match=message):
            session.select(**columns)


class TestMapping:
    def test_scans_by_number(self, session):
        assert len(session) == 3
        assert 2 in session
        assert 4 not in session
        assert "M82" not in session
        assert session.keys() == [1, 2, 3]
        assert [scan.number for scan in session.values()] == [1, 2, 3]
        assert [(number, scan.number) for number, scan in session.items()] == [(1, 1), (2, 2), (3, 3)]
        assert session[np.int64(2)].attributes["source"] == "DR21"

    def test_a_failed_scan_says_why(self, session):
        with pytest.raises(
            ScanNotFoundError, match=r"has no scan 4: it failed in step loads: NoLoadsError: no hot load"
        ):
            session[4]
        for kind in (KeyError, StoreError):
            with pytest.raises(kind, match=r"has no scan 7; it has scans \[1:3\]"):
                session[7]

    @pytest.mark.parametrize("key", ["M82", 1.0, True, None, slice(None)])
    def test_keys_of_other_types(self, session, key):
        with pytest.raises(TypeError, match=r"expected a whole number; select"):
            session[key]

    def test_a_session_without_scans_is_true(self, tmp_path):
        assert open_l1(write_scans(tmp_path / "l1.zarr", {}))


class TestDisplay:
    def test_text(self, session):
        first, titles, *rows = repr(session).splitlines()
        assert first.endswith("l1.zarr: 3 scans, 1 failed>")
        assert titles.split()[:3] == ["scan", "band", "source"]
        assert [row.split()[0] for row in rows] == ["1", "2", "3", "3", "4"]
        assert "0.400 ± 0.050" in rows[0]
        assert rows[4].split()[1:] == ["-"] * 7 + ["failed"]

    def test_many_scans_are_cut(self, tmp_path):
        store = write_scans(tmp_path / "l1.zarr", {"scan_000001": {}})
        for number in range(2, 31):
            (store / f"scan_{number:06d}").symlink_to(store / "scan_000001")
        lines = repr(open_l1(store)).splitlines()
        assert [line.split()[0] for line in lines[2:]] == ["1", "2", "3", "4", "…", "27", "28", "29", "30"]

    def test_names_are_escaped(self, tmp_path):
        bad = "<script>alert(1)</script>\x1b[2J"
        session = open_l1(write_scans(tmp_path / "l1.zarr", {"scan_000001": {"source": bad}}))
        for shown in (session, session[1]):
            assert "<script>" not in shown._repr_html_()
            assert "&lt;script&gt;" in shown._repr_html_()
            assert "\x1b" not in repr(shown) + shown._repr_html_()

    def test_a_broken_store_is_shown(self, tmp_path):
        store = write_scans(tmp_path / "l1.zarr", {"scan_000001": {}})
        session = open_l1(store)
        scan = session[1]
        (store / "scan_000001" / "zarr.json").write_text("{")
        assert "unreadable" in repr(session)
        assert "unreadable" in repr(scan)
