"""Every L1 array of some sessions, bit for bit what it was when its truth was last reviewed.

The digests in ``digests.json`` hold with the Python, the releases and the processor's instructions that are written
there; elsewhere sums of the arrays agree to 1e-12. ``python tests/test_digests.py`` writes them anew.

They were last replaced when the sky got layers: T_A*, t_sys and the water follow from the emission of the layers, the
fit gives outliers no weight, spikes are left out, arrays of the error of the scale and flags of channels came, and
rounded spectra became 32 bits wide. The independent evaluation, which was extended from the specification, agrees.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pytest
from helpers_atm import write_test_atm_table
from helpers_digests import arrays_of, digest, environment, summarize

from cal_pipeline import CalibrationPipeline
from cal_pipeline.simulate import (
    DeadChannels,
    Drift,
    Faults,
    GaussianSource,
    Line,
    Loads,
    Scan,
    SkyWave,
    Spur,
    preset,
    simulate,
)

TRUTH = Path(__file__).with_name("digests.json")

FAULTS = Faults(missing_fraction=0.05, dead=(DeadChannels(17, 19, receiver=1),))
LINE = Line(20.0, fwhm_hz=0.4e9, source=GaussianSource(fwhm_deg=0.3))
LOADS_AFTER = (Scan(), Scan(calibration_only=True, loads=Loads(t_hot=294.0, t_cold=79.0)))
DIAGNOSTICS = {"skydiff": {"skip": False, "n": 2}, "skychopdiff": {"skip": False}}

SESSIONS = {
    "total_power": {"mode": "total_power", "faults": FAULTS, "lines": (LINE,), "seed": 3},
    "otf": {"mode": "otf", "faults": FAULTS, "lines": (LINE,), "seed": 4, "scans": 2},
    "chopped": {
        "mode": "otf_chopped",
        "faults": FAULTS,
        "seed": 5,
        "scans": 3,
        "sky_waves": (SkyWave(3e8, 2.0, 0.0, 50.0),),
    },
    "drifting": {
        "mode": "otf",
        "scans": LOADS_AFTER,
        "drift": Drift(gain_per_hour=0.5, offset_per_hour=30.0),
        "seed": 6,
    },
    "drifting_chopped": {
        "mode": "otf_chopped",
        "scans": LOADS_AFTER,
        "drift": Drift(gain_per_hour=0.3, offset_per_hour=10.0),
        "faults": FAULTS,
        "seed": 7,
    },
    "dual": {"preset": "ccat_chai_dual", "mode": "otf", "faults": FAULTS, "seed": 8},
    "floats": {"mode": "otf", "dtype": "float64", "faults": Faults(spurs=(Spur(11, 400.0),)), "seed": 9},
}
"""Settings of the simulated sessions."""

FIXED = {"strategy": "fixed", "pwv": 0.5}
CASES = {
    "total_power": ("total_power", {}),
    "total_power per_pixel": ("total_power", {"atmosphere": {"strategy": "per_pixel"}}),
    "total_power per_pair ssb": (
        "total_power",
        {"atmosphere": {"strategy": "per_pair", "airmass": "scan"}, "loads": {"image_gain": 0.0}},
    ),
    "otf radiometric": ("otf", {"calibrate": {"precision": "radiometric"}, "skydiff": DIAGNOSTICS["skydiff"]}),
    "otf fixed": ("otf", {"atmosphere": FIXED | {"t_atm": 260.0, "t_spill": 270.0}}),
    "otf kalibrate_compat": ("otf", {"loads": {"physics": "kalibrate_compat", "eta_fss": 0.9}}),
    "chopped": ("chopped", DIAGNOSTICS),
    "chopped dbs": ("chopped", DIAGNOSTICS | {"dbs": {"skip": False}}),
    "chopped dbs per_pair": (
        "chopped",
        {"atmosphere": {"strategy": "per_pair"}, "dbs": {"skip": False}, "calibrate": {"precision": "radiometric"}},
    ),
    "drifting level 2": ("drifting", {"gain": {"level": 2}}),
    "drifting level 3": ("drifting", {"gain": {"level": 3}, "skydiff": DIAGNOSTICS["skydiff"]}),
    "drifting_chopped level 3 dbs": (
        "drifting_chopped",
        {"gain": {"level": 3}, "dbs": {"skip": False}, **DIAGNOSTICS},
    ),
    "dual linked": ("dual", {"atmosphere": {"link_bands": True}}),
    "floats": ("floats", {"calibrate": {"min_transmission": 0.2}}),
    "floats least squares": ("floats", {"atmosphere": {"robust": False, "t_ground": 266.0}}),
    "total_power loads": (
        "total_power",
        {"loads": {"hot_offset": -0.5, "cold_offset": 1.5, "hot_coupling": 0.98, "image_gain": 0.8, "clip_sigma": 5.0}},
    ),
}
"""Session and parameters of the steps."""


def write_table(folder: Path) -> Path:
    """Write an atmosphere table with layers for both bands of CHAI."""
    return write_test_atm_table(folder / "atm.asdf", stop_hz=830e9, step_hz=50e6, layered=True)


def make_session(folder: Path, table: Path, name: str) -> Path:
    settings = {"channels": 140, "pixels": 2, "table": str(table)} | SESSIONS[name]
    path = folder / f"{name}.zarr"
    if not path.exists():
        simulate(preset(settings.pop("preset", "ccat_chai"), **settings), path)
    return path


def digest_case(folder: Path, table: Path, case: str) -> dict[str, list]:
    session, given = CASES[case]
    steps = {name: given.get(name, {}) for name in CalibrationPipeline.step_defs}
    steps["loads"] = {"forward_efficiency": 0.95} | steps["loads"]
    steps["atmosphere"] = {"override_atm": str(table)} | steps["atmosphere"]
    output = folder / f"{case}_l1.zarr"
    CalibrationPipeline.call(
        str(make_session(folder, table, session)), output_file=str(output), steps=steps, configure_log=False
    )
    return {path: [digest(values), summarize(values)] for path, values in sorted(arrays_of(output).items())}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("digests")


@pytest.fixture(scope="module")
def table(folder):
    return write_table(folder)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_l1_is_as_reviewed(folder, table, case):
    truth = json.loads(TRUTH.read_text())
    found, expected = digest_case(folder, table, case), truth["cases"][case]
    assert sorted(found) == sorted(expected)
    same = environment() == truth["environment"]
    for path, (sha256, sums) in found.items():
        if same:
            assert sha256 == expected[path][0], path
        else:
            size = expected[path][1][1] if expected[path][1] else 0.0
            assert sums == pytest.approx(expected[path][1], rel=0.0, abs=max(1e-12 * size, 1e-300)), path


def write_truth() -> None:
    with tempfile.TemporaryDirectory() as name:
        table = write_table(Path(name))
        cases = {case: digest_case(Path(name), table, case) for case in CASES}
    text = json.dumps({"environment": environment(), "cases": cases}, indent=1)
    TRUTH.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(write_truth())
