"""Step ``beam``: T_A* on the scale of the main beam."""

from __future__ import annotations

import numpy as np
import pytest
from stpipe import Step

from cal_pipeline import CalibratedSession
from cal_pipeline.heterodyne.scan import Scan
from cal_pipeline.registry import list_steps


@pytest.fixture
def session(make_session):
    return make_session(channels=16)


def test_spectra_and_noise_are_scaled(session, calibrate):
    before = calibrate(session, "before.zarr").open_scan(1).load()
    scan = calibrate(session, beam={"skip": False, "efficiency": 0.8}).open_scan(1).load()
    assert (before.attrs["cal_step"]["beam"], scan.attrs["cal_step"]["beam"]) == ("SKIPPED", "COMPLETE")
    np.testing.assert_allclose(scan.spectra.values, before.spectra.values * (0.95 / 0.8), rtol=1e-14)
    np.testing.assert_allclose(scan.sigma.values, before.sigma.values * np.float32(0.95 / 0.8), rtol=1e-6)


def test_its_parameter_comes_from_a_file_or_the_command_line(session, atm_table, tmp_path):
    file = tmp_path / "mine.cfg"
    file.write_text("class = cal_pipeline.CalibrationPipeline\n[steps]\n[[beam]]\nskip = False\nefficiency = 0.7\n")
    for given, efficiency, origin in (
        ((), 0.7, f"file {file}"),
        (("--steps.beam.efficiency=0.6",), 0.6, "argument"),
    ):
        output = tmp_path / f"{efficiency}.zarr"
        line = [file, session, f"--output_file={output}", f"--steps.atmosphere.override_atm={atm_table}", *given]
        Step.from_cmdline([str(word) for word in line])
        provenance = CalibratedSession(output).attributes(1)["provenance"]
        assert provenance["parameters"]["steps"]["beam"]["efficiency"] == efficiency
        assert provenance["parameter_origins"]["steps.beam.efficiency"] == origin


def test_its_file_holds_its_result(session, calibrate, tmp_path):
    result = tmp_path / "beam.asdf"
    calibrate(session, beam={"skip": False, "efficiency": 0.8, "save_results": True, "output_file": str(result)})
    scan = Scan.open(next(tmp_path.glob("*beam.asdf")))
    assert scan.bands[0].beam.efficiency == 0.8
    np.testing.assert_allclose(scan.bands[0].beam.factor, 0.95 / 0.8)


def test_it_is_listed():
    assert "beam" in [step.class_alias for step in list_steps()]
