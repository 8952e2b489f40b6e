"""Real files of the Green Bank Telescope."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cal_pipeline.heterodyne.ingest.find_files import choose_profile, find_files
from cal_pipeline.heterodyne.ingest.profile import open_profile
from cal_pipeline.heterodyne.ingest.tabulate import tabulate

REAL_DATA = "CAL_PIPELINE_REAL_DATA"
FOLDER = Path(os.environ.get(REAL_DATA, Path(__file__).parents[4] / "shared" / "data"))
FILES, SESSION = FOLDER / "gbt_sdfits", FOLDER / "gbt_wband_m82.zarr"

pytestmark = pytest.mark.skipif(
    not FILES.is_dir(), reason=f"the real files are not there: {FILES.name}; {REAL_DATA} names their folder"
)


def read_rows(folder, name=None):
    profile = choose_profile([FILES / folder]) if name is None else open_profile(name)
    found = tabulate(find_files([FILES / folder], profile), profile)
    return profile.name, found


@pytest.fixture(scope="module")
def wband():
    name, found = read_rows("wband_m82")
    assert name == "gbt_wband"
    assert (found.left_out, found.failures, dict(found.rows.problems)) == ([], [], {})
    return found.rows


def test_phases_of_both_beams(wband):
    beams = {beam: wband.phase[wband.receiver == beam].tolist() for beam in ("0", "1")}
    source = ["ON"] * 3 + ["OFF"] * 3
    # The beams see the loads in turn.
    assert beams == {"0": ["SKY", "COLD", "HOT", *source], "1": ["SKY", "HOT", "COLD", *source]}
    assert sorted(set(wband.number.tolist())) == [130, 131]
    assert sorted(set(wband.recorded_number.tolist())) == [130, 131, 132]
    assert sorted(set(wband.pixel_id)) == ["WB_PX00", "WB_PX01"]
    assert set(wband.scan_values["coord_frame"]) == {"fk5"}


@pytest.mark.parametrize("group", ["source", "calibration"])
def test_every_small_array_of_the_session_bit_for_bit(wband, group):
    import zarr

    stored = zarr.open(SESSION, mode="r")[f"scan_000131/{group}"]
    phases = list(stored["sobsmode"][...])
    # Time, frequency and direction of a subscan are those of its first pixel.
    rows = np.concatenate(
        [np.flatnonzero((wband.phase == phase) & (wband.receiver == "0")) for phase in dict.fromkeys(phases)]
    )
    assert wband.phase[rows].tolist() == phases
    for name in sorted(
        set(stored.array_keys())
        - {"data_5d", "sobsmode", "frontend_backends", "lloadsn", "thot", "tcold", "freq_off", "image_freq"}
    ):
        expected = stored[name][...]
        np.testing.assert_array_equal(wband.values[name][rows].astype(expected.dtype), expected, name)


def test_loads_of_the_session(wband):
    import zarr

    stored = zarr.open(SESSION, mode="r")["scan_000131/calibration"]
    for subscan, phase in enumerate(stored["sobsmode"][...]):
        for name in ("thot", "tcold"):
            found = wband.values[name][wband.phase == phase].mean()
            assert np.float32(found) == stored[name][subscan], (name, phase)


def test_argus():
    name, found = read_rows("argus_ngc5908")
    rows = found.rows
    assert name == "gbt_argus"
    assert (found.left_out, found.failures, dict(rows.problems)) == ([], [], {})
    phases = {number: sorted(set(rows.phase[rows.number == number])) for number in set(rows.number.tolist())}
    assert phases == {329: ["HOT"], 330: ["SKY"], 331: ["OFF", "ON"], 333: ["OFF", "ON"]}
    assert sorted(set(rows.pixel_id)) == [f"ARGUS_PX{beam:02d}" for beam in range(16)]
    # The vane was measured in degrees Celsius.
    np.testing.assert_allclose(rows.values["thot"][rows.phase == "HOT"], 269.25, atol=1e-5)
    assert set(rows.n_channels.tolist()) == {1024}


def test_any_table_of_a_telescope():
    name, found = read_rows("argus_ngc5908", "gbt_sdfits")
    rows = found.rows
    assert name == "gbt_sdfits"
    assert set(rows.phase[rows.number > 330]) == {"ON", "OFF"}
    assert np.isnan(rows.values["thot"]).all()
    assert np.isnan(rows.values["tcold"]).all()
    # Loads and sky are told by other keys, which this profile does not know.
    problems = {int(rows.number[row]): message for row, message in rows.problems.items()}
    assert sorted(problems) == [329, 330]
    keys = "CTYPE1 is 'FREQ-OBS', SPECSYS is not there, SIG is 'T', CAL is 'F', OBSMODE is 'Track:NONE:TPNOCAL'"
    assert f"no [[phase]] holds, found {keys}" in problems[329]
