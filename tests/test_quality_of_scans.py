"""The quality of calibrated scans, and the table of a session."""

from __future__ import annotations

import pytest
from astropy.table import Table

from cal_pipeline import CalibratedSession
from cal_pipeline.report.quality_table import quality_table, write_quality_table
from cal_pipeline.simulate import DeadChannels, Drift, Faults, Scan, Spur


@pytest.fixture
def qa(make_session, calibrate):
    def of(steps=None, **settings):
        session = make_session(**({"channels": 512, "scans": (Scan(), Scan(calibration_only=True))} | settings))
        product = calibrate(session, **(steps or {}))
        return product.attributes(1)["qa"]

    return of


@pytest.mark.slow
def test_a_good_scan_passes(qa):
    found = qa()
    assert found["verdict"] == "pass"
    assert found["verdicts"] == []
    assert {"noise_ratio", "t_rec_ssb_K", "pwv_chi2", "gain_drift", "ripple"} <= set(found["checks"])
    assert found["noise_ratio_median"] == pytest.approx(1.0, abs=0.05)
    pixel = found["pixels"]["CHAI_PX01"]
    assert pixel["t_rec_ssb_K"] == pytest.approx(180.0, rel=0.2)
    assert pixel["pwv_mm"] == pytest.approx(0.5, rel=0.01)
    assert abs(pixel["gain_drift"]) < 1e-3
    assert pixel["load_instability"] < 1e-3
    assert found["thresholds"]["file"] == "quality.toml"


@pytest.mark.slow
def test_a_gain_that_drifts_is_told(qa):
    found = qa(drift=Drift(gain_per_hour=5.0))
    verdicts = {item["name"]: item for item in found["verdicts"]}
    assert "gain_drift" in verdicts
    assert "consider the step gain" in verdicts["gain_drift"]["explanation"]


@pytest.mark.slow
def test_a_dead_pixel_and_a_spur_are_told_with_the_pixel(qa):
    faults = Faults(
        dead=(DeadChannels(0, 512, receiver=1),), spurs=(Spur(100, 400.0, width=300, kinds=("on",), receiver=0),)
    )
    found = qa(faults=faults)
    verdicts = {item["name"]: item["pixels"] for item in found["verdicts"]}
    assert verdicts["dead_pixel"] == ["CHAI_PX01"]
    assert verdicts.get("ripple", ["CHAI_PX00"]) == ["CHAI_PX00"]
    assert found["pixels"]["CHAI_PX01"]["t_rec_ssb_K"] is None


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["full", "per_pixel", "per_pair"])
def test_a_fit_at_its_bound_is_told(qa, strategy):
    found = qa({"atmosphere": {"strategy": strategy, "pwv_max": 0.3}})
    verdicts = {item["name"]: item for item in found["verdicts"]}
    assert verdicts["pwv_at_bound"]["pixels"] == ["CHAI_PX00", "CHAI_PX01"]
    assert found["verdict"] != "pass"
    assert found["pwv_at_bound"]


@pytest.mark.slow
def test_the_table_of_a_session(make_session, calibrate):
    product = calibrate(make_session(channels=64, scans=2), atmosphere={"strategy": "per_pixel"})
    path = product.path.with_name("l1_quality.ecsv")
    table = Table.read(path)
    assert len(table) == 4
    assert set(table["scan"]) == {1, 2}
    assert set(table["pixel"]) == {"CHAI_PX00", "CHAI_PX01"}
    assert table["t_sys_K"].unit == "K"
    assert table["pwv_err_mm"].unit == "mm"
    assert set(table["verdict"]) <= {"pass", "questionable", "fail"}
    assert list(quality_table(product)["scan"]) == list(table["scan"])


@pytest.mark.slow
def test_bands_have_rows_of_their_own(tmp_path, calibrate, make_session):
    from helpers_atm import write_test_atm_table

    table = write_test_atm_table(tmp_path / "two.asdf", windows=[(450e9, 500e9), (780e9, 820e9)])
    session = make_session(preset="ccat_chai_dual", channels=16, table=str(table))
    product = calibrate(session, atmosphere={"override_atm": str(table)})
    assert list(quality_table(product)["band"]) == ["band_0", "band_0", "band_1", "band_1"]


def test_nothing_to_tell(tmp_path):
    import zarr

    zarr.create_group(tmp_path / "empty.zarr")
    assert write_quality_table(CalibratedSession(tmp_path / "empty.zarr")) is None
    assert not (tmp_path / "empty_quality.ecsv").exists()
