"""Gain, receiver temperature and bad channels from the loads."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.heterodyne.physics.loads import LoadMeans, solve_loads
from cal_pipeline.heterodyne.physics.planck import Sidebands

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
