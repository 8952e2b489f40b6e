"""The step ``gain`` keeps what it finds to itself."""

from __future__ import annotations

import asdf
import numpy as np
import pytest
from helpers_l0 import MJD, SECOND, loads_counts, write_scan

from cal_pipeline.heterodyne.scan import Scan
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.steps import AtmosphereStep, CalibrateStep, GainStep, LoadsStep, PrepareStep

GAIN = 1e5 * (1.0 + 0.05 * np.arange(14.0)).reshape(7, 2, 1)


@pytest.fixture
def scan(tmp_path):
    """A scan whose later loads say nothing about channel 3 of the first pixel, and about the second pixel at all."""
    write_scan(tmp_path / "s.zarr", 1, gain=GAIN)
    later = loads_counts(GAIN, 90.0, [293.0, 77.0])
    later[3, :, 0], later[:, :, 1] = later[3, :, 0].mean(), 10**6
    times = MJD + SECOND * np.array([200.0, 210.0])
    write_scan(tmp_path / "s.zarr", 2, gain=GAIN, source=False, calibration={"counts": later, "mjd": times})
    return LoadsStep().run(Session(tmp_path / "s.zarr").open_scan(1))


def test_it_changes_no_other_result(scan):
    (band,) = scan.bands
    loads, bad = band.loads, band.loads.solution.bad_channel.copy()
    GainStep(level=3).run(scan)
    assert band.loads is loads
    np.testing.assert_array_equal(loads.solution.bad_channel, bad)


def test_channels_that_cannot_be_corrected_are_bad_unless_the_whole_pixel_is_left_alone(scan, caplog):
    GainStep(level=3).run(scan)
    (band,) = scan.bands
    assert np.argwhere(band.gain.unusable).tolist() == [[3, 0, 0]]
    assert np.argwhere(band.bad_channel & ~band.loads.solution.bad_channel).tolist() == [[3, 0, 0]]
    assert "say nothing about ['PX01']" in caplog.text


@pytest.mark.slow
def test_they_stay_bad_in_the_calibration_and_in_a_saved_scan(scan, atm_table, tmp_path):
    for step in (GainStep(level=3), PrepareStep(), AtmosphereStep(override_atm=str(atm_table))):
        scan = step.run(scan)
    again = Scan.open(scan.save(str(tmp_path / "scan.asdf")))
    for one in (scan, again):
        (band,) = CalibrateStep().run(one).bands
        assert np.argwhere(band.calibration.bad_channel.all(axis=-1)).tolist() == [[3, 0, 0]]


@pytest.mark.slow
def test_a_file_of_an_older_release_has_them_among_those_of_the_loads(scan, tmp_path):
    GainStep(level=3).run(scan)
    path = scan.save(str(tmp_path / "scan.asdf"))
    with asdf.open(path, lazy_load=False, memmap=False) as file:
        (tree,) = file["cal_pipeline_scan"]["bands"]
        tree["loads"]["solution"]["bad_channel"] = scan.bands[0].bad_channel
        del tree["gain"]["unusable"]
        file.write_to(tmp_path / "older.asdf")
    (band,) = Scan.open(tmp_path / "older.asdf").bands
    assert band.gain.unusable is None
    np.testing.assert_array_equal(band.bad_channel, scan.bands[0].bad_channel)
