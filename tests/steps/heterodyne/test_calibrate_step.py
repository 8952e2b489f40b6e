"""Step ``calibrate``: kelvin per count, and where there are none."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from helpers_l0 import FILL, loads_counts, write_array, write_scan

from cal_pipeline.steps import AtmosphereStep, CalibrateStep, LoadsStep, PrepareStep


@pytest.fixture
def run(tmp_path, atm_table):
    stores = iter(tmp_path / f"{k}.zarr" for k in range(9))

    def calibrate(gain=None, pwv=1.0, elevation=None, tamb=None, counts=None, **parameters):
        store = next(stores)
        write_scan(store, 1, gain=gain, source={"counts": counts} if counts is not None else {})
        for name, values in (("elevation", elevation), ("tamb", tamb)):
            if values is not None:
                group = zarr.open_group(store, path="scan_000001/source", mode="r+")
                write_array(group, name, np.array(values))
        scan = PrepareStep().run(LoadsStep().run(str(store)))
        sky = AtmosphereStep(override_atm=str(atm_table), strategy="fixed", pwv=pwv)
        return CalibrateStep(**parameters).run(sky.run(scan)).bands[0]

    return calibrate


def test_the_factor_undoes_gain_and_transmission(run):
    gain = 1e5 * (1.0 + 0.1 * np.arange(8.0)).reshape(4, 2, 1)
    band = run(gain)
    t_r = np.exp(-band.atmosphere.tau_signal / np.sin(np.float32(0.9)))
    kelvin = band.calibration.factor * gain[..., None]
    np.testing.assert_allclose(kelvin, np.broadcast_to((2.0 / t_r)[:, None, None, None], kelvin.shape), rtol=3e-3)
    assert band.calibration.sigma.dtype == np.float32


def test_a_channel_behind_an_opaque_sky_is_bad_in_the_on_that_sees_it_so(run):
    elevation = [1.0, 1.0, 0.2, 1.0]
    clear = run(elevation=elevation)
    t_r = np.exp(-clear.atmosphere.tau_signal[:, None] * clear.atmosphere.on_airmass)
    assert not clear.calibration.bad_channel.any()
    between = float(t_r.mean())
    assert t_r[:, 1].max() < between < t_r[:, 0].min()
    band = run(elevation=elevation, min_transmission=between)
    assert not band.calibration.bad_channel[..., 0].any()
    assert band.calibration.bad_channel[..., 1].all()
    assert np.isnan(band.calibration.factor[..., 1]).all()
    assert np.isnan(band.calibration.sigma[..., 1]).all()
    assert np.isfinite(band.calibration.t_sys).all()


@pytest.mark.slow
def test_dead_channels_are_nan_and_their_neighbours_are_not(run):
    gain = np.full((4, 2, 1), 1e5)
    alive = run(gain).calibration.factor
    gain[2, 1] = 0.0
    dead = run(gain).calibration
    mask = np.zeros(dead.bad_channel.shape, bool)
    mask[2, 1] = True
    np.testing.assert_array_equal(dead.bad_channel, mask)
    np.testing.assert_array_equal(dead.factor, np.where(mask, np.nan, alive))
    np.testing.assert_array_equal(np.isnan(dead.sigma), mask)


@pytest.mark.slow
def test_noise_grows_where_a_reference_lacks_dumps(run):
    counts = loads_counts(np.full((4, 2, 1), 1e5), 90.0, [100.0, 110.0, 110.0, 100.0], dumps=2)
    whole = run(counts=counts.copy()).calibration.sigma
    counts[:, 0, 1, 0, 0] = FILL
    poorer = run(counts=counts).calibration.sigma
    np.testing.assert_array_equal(poorer[:, 0], whole[:, 0])
    assert (poorer[:, 1, 0, 0] > poorer[:, 1, 0, 1]).all()
    assert (poorer[:, 1] > whole[:, 1]).all()


@pytest.mark.slow
def test_ground_and_spillover_are_as_warm_as_at_the_offs_of_the_reference(run):
    counts = loads_counts(np.full((4, 2, 1), 1e5), 90.0, [100.0, 110.0, 110.0, 100.0], dumps=2)
    cold, warm = (run(counts=counts.copy(), tamb=4 * [tamb]).calibration.t_sys for tamb in (270.0, 280.0))
    counts[:, :, 1, :, 0] = FILL
    t_sys = run(counts=counts, tamb=[270.0, 0.0, 0.0, 280.0]).calibration.t_sys
    assert (t_sys[:, 0] > cold[:, 0]).all()
    assert (t_sys[:, 0] < warm[:, 0]).all()
    np.testing.assert_allclose(t_sys[:, 1], warm[:, 1], rtol=1e-12)
