"""Gain, receiver temperature and bad channels from the loads."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.heterodyne.physics.loads import LoadInput, LoadMeans, solve_loads
from cal_pipeline.heterodyne.physics.planck import EXACT, KALIBRATE_COMPAT, Sidebands

NU = 460e9 + 1e9 * np.arange(6)
BANDS = Sidebands(NU, NU + 12e9, 1.0)
T_HOT, T_COLD = 293.0, 77.0
EFFICIENCY = np.array([0.9])


def counts(gain, t_rec, bands=BANDS):
    """Counts on the loads of a receiver that is known."""
    hot, cold = (gain * (t_rec + bands.input_temperature(t)) for t in (T_HOT, T_COLD))
    time = np.ones(hot.shape)
    return LoadMeans(hot, cold, time, time, T_HOT, T_COLD)


def solve(means, bands=BANDS, clip_counts=0.01, clip_tsys=200.0, coupling=1.0):
    return solve_loads(means, bands, EFFICIENCY, coupling, clip_counts, clip_tsys)


GAIN = np.linspace(1e3, 2e3, 6).reshape(6, 1, 1)


@pytest.mark.slow
@given(st.floats(10.0, 3000.0), st.floats(0.0, 2.0))
def test_the_receiver_is_found(t_rec, image_gain):
    bands = Sidebands(NU, NU + 12e9, image_gain)
    solution = solve(counts(GAIN, t_rec, bands), bands, clip_tsys=1e6)
    np.testing.assert_allclose(solution.gamma, GAIN, rtol=1e-10)
    np.testing.assert_allclose(solution.t_rec_dsb, t_rec, rtol=1e-9)
    np.testing.assert_allclose(solution.t_rec_ssb, t_rec * (1.0 + image_gain), rtol=1e-9)
    assert not solution.bad_channel.any()


def test_a_line_of_one_kelvin_is_one_kelvin():
    # 1 K of T_A* in the signal band adds w_s f_eff eta K to the input: counts times t_cal/(HOT - COLD) give 1 K back.
    means = counts(GAIN, 150.0)
    solution = solve(means, coupling=0.8)
    added = GAIN * 0.5 * 0.9 * 0.8
    np.testing.assert_allclose(added * solution.t_cal / (means.hot - means.cold), 1.0, rtol=1e-12)


def test_all_counts_scaled_change_the_gain_only():
    means = counts(GAIN, 150.0)
    four = dataclasses.replace(means, hot=4 * means.hot, cold=4 * means.cold)
    one, other = solve(means), solve(four)
    np.testing.assert_allclose(other.gamma, 4 * one.gamma)
    np.testing.assert_allclose(other.t_rec_ssb, one.t_rec_ssb)
    np.testing.assert_allclose(other.t_cal, one.t_cal)


def spoil(**changes):
    """Counts with channel 2 spoilt."""
    means = counts(np.full((6, 1, 1), 1e3), 150.0)
    for name, value in changes.items():
        getattr(means, name)[2] = value(means) if callable(value) else value
    return means


@pytest.mark.parametrize(
    "changes",
    [
        {"hot": lambda m: m.cold[2]},
        {"hot": lambda m: m.cold[2] - 1.0},
        {"hot": np.nan},
        {"cold": np.inf},
        {"hot": 0.0, "cold": 0.0},
        {"hot": lambda m: 1.005 * m.hot[2], "cold": lambda m: 1.005 * m.hot[2] - 1.0},  # 1 count: below 1 % of median
        {"cold": 1.0},  # y too large: t_rec below 0
    ],
)
def test_one_bad_channel(changes):
    solution = solve(spoil(**changes), clip_tsys=1e9)
    assert solution.bad_channel.ravel().tolist() == [False, False, True, False, False, False]


def test_a_receiver_above_so_many_quantum_limits_is_bad():
    # h nu/k at 460 GHz is 22.08 K; t_rec_ssb is twice 150 K.
    limit = 300.0 / (4.799243073366221e-11 * NU)
    means = counts(np.full((6, 1, 1), 1e3), 150.0)
    assert not solve(means, clip_tsys=limit.max() * 1.001).bad_channel.any()
    assert solve(means, clip_tsys=limit.min() * 0.999).bad_channel.all()
    assert solve(means, clip_tsys=limit[3] * 1.0001).bad_channel.ravel().tolist() == [True] * 3 + [False] * 3


def test_a_pixel_without_counts_is_bad_and_hurts_no_other():
    means = counts(np.full((6, 2, 1), 1e3), 150.0)
    means.hot[:, 1] = np.nan
    solution = solve(means)
    assert solution.bad_channel[:, 1].all()
    assert not solution.bad_channel[:, 0].any()


class TestLoadsAsTheyAreSeen:
    """Loads warmer than recorded, or missed by part of the beam; in both conventions of physics."""

    H_OVER_K = {EXACT: 6.62607015e-34 / 1.380649e-23, KALIBRATE_COMPAT: 0.047995e-9}
    GAINS = np.array([1.0, 0.0, 0.4])
    LOAD = LoadInput(77.0, offset=[3.0, -2.0, 0.0], coupling=[1.0, 0.9, 0.8], ambient=268.0)

    def seen(self, array, convention, offset=0.0, log_gain=0.0):
        """Input temperature at each channel of one array, (C,), straight from Planck's law."""

        def brightness(nu, temperature):
            quantum = self.H_OVER_K[convention] * nu
            value = quantum / (np.exp(quantum / temperature) - 1.0)
            return value.astype(np.float32).astype(np.float64) if convention is KALIBRATE_COMPAT else value

        gain = self.GAINS[array] * np.exp(log_gain)
        load, coupling = self.LOAD.physical + self.LOAD.offset[array] + offset, self.LOAD.coupling[array]
        in_signal, in_image = (
            coupling * brightness(nu, load) + (1.0 - coupling) * brightness(nu, 268.0) for nu in (NU, NU + 12e9)
        )
        return (in_signal + gain * in_image) / (1.0 + gain)

    @pytest.mark.parametrize("convention", [EXACT, KALIBRATE_COMPAT])
    def test_each_array_sees_its_own(self, convention):
        bands = Sidebands(NU, NU + 12e9, self.GAINS, convention)
        found = self.LOAD.input_temperature(bands)
        assert found.shape == (6, 1, 3)
        for array in range(3):
            np.testing.assert_allclose(found[:, 0, array], self.seen(array, convention), rtol=1e-13)

    @pytest.mark.parametrize(
        ("slope", "change", "step"), [("temperature_slope", "offset", 0.01), ("image_gain_slope", "log_gain", 1e-4)]
    )
    def test_slopes_are_the_changes_of_the_input(self, slope, change, step):
        found = getattr(self.LOAD, slope)(Sidebands(NU, NU + 12e9, self.GAINS))
        assert found.shape == (6, 1, 3)
        for array in range(3):
            higher, lower = (self.seen(array, EXACT, **{change: sign * step}) for sign in (1.0, -1.0))
            np.testing.assert_allclose(found[:, 0, array], (higher - lower) / (2.0 * step), rtol=1e-6, atol=1e-9)

    @pytest.mark.parametrize("method", ["input_temperature", "temperature_slope", "image_gain_slope"])
    def test_one_for_all_arrays_has_one_column(self, method):
        one = LoadInput(77.0, offset=2.0, coupling=0.9, ambient=268.0)
        assert getattr(one, method)(BANDS).shape == (6, 1, 1)
        assert getattr(one, method)(Sidebands(NU, NU + 12e9, [1.0, 0.5])).shape == (6, 1, 2)
        assert getattr(one, method)(Sidebands(NU, np.full(6, np.nan), 0.0)).shape == (6, 1, 1)

    def test_a_plain_load_is_a_black_body_bit_by_bit(self):
        for load in (LoadInput(77.0), LoadInput(77.0, offset=0.0, coupling=1.0)):
            np.testing.assert_array_equal(load.input_temperature(BANDS), BANDS.input_temperature(77.0))
            np.testing.assert_array_equal(load.temperature_slope(BANDS), BANDS.input_slope(77.0))

    @pytest.mark.parametrize("convention", [EXACT, KALIBRATE_COMPAT])
    def test_the_receiver_is_found(self, convention):
        bands = Sidebands(NU, NU + 12e9, self.GAINS, convention)
        hot = LoadInput(293.0, offset=[1.0, 0.0, -4.0], coupling=0.97, ambient=270.0)
        gain, t_rec = GAIN * np.array([1.0, 2.0, 3.0]), np.array([90.0, 150.0, 400.0])
        counts = [gain * (t_rec + load.input_temperature(bands)) for load in (hot, self.LOAD)]
        time = np.ones(gain.shape)
        solution = solve(LoadMeans(*counts, time, time, hot, self.LOAD), bands, clip_tsys=1e6)
        np.testing.assert_allclose(solution.gamma, gain, rtol=1e-12)
        np.testing.assert_allclose(solution.t_rec_dsb, np.broadcast_to(t_rec, gain.shape), rtol=1e-11)
        in_signal = (solution.t_hot_input - solution.t_cold_input) * (1.0 + self.GAINS)
        np.testing.assert_allclose(solution.t_cal, in_signal / 0.9, rtol=1e-14)
        assert not solution.bad_channel.any()
