"""``info`` describes whatever it is given."""

from __future__ import annotations

import json
import shutil

import asdf
import numpy as np
import pytest
import zarr
from helpers_l0 import write_scan
from helpers_l1 import record, write_array, write_product

from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.errors import StoreError
from cal_pipeline.heterodyne.kinds import Kind
from cal_pipeline.heterodyne.overview import describe, session_overview
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.heterodyne.product_overview import product_overview
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.report.quality_table import quality_table
from cal_pipeline.steps import AtmosphereStep, CalibrateStep, LoadsStep, PrepareStep

INTERVAL = 3600.0


def lines_of(found):
    json.dumps(found.data, allow_nan=False)
    lines = found.text.splitlines()
    assert max(map(len, lines)) <= 100
    return lines


class TestProduct:
    def test_scans_and_what_they_were_made_with(self, tmp_path):
        failure = {"scan_number": 9, "step": "loads", "error_class": "NoLoadsError", "message": "none\x1b[1m found"}
        scans = {
            "scan_000001": record(1, pwv=0.51, t_rec=171.6, t_sys=123.4),
            "scan_000002/band_0": record(2, verdict="questionable", checks=["noise_ratio", "ripple"]),
            "scan_000002/band_1": record(2, source="η Car\n", calibration_reason="nearest in the past, 35 s before"),
        }
        path = write_product(
            tmp_path / "l1.zarr", scans, {"pwv_err": np.array(0.03), "pwv_err_model": np.array(0.04)}, [failure]
        )
        found = describe(path, INTERVAL)
        lines = lines_of(found)
        assert found.kind is Kind.PRODUCT
        assert lines[1] == "L1 store of 2 scans, 1 failed; format 1.0"
        assert "    atmosphere atm.asdf (full)" in lines
        assert "    parameters cfg/ccat_chai_otf.asdf" in lines
        assert "    loads      own  [1, 2]" in lines
        assert "    loads      nearest in the past  [2]" in lines
        table = lines[lines.index(next(line for line in lines if line.startswith("scan "))) :]
        assert [title in table[0] for title in ("T_rec SSB [K]", "T_sys DSB [K]", "PWV [mm]")] == [True] * 3
        # sqrt(0.03² + 0.04²) = 0.05
        assert table[1].split() == ["1", "ORION", "otf", "0.510", "±", "0.050", "172", "123", "pass"]
        assert table[2].endswith("questionable: noise_ratio, ripple")
        assert "η Car\\n" in table[3]
        assert table[4] == "scan 9 failed in step loads: NoLoadsError: none\\x1b[1m found"

    @pytest.mark.slow
    def test_medians_are_those_of_qa(self, make_session, calibrate):
        product = calibrate(make_session(channels=16, pixels=3), atmosphere={"strategy": "per_pixel"})
        (band,) = product_overview(product).bands
        table = quality_table(product)
        assert band.t_rec_ssb_K == pytest.approx(np.median(table["t_rec_ssb_K"]))
        assert band.t_sys_dsb_K == pytest.approx(np.median(table["t_sys_K"]))
        scan = product.open_scan(1)
        total = np.sqrt(scan.pwv_err.values**2 + scan.pwv_err_model.values**2)
        assert total.shape == (3, 1)
        assert band.pwv_err_total_mm == pytest.approx(np.median(total))
        assert band.pwv_mm == pytest.approx(np.median(scan.pwv))
        assert band.verdict == product.attributes(1)["qa"]["verdict"]
        assert band.loads == "1 (own)"
        assert band.profile == "CCAT"

    @pytest.mark.parametrize("attributes", [{}, {"qa": None, "provenance": []}, record(1, pwv=None, t_sys=None)])
    def test_what_is_not_known(self, tmp_path, attributes):
        path = write_product(tmp_path / "l1.zarr", {"scan_000001": attributes}, {"pwv_err": [np.nan]})
        found = describe(path, INTERVAL)
        lines_of(found)
        assert found.data["bands"][0]["pwv_mm"] is None
        assert found.data["bands"][0]["pwv_err_total_mm"] is None

    def test_a_product_of_failures_alone_is_described(self, tmp_path):
        failures = [
            {"scan_number": n, "step": "loads", "error_class": "NoLoadsError", "message": "no loads " * 40}
            for n in range(50)
        ]
        lines = lines_of(describe(write_product(tmp_path / "l1.zarr", {}, failures=failures), INTERVAL))
        assert lines[1] == "L1 store of 0 scans, 50 failed; format 1.0"
        assert lines[-1] == "and 30 more failed; see failures.json in the store"

    def test_a_zip_file(self, tmp_path):
        path = write_product(tmp_path / "l1.zarr", {"scan_000001": record(1)})
        packed = shutil.make_archive(str(tmp_path / "x"), "zip", path)
        assert "L1 store of 1 scan;" in lines_of(describe(packed, INTERVAL))[1]

    def test_an_array_that_cannot_be_read_stops_nothing(self, tmp_path):
        path = write_product(tmp_path / "l1.zarr", {"scan_000001": record(1)}, {"pwv_err": np.array(0.1)})
        write_array(LocalStorePath(path), "scan_000001/pwv_err_model", np.array(0.1))
        (chunk,) = (path / "scan_000001" / "pwv_err_model").glob("c*")
        chunk.write_bytes(b"nothing")
        assert product_overview(CalibratedSession(path)).bands[0].pwv_err_total_mm is None


class TestSession:
    def test_data_are_those_of_the_overview(self, tmp_path):
        write_scan(tmp_path / "s.zarr", 1)
        write_scan(tmp_path / "s.zarr", 2, source=False)
        found = describe(tmp_path / "s.zarr", INTERVAL)
        assert found.kind is Kind.SESSION
        assert [row["scan"] for row in found.data] == [
            row.scan for row in session_overview(tmp_path / "s.zarr", INTERVAL)
        ]
        assert "4 channels, 2 dumps, 2 receivers, 1 array, 4 subscans" in found.text

    def test_names_cannot_change_the_terminal(self, tmp_path):
        group = write_scan(tmp_path / "s.zarr", 1)
        group.attrs.update(source="two\nlines\x1b[2J", telescope="η\r!")
        found = describe(tmp_path / "s.zarr", INTERVAL)
        assert "scan 1: two\\nlines\\x1b[2J, " in found.text
        assert "η\\r!" in found.text
        assert found.data[0]["source"] == "two\nlines\x1b[2J"


class TestFiles:
    @pytest.mark.slow
    def test_what_a_step_wrote(self, tmp_path, atm_table):
        write_scan(tmp_path / "s.zarr", 3).attrs["source"] = "M82\t"
        scan = Session(tmp_path / "s.zarr").open_scan(3)
        for step in (LoadsStep(), PrepareStep(), AtmosphereStep(override_atm=str(atm_table)), CalibrateStep()):
            scan = step.run(scan)
        found = describe(scan.save(str(tmp_path / "scan.asdf")), INTERVAL)
        lines = lines_of(found)
        assert found.kind is Kind.STEP_RESULT
        assert lines[0] == "scan 3: M82\\t, written by a step"
        assert lines[1].endswith("loads, prepare, atmosphere, calibrate")
        assert [line.split()[0] for line in lines[1:]] == ["steps", "counts", "PWV", "its", "T_rec", "T_sys"]

    @pytest.mark.slow
    def test_medians_of_a_step_are_those_of_qa(self, tmp_path, make_session, calibrate, atm_table):
        session = make_session(channels=16, pixels=3)
        qa = calibrate(session).attributes(1)["qa"]
        scan = Session(session).open_scan(1)
        atmosphere = AtmosphereStep(override_atm=str(atm_table))
        for step in (LoadsStep(forward_efficiency=[0.95]), PrepareStep(), atmosphere, CalibrateStep()):
            scan = step.run(scan)
        (band,) = describe(scan.save(str(tmp_path / "scan.asdf")), INTERVAL).data["bands"]
        assert band["t_rec_ssb_K"] == pytest.approx(qa["t_rec_ssb_median_K"])
        assert band["t_sys_dsb_K"] == pytest.approx(qa["t_sys_median_K"])
        assert band["pwv_mm"] == pytest.approx(qa["pwv_mm_median"])

    @pytest.mark.parametrize("name", ["mine.cfg", "mine.asdf"])
    def test_a_parameter_file(self, tmp_path, name):
        path = tmp_path / name
        LoadsStep(image_gain=0.25).export_config(path)
        if name.endswith(".cfg"):
            path.write_text('class = "cal_pipeline.steps.LoadsStep"\nimage_gain = 0.25\n')
        found = describe(path, INTERVAL)
        assert found.kind is Kind.PARAMETERS
        assert "LoadsStep" in lines_of(found)[1]
        assert "    image_gain = 0.25" in lines_of(found)

    def test_a_broken_parameter_file(self, tmp_path):
        (tmp_path / "x.cfg").write_text("[steps\n=")
        with pytest.raises(StoreError, match="cannot be read as a parameter file"):
            describe(tmp_path / "x.cfg", INTERVAL)

    def test_anything_else_is_named(self, tmp_path):
        zarr.create_group(tmp_path / "g.zarr").create_array("x", data=np.zeros(3))
        asdf.AsdfFile({"x": 1}).write_to(tmp_path / "x.asdf")
        for name, words in (
            ("g.zarr", "a Zarr group without groups scan_NNNNNN; expected an L0 session or an L1 store"),
            ("x.asdf", "an ASDF file of another kind"),
            ("none", "is not there"),
        ):
            with pytest.raises(StoreError, match=words):
                describe(tmp_path / name, INTERVAL)
