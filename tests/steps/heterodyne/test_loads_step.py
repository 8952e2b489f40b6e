"""Step ``loads`` on a receiver without noise."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from helpers_l0 import loads_counts, write_array, write_scan

from cal_pipeline.errors import BadChannelsError, LayoutError, NoReferenceError
from cal_pipeline.steps import LoadsStep

H_OVER_K = 4.799243073366221e-11


def solve(store, **parameters):
    return LoadsStep(**parameters).run(str(store)).bands[0].loads


@pytest.fixture
def store(tmp_path):
    return tmp_path / "s.zarr"


def test_gain_comes_back(store):
    gain = 1e5 * (1.0 + 0.1 * np.arange(8.0)).reshape(4, 2, 1)
    write_scan(store, 1, gain=gain)
    loads = solve(store)
    # The counts follow physical temperatures here, not those of Planck's law: 2e-3 apart.
    np.testing.assert_allclose(loads.solution.gamma, gain, rtol=3e-3)
    assert np.ptp(loads.solution.gamma / gain) < 1e-6
    assert not loads.solution.bad_channel.any()
    assert (loads.scan_numbers, loads.reason) == ((1,), "own")


def test_frequencies_are_those_of_the_first_on(store):
    write_scan(store, 1)
    source = zarr.open_group(store, path="scan_000001/source", mode="r+")
    write_array(source, "signal_freq", np.array([1e9, 461e9, 462e9, 2e9]))
    write_array(source, "ref_channel", np.array([0, 1, 0, 0], np.float32))
    write_array(source, "freq_off", np.array([0, 5e6, 0, 0.0]))
    sidebands = solve(store).sidebands
    assert (sidebands.signal - 461e9).tolist() == [4e6, 5e6, 6e6, 7e6]
    assert (sidebands.image - 473e9).tolist() == [-4e6, -5e6, -6e6, -7e6]


def test_zero_level_changes_the_loads_and_nothing_else(store, tmp_path):
    gain = np.full((4, 2, 1), 1e5)
    write_scan(store, 1, gain=gain)
    without = solve(store)
    level = 12345
    counts = loads_counts(gain, 90.0, [293.0, 77.0, -90.0]) + level
    calibration = {"phases": ["HOT", "COL", "ZERO"], "counts": counts, "mjd": np.full(3, 59999.99)}
    write_scan(tmp_path / "zero.zarr", 1, gain=gain, calibration=calibration)
    loads = solve(tmp_path / "zero.zarr")
    assert (loads.zero == level).all()
    assert without.zero is None
    np.testing.assert_array_equal(loads.solution.t_rec_ssb, without.solution.t_rec_ssb)


def test_sideband_ratio_scales_the_single_sideband_temperature(store):
    write_scan(store, 1)
    double, single = solve(store), solve(store, image_gain=0.0)
    np.testing.assert_allclose(double.solution.t_rec_ssb, 2.0 * double.solution.t_rec_dsb, rtol=1e-14)
    np.testing.assert_array_equal(single.solution.t_rec_ssb, single.solution.t_rec_dsb)


class TestForwardEfficiency:
    def test_one_for_all_or_one_an_array(self, store):
        write_scan(store, 1, gain=np.full((4, 1, 2), 1e5))
        one, two = solve(store, forward_efficiency=0.8), solve(store, forward_efficiency=[0.8, 0.4])
        assert one.forward_efficiency.tolist() == [0.8, 0.8]
        np.testing.assert_allclose(two.solution.t_cal[..., 1], 2.0 * one.solution.t_cal[..., 1], rtol=1e-14)
        np.testing.assert_array_equal(two.solution.t_cal[..., 0], one.solution.t_cal[..., 0])

    def test_another_number_is_refused(self, store):
        write_scan(store, 1)
        with pytest.raises(LayoutError, match="has 2 values, expected 1 value or one per array \\(1\\)"):
            solve(store, forward_efficiency=[0.8, 0.4])

    def test_couplings_multiply(self, store):
        write_scan(store, 1)
        plain = solve(store).solution.t_cal
        coupled = solve(store, eta_fss=0.5, gain_el_correction=0.8).solution.t_cal
        np.testing.assert_allclose(coupled, plain / 0.4, rtol=1e-14)


class TestBadChannels:
    def test_weak_channels_against_the_median(self, store):
        gain = np.full((8, 2, 1), 1e5)
        gain[2, 1] = 9e2
        gain[3, 1] = 1.1e3
        write_scan(store, 1, gain=gain)
        assert np.argwhere(solve(store).solution.bad_channel).tolist() == [[2, 1, 0]]
        assert np.argwhere(solve(store, clip_counts=0.02).solution.bad_channel).tolist() == [[2, 1, 0], [3, 1, 0]]

    def test_dead_channels_keep_no_other_from_being_good(self, store):
        gain = np.full((4, 2, 1), 1e5)
        gain[1, 0] = 0.0
        write_scan(store, 1, gain=gain)
        assert np.argwhere(solve(store).solution.bad_channel).tolist() == [[1, 0, 0]]

    def test_noisy_receivers_in_units_of_the_quantum_limit(self, store):
        write_scan(store, 1)
        limits = solve(store).solution.t_rec_ssb.max() / (H_OVER_K * 461e9)
        assert not solve(store, clip_tsys=1.01 * limits).solution.bad_channel.any()
        with pytest.raises(BadChannelsError, match="all 8 channels are bad on the loads of scan 1: median HOT"):
            solve(store, clip_tsys=0.99 * limits)


def test_a_scan_without_on_has_no_frequencies(store):
    write_scan(store, 1, source={"phases": ["OFF"] * 4})
    with pytest.raises(NoReferenceError, match="no ON"):
        solve(store)


def test_frequencies_below_zero_are_refused(store):
    write_scan(store, 1, source={"image_freq": np.zeros(4)})
    with pytest.raises(LayoutError, match="expected above 0"):
        solve(store)
