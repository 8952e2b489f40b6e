"""Loads that are not as their sensors say, and mixers that differ from array to array: the truth comes back."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import zarr
from helpers_l0 import write_array

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.replay import restore_pipeline
from cal_pipeline.simulate import GaussianSource, Line, Loads, preset, read_truth
from cal_pipeline.simulate import Scan as SimulatedScan
from cal_pipeline.steps import LoadsStep

LINE = Line(20.0, fwhm_hz=0.4e9, source=GaussianSource(fwhm_deg=0.3))
LOADS = (
    Loads(hot_offset=2.0, cold_offset=3.0, hot_coupling=0.97, cold_coupling=0.98),
    Loads(hot_offset=-1.5, cold_offset=-4.0, hot_coupling=1.0, cold_coupling=0.9),
)
GAINS, EFFICIENCIES = (1.0, 0.6), (0.95, 0.92)
GIVEN = {"image_gain": list(GAINS), "forward_efficiency": list(EFFICIENCIES)} | {
    name: [getattr(loads, name) for loads in LOADS]
    for name in ("hot_offset", "cold_offset", "hot_coupling", "cold_coupling")
}
FIXED = {"strategy": "fixed", "pwv": 0.5}


@pytest.fixture
def of_one_array(make_session):
    """Simulate a session of one array without noise: its sideband gain, efficiency and loads."""

    def simulate(name, array, loads, **changes):
        config = preset("ccat_chai", channels=32, pixels=2)
        receiver = dataclasses.replace(
            config.receivers[0],
            arrays=(f"LFA{array}",),
            image_gain=GAINS[array],
            forward_efficiency=EFFICIENCIES[array],
        )
        source = dataclasses.replace(config.source, elevation_deg=55.0)
        settings = {"receivers": (receiver,), "source": source, "loads": loads, "lines": (LINE,)} | changes
        return make_session(name, noise=False, dtype="float64", seed=10 + array, **settings)

    return simulate


def join_arrays(sessions, target):
    """Make one session of two arrays out of two sessions of one array each."""
    shutil.copytree(sessions[0], target)
    for name in ("source", "calibration"):
        path = f"scan_000001/{name}"
        parts = [zarr.open_group(session, path=path, mode="r") for session in sessions]
        joined = zarr.open_group(target, path=path, mode="r+")

        def both(array, axis, parts=parts):
            return np.concatenate([np.asarray(part[array][...]) for part in parts], axis)

        shutil.rmtree(target / path / "data_5d")
        write_array(joined, "data_5d", both("data_5d", 3))
        ids = [np.asarray(part["frontend_backends"][...]) for part in parts]
        write_array(joined, "frontend_backends", np.stack(ids, axis=-1).ravel())
        for offsets in ("pixel_offset_lon", "pixel_offset_lat"):
            if offsets in joined:
                write_array(joined, offsets, both(offsets, 1))
    return target


def true_values(sessions, value, axis):
    return np.concatenate([value(read_truth(session, 1)) for session in sessions], axis)


def antenna_temperature(session, loads, transmission):
    """T_A* (C, D, R, A, S_on) by definition: counts of ON - OFF times t_cal/(HOT - COLD), above the atmosphere."""
    source = zarr.open_group(session, path="scan_000001/source", mode="r")
    counts, phases = np.asarray(source["data_5d"][...]), np.asarray(source["sobsmode"][...]).astype(object)
    on, off = (np.array([text.endswith(name) for text in phases]) for name in ("-ON", "-OFF"))
    kelvin_per_count = loads.solution.t_cal / loads.means.difference
    step = counts[..., on] - counts[..., off].mean(axis=(1, 4))[:, None, :, :, None]
    return step * kelvin_per_count[:, None, :, :, None] / transmission[:, None, None, None, :]


@pytest.fixture
def joined(of_one_array, tmp_path):
    sessions = [of_one_array(f"{array}.zarr", array, LOADS[array]) for array in (0, 1)]
    return sessions, join_arrays(sessions, tmp_path / "both.zarr")


@pytest.mark.slow
def test_every_array_comes_back_with_its_own_loads_and_sideband_gain(joined):
    sessions, session = joined
    loads = LoadsStep(**GIVEN).run(str(session / "scan_000001")).bands[0].loads
    transmission = read_truth(sessions[0], 1).transmission()[0]
    t_a_star = true_values(sessions, lambda truth: truth.t_a_star(), 3)
    assert t_a_star.max() > 1.0
    assert np.abs(antenna_temperature(session, loads, transmission) - t_a_star).max() < 1e-9
    for name in ("t_rec_ssb", "t_rec_dsb"):
        true = true_values(sessions, lambda truth, name=name: getattr(truth, name), 2)
        np.testing.assert_allclose(getattr(loads.solution, name), true, rtol=1e-9)
    np.testing.assert_allclose(loads.solution.gamma, true_values(sessions, lambda truth: truth.gain, 2), rtol=1e-9)
    for kind in ("hot", "cold"):
        true = true_values(sessions, lambda truth, kind=kind: truth.load_input(kind)[:, None], 2)
        np.testing.assert_allclose(getattr(loads.solution, f"t_{kind}_input"), true, rtol=1e-12)


@pytest.mark.slow
def test_every_array_comes_out_of_the_pipeline_with_its_own(joined, calibrate):
    sessions, session = joined
    scan = calibrate(session, loads=GIVEN, atmosphere=FIXED).open_scan(1).load()
    assert (scan.flags == 0).all()
    t_a_star = true_values(sessions, lambda truth: truth.t_a_star(), 3)
    assert np.abs(scan.spectra.values - t_a_star).max() < 1e-9
    np.testing.assert_allclose(scan.t_rec_ssb, true_values(sessions, lambda truth: truth.t_rec_ssb, 2), rtol=1e-9)
    fitted = calibrate(session, "fitted.zarr", loads=GIVEN, atmosphere={"strategy": "per_pixel"}).open_scan(1).load()
    np.testing.assert_allclose(fitted.pwv, 0.5, rtol=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["image_gain", "hot_offset", "cold_offset", "hot_coupling", "cold_coupling"])
def test_every_parameter_is_needed(joined, missing):
    sessions, session = joined
    given = {name: value for name, value in GIVEN.items() if name != missing}
    loads = LoadsStep(**given).run(str(session / "scan_000001")).bands[0].loads
    true = true_values(sessions, lambda truth: truth.t_rec_ssb, 2)
    assert np.abs(loads.solution.t_rec_ssb / true - 1.0).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("array", [0, 1])
def test_one_number_serves_all_arrays(of_one_array, calibrate, array):
    session = of_one_array("alone.zarr", array, LOADS[array])
    given = {name: values[array] for name, values in GIVEN.items()}
    scan = calibrate(session, loads=given, atmosphere=FIXED).open_scan(1).load()
    truth = read_truth(session, 1)
    assert (scan.flags == 0).all()
    assert np.abs(scan.spectra.values - truth.t_a_star()).max() < 1e-9
    np.testing.assert_allclose(scan.t_rec_ssb, truth.t_rec_ssb, rtol=1e-9)
    assert scan.attrs["provenance"]["parameters"]["steps"]["loads"]["hot_offset"] == LOADS[array].hot_offset


@pytest.mark.slow
def test_the_water_is_found_with_the_true_loads_alone(of_one_array, calibrate):
    session = of_one_array("alone.zarr", 0, LOADS[0])
    given = {name: values[0] for name, values in GIVEN.items()}
    right = calibrate(session, "right.zarr", loads=given).open_scan(1).load()
    wrong = calibrate(session, "wrong.zarr", loads={"forward_efficiency": EFFICIENCIES[0]}).open_scan(1).load()
    assert float(right.pwv) == pytest.approx(0.5, rel=5e-3)
    assert abs(float(wrong.pwv) - 0.5) > 0.01


@pytest.mark.slow
def test_later_loads_of_another_temperature_are_no_drift(of_one_array, calibrate):
    later = dataclasses.replace(LOADS[0], t_hot=296.0, t_cold=81.0)
    scans = (SimulatedScan(), SimulatedScan(calibration_only=True, loads=later))
    session = of_one_array("night.zarr", 0, LOADS[0], scans=scans)
    given = {name: values[0] for name, values in GIVEN.items()}
    scan = calibrate(session, loads=given, gain={"level": 3}, atmosphere=FIXED).open_scan(1).load()
    assert np.abs(scan.spectra.values - read_truth(session, 1).t_a_star()).max() < 1e-9
    assert all(abs(pixel["gain_drift"]) < 1e-12 for pixel in scan.attrs["qa"]["pixels"].values())


@pytest.mark.slow
def test_a_replay_assumes_what_was_assumed(of_one_array, calibrate, tmp_path):
    assumed = {}
    for frontend, expected in (("OTHER", ("image_gain",)), ("CHAI_LFA", ())):
        session = of_one_array(f"{frontend}.zarr", 0, LOADS[0])
        zarr.open_group(session, path="scan_000001", mode="r+").attrs["frontend"] = frontend
        product = f"{tmp_path}/{frontend}_l1.zarr"
        calibrate(session, product)
        assumed[frontend] = restore_pipeline(CalibrationPipeline, product, 1).loads.parameters.is_default("image_gain")
        assert LoadsStep(forward_efficiency=0.95).run(str(session)).bands[0].loads.assumed == expected
    assert assumed == {"OTHER": True, "CHAI_LFA": False}
