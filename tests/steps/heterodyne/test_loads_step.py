"""Step ``loads`` on a receiver without noise."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from helpers_l0 import loads_counts, write_array, write_scan

from cal_pipeline.core.parameters.messages import ParameterError
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


class TestEachArray:
    """Parameters that take one number, or one for each array."""

    @pytest.fixture
    def store(self, store):
        write_scan(store, 1, gain=np.full((4, 1, 2), 1e5))
        return store

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["image_gain", "hot_offset", "cold_offset", "hot_coupling", "cold_coupling"])
    def test_two_numbers_are_those_of_the_arrays(self, store, name):
        one, other = (solve(store, **{name: value}).solution for value in (0.9, 0.8))
        both = solve(store, **{name: [0.9, 0.8]}).solution
        assert (one.gamma != other.gamma).all()
        for field in ("gamma", "t_rec_ssb", "t_cal"):
            expected = [getattr(solution, field)[..., array] for array, solution in enumerate((one, other))]
            np.testing.assert_allclose(getattr(both, field), np.stack(expected, axis=-1), rtol=1e-14)

    @pytest.mark.parametrize("name", ["forward_efficiency", "image_gain", "hot_offset", "cold_coupling"])
    def test_text_may_hold_several(self, name):
        assert getattr(LoadsStep(**{name: "0.9, 0.8"}), name) == [0.9, 0.8]
        with pytest.raises(ParameterError, match="or one per array"):
            LoadsStep(**{name: "0.9,,0.8"})

    @pytest.mark.parametrize("name", ["image_gain", "hot_offset", "cold_offset", "hot_coupling", "cold_coupling"])
    def test_another_number_is_refused(self, store, name):
        with pytest.raises(LayoutError, match=rf"scan 1: {name} has 3 values, expected 1 value or one per array \(2\)"):
            solve(store, **{name: [0.9, 0.8, 0.7]})

    @pytest.mark.parametrize("image_gain", [0.0, [0.0, 0.0]])
    def test_no_image_is_needed_where_no_array_has_one(self, tmp_path, image_gain):
        store = tmp_path / "single.zarr"
        write_scan(store, 1, gain=np.full((4, 1, 2), 1e5), source={"image_freq": np.zeros(4)})
        assert np.isfinite(solve(store, image_gain=image_gain).solution.t_cal).all()
        with pytest.raises(LayoutError, match=r"image_freq of the first ON is 0 Hz, expected above 0 Hz"):
            solve(store, image_gain=[0.0, 0.5])

    def test_a_load_below_absolute_zero_is_refused(self, store):
        with pytest.raises(LayoutError, match=r"cold_offset = \[0.0, -80.0\] K makes the cold load of scan 1, .* 77 K"):
            solve(store, cold_offset=[0.0, -80.0])

    def test_a_hot_load_below_the_cold_one_explains_bad_channels(self, store):
        with pytest.raises(BadChannelsError, match=r"counts at 73.0 K and 77.0 K; expected HOT > COLD"):
            solve(store, hot_offset=-220.0)


class TestAmbientTemperature:
    def test_of_the_calibration_group_fills_the_rest_of_the_beam(self, store):
        write_scan(store, 1, calibration={"tamb": np.array([270.0, 272.0])})
        means = solve(store, hot_coupling=0.9, cold_coupling=0.8).means
        assert (means.hot_input.ambient, means.cold_input.ambient) == (270.0, 272.0)
        means = solve(store, cold_coupling=0.8).means
        assert (means.hot_input.ambient, means.cold_input.ambient) == (None, 272.0)

    def test_of_the_scan_where_the_loads_have_none(self, store):
        write_scan(store, 1, source={"tamb": np.array([260.0, 262.0, np.nan, 261.0])}, calibration={"tamb": None})
        assert solve(store, hot_coupling=0.9).means.hot_input.ambient == 261.0

    def test_is_not_looked_at_without_need(self, store):
        write_scan(store, 1, source={"tamb": np.zeros(4)}, calibration={"tamb": ["warm", "cold"]})
        assert np.isfinite(solve(store, hot_offset=1.0).solution.gamma).all()
        with pytest.raises(LayoutError, match=r"scan_000001/calibration/tamb is of type"):
            solve(store, hot_coupling=0.9)

    def test_that_nobody_knows_is_refused(self, store):
        write_scan(store, 1, source={"tamb": np.zeros(4)}, calibration={"tamb": None})
        with pytest.raises(
            LayoutError, match=r"s.zarr/scan_000001/calibration/tamb at COLD is absent, and tamb of the scan \[0.0, 0.0"
        ):
            solve(store, cold_coupling=0.9)


class TestErrorsAndAssumptions:
    def test_what_nobody_gave_or_recorded_is_assumed_with_larger_errors(self, store):
        write_scan(store, 1, calibration={"tcold": np.zeros(2)}).attrs.update(telescope="CCAT", frontend="OTHER")
        loads = solve(store)
        assert loads.assumed == ("forward_efficiency", "t_cold", "image_gain")
        assert (loads.forward_efficiency_err, loads.t_hot_err, loads.t_cold_err) == (0.05, 1.0, 5.0)
        assert loads.image_gain_err == 0.05

    def test_what_is_given_or_recorded_is_not(self, store):
        write_scan(store, 1).attrs.update(telescope="CCAT", frontend="CHAI_LFA")
        loads = solve(store, image_gain=1.0)
        assert loads.assumed == ()
        assert (loads.forward_efficiency_err, loads.t_cold_err) == (0.02, 2.0)
        # The file for CHAI gives image_gain, the profile the efficiency.
        assert solve(store).assumed == ()

    def test_a_given_efficiency_of_an_unknown_frontend_is_none(self, store):
        write_scan(store, 1)
        loads = solve(store, forward_efficiency=0.9)
        assert (loads.assumed, loads.forward_efficiency_err) == (("image_gain",), 0.02)

    def test_given_errors_are_taken(self, store):
        write_scan(store, 1)
        errors = {"forward_efficiency_err": 0.0, "t_hot_err": 0.3, "t_cold_err": 4.0, "image_gain_err": 0.2}
        loads = solve(store, **errors)
        assert {name: getattr(loads, name) for name in errors} == errors


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


@pytest.mark.parametrize(("image_gain", "expected"), [([1.0], 0.05), ([0.0], 0.0)])
def test_an_image_gain_of_zero_has_no_error(store, image_gain, expected):
    write_scan(store, 1)
    assert solve(store, image_gain=image_gain).image_gain_err == expected


def test_loads_without_a_valid_dump_are_named(store):
    counts = loads_counts(np.full((4, 2, 1), 1e5), 90.0, [293.0, 77.0], dumps=2)
    counts[..., 0] = np.iinfo(counts.dtype).max
    write_scan(store, 1, calibration={"counts": counts})
    with pytest.raises(BadChannelsError, match="no dump of HOT on the loads of scan 1 is valid in any pixel, expected"):
        solve(store)


def test_a_scan_without_on_has_no_frequencies(store):
    write_scan(store, 1, source={"phases": ["OFF"] * 4})
    with pytest.raises(NoReferenceError, match="no ON"):
        solve(store)


def test_frequencies_below_zero_are_refused(store):
    write_scan(store, 1, source={"image_freq": np.zeros(4)})
    with pytest.raises(LayoutError, match="expected above 0"):
        solve(store)
