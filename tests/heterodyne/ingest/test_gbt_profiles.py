"""Profiles of the Green Bank Telescope on rows that the real files at hand do not have."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_fits import dish_columns, make_table, write_table

from cal_pipeline.heterodyne.ingest.profile import open_profile
from cal_pipeline.heterodyne.ingest.tabulate import tabulate


@pytest.fixture
def tabulate_rows(tmp_path):
    """Return a function that tabulates rows of some keys with a profile."""

    def make(profile, rows, frontend="Rcvr68_92", **changed):
        given = {
            "SCAN": 40 + np.arange(rows, dtype=np.int32), "PROCSEQN": np.arange(1, rows + 1, dtype=np.int16),
            "FRONTEND": np.array([frontend] * rows), "CAL": np.array(["F"] * rows),
            "CALPOSITION": np.array(["Observing"] * rows), "AZIMUTH": np.full(rows, 90.0),
            "TAMBIENT": np.full(rows, 260.0), "TWARM": np.full(rows, 270.0), "CRPIX1": np.full(rows, 5.0),
            "PLNUM": np.zeros(rows, np.int16), "IFNUM": np.zeros(rows, np.int16),
            "CTYPE2": np.array(["RA"] * rows), "RADESYS": np.array(["FK5"] * rows),
            "RESTFREQ": np.full(rows, 87e9), "TRGTLONG": np.full(rows, 10.0), "TRGTLAT": np.full(rows, 20.0),
            "CRVAL2": np.full(rows, 10.0), "CRVAL3": np.full(rows, 20.0),
        }  # fmt: skip
        table = make_table(dish_columns(rows, **{**given, **changed}), TELESCOP="NRAO_GBT")
        (tmp_path / "a.fits").unlink(missing_ok=True)
        return tabulate([write_table(tmp_path / "a.fits", table)], open_profile(profile))

    return make


@pytest.mark.parametrize("profile", ["gbt_wband", "gbt_argus", "gbt_sdfits"])
@pytest.mark.parametrize("mode", ["RALongMap:NONE:TPNOCAL", "DecLatMap", "RALongMapWithReference", "PointMap"])
def test_maps(tabulate_rows, profile, mode):
    frontend = "RcvrArray75_115" if profile == "gbt_argus" else "Rcvr68_92"
    found = tabulate_rows(profile, 3, frontend, OBSMODE=np.array([mode] * 3))
    if mode == "PointMap":
        assert "no [[phase]] holds" in found.rows.problems[0]
        return
    assert not found.rows.problems
    assert found.rows.phase.tolist() == ["OTF-ON"] * 3
    # The rows of a map are one scan, with the number of the first.
    assert found.rows.number.tolist() == [40] * 3
    assert found.rows.recorded_number.tolist() == [40, 41, 42]


@pytest.mark.parametrize("profile", ["gbt_wband", "gbt_sdfits"])
@pytest.mark.parametrize("mode", ["Nod:NONE:TPNOCAL", "OnOff:PSWITCHON:TPWCAL"])
def test_pairs_of_scans_with_the_noise_diode(tabulate_rows, profile, mode):
    changed = {"CAL": np.array(["T", "F", "T", "F"]), "SCAN": np.array([40, 40, 41, 41], np.int32)}
    sequence = np.array([1, 1, 2, 2], np.int16)
    found = tabulate_rows(profile, 4, OBSMODE=np.array([mode] * 4), PROCSEQN=sequence, **changed)
    assert (found.rows.phase.tolist(), found.rows.number.tolist()) == (["ON", "OFF"], [40, 40])
    assert [(left.n_rows, left.reason) for left in found.left_out] == [(2, "CAL is 'T': ignored")]


@pytest.mark.parametrize("profile", ["gbt_wband", "gbt_argus", "gbt_sdfits"])
def test_pairs_that_begin_off_the_source(tabulate_rows, profile):
    frontend = "RcvrArray75_115" if profile == "gbt_argus" else "Rcvr68_92"
    found = tabulate_rows(profile, 2, frontend, OBSMODE=np.array(["OffOn:PSWITCHOFF:TPWCAL"] * 2))
    assert not found.rows.problems
    assert (found.rows.phase.tolist(), found.rows.number.tolist()) == (["OFF", "ON"], [40, 40])


@pytest.mark.parametrize("key", ["CTYPE1", "SPECSYS"])
@pytest.mark.parametrize(
    ("axis", "frame", "fails"),
    [
        ("FREQ-OBS", "", ""),
        ("FREQ-TOP", "TOPOCENT", ""),
        ("FREQ", "TOPOCENT", ""),
        ("FREQ-LSR", "LSRK", "fails"),
        ("FREQ-HEL", "HELIOCEN", "fails"),
        ("VELO-LSR", "LSRD", "fails"),
        ("VRAD", "BARYCENT", "fails"),
    ],
)
def test_frequencies_in_the_frame_of_the_source_fail_by_name(tabulate_rows, key, axis, frame, fails):
    value = {"CTYPE1": axis, "SPECSYS": frame}[key]
    found = tabulate_rows("gbt_sdfits", 1, OBSMODE=np.array(["OnOff"]), **{key: np.array([value])})
    if not fails:
        assert not found.rows.problems
        return
    assert f"{key} is '{value}': its " in found.rows.problems[0]
    assert "at the telescope" in found.rows.problems[0]


def test_a_load_without_a_thermometer_has_no_temperature(tabulate_rows):
    found = tabulate_rows("gbt_wband", 2, TWARM=np.array([263.0, 99.0]))
    np.testing.assert_allclose(found.rows.values["thot"], [263.0, np.nan])


def test_frequency_switching_fails_by_name(tabulate_rows):
    found = tabulate_rows("gbt_wband", 2, SIG=np.array(["T", "F"]), SCAN=np.array([40, 40], np.int32))
    assert "SIG is 'F': frequency switching is not calibrated" in found.rows.problems[1]


def test_a_vane_without_a_thermometer_has_the_temperature_of_the_air(tabulate_rows):
    # The last is in kelvin: taken for degrees Celsius it would double the scale.
    warm = np.array([-3.9, 99.0, np.nan, 269.25])
    found = tabulate_rows("gbt_argus", 4, "RcvrArray75_115", CALPOSITION=np.array(["Vane"] * 4), TWARM=warm)
    assert found.rows.phase.tolist() == ["HOT"] * 4
    np.testing.assert_allclose(found.rows.values["thot"], [269.25, 260.0, 260.0, 260.0])
    assert np.isnan(found.rows.values["tcold"]).all()


@pytest.mark.parametrize(("kind", "frame"), [("GLON", "galactic"), ("RA", "fk5")])
def test_frames(tabulate_rows, kind, frame):
    found = tabulate_rows("gbt_wband", 2, CTYPE2=np.array([kind] * 2))
    assert set(found.rows.scan_values["coord_frame"]) == {frame}


def test_effective_temperature_of_the_cold_load(tabulate_rows):
    # Channel 4 has the recorded frequency; the mean of 8 channels is half a channel below it.
    found = tabulate_rows("gbt_wband", 2)
    nu = 87e9 + np.arange(2) - 0.5e6
    np.testing.assert_allclose(found.rows.values["tcold"], 54.0 - 0.6 * (nu / 1e9 - 77.0), rtol=1e-13)
