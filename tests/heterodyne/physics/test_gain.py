"""Drift of the receiver between two measurements of the loads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.heterodyne.physics.gain import GainDrift
from cal_pipeline.heterodyne.physics.loads import LoadInput, LoadMeans
from cal_pipeline.heterodyne.physics.planck import Sidebands

SIDEBANDS = Sidebands(np.array([461e9, 462e9]), np.array([473e9, 472e9]), 1.0)
BEFORE, AFTER = 60000.0, 60000.1


def _counts(gain, offset, temperature):
    """Counts of a receiver that sees a load of a physical temperature, shape (C, R, A)."""
    return gain * (SIDEBANDS.input_temperature(temperature) + offset)


def _loads(gain, offset, t_hot, t_cold, mjd):
    ones = np.ones((2, 1, 1))
    hot, cold = _counts(gain, offset, t_hot) * ones, _counts(gain, offset, t_cold) * ones
    return LoadMeans(hot, cold, ones, ones, t_hot, t_cold, mjd, mjd)


@pytest.mark.slow
@given(
    gain_drift=st.floats(-0.2, 0.2),
    offset_drift=st.floats(-20.0, 20.0),
    moment=st.floats(0.0, 1.0),
    change=st.tuples(st.floats(-5.0, 5.0), st.floats(-5.0, 5.0)),
)
def test_linear_drift_of_gain_and_offset_is_removed_to_rounding(gain_drift, offset_drift, moment, change):
    # Gain times total power is what drifts linearly: counts = G(t)·T_in + Z(t).
    gain, zero = 1000.0, 150.0 * 1000.0

    def counts(temperature, fraction):
        level = SIDEBANDS.input_temperature(temperature)
        return gain * (1.0 + gain_drift * fraction) * level + zero + 1000.0 * offset_drift * fraction

    ones = np.ones((2, 1, 1))
    before = LoadMeans(counts(293.0, 0.0), counts(77.0, 0.0), ones, ones, 293.0, 77.0, BEFORE, BEFORE)
    hot, cold = 293.0 + change[0], 77.0 + change[1]
    after = LoadMeans(counts(hot, 1.0), counts(cold, 1.0), ones, ones, hot, cold, AFTER, AFTER)
    drift = GainDrift.between(before, after, SIDEBANDS)
    mjd = BEFORE + moment * (AFTER - BEFORE)
    fraction = (mjd - BEFORE) / (AFTER - BEFORE)
    restored = drift.restore(counts(120.0, fraction), mjd)
    np.testing.assert_allclose(restored, counts(120.0, 0.0), rtol=1e-11)


def test_nothing_changes_without_drift():
    loads = _loads(1000.0, 150.0, 293.0, 77.0, BEFORE)
    later = _loads(1000.0, 150.0, 293.0, 77.0, AFTER)
    counts = np.arange(12.0).reshape(2, 6, 1, 1) + 2e5
    drift = GainDrift.between(loads, later, SIDEBANDS)
    np.testing.assert_allclose(drift.restore(counts, 60000.03), counts, rtol=1e-14)


def test_other_loads_in_another_room_are_no_drift():
    sidebands = Sidebands(np.array([461e9, 462e9]), np.array([473e9, 472e9]), [1.0, 0.3])
    ones = np.ones((2, 1, 2))

    def loads(hot, cold, mjd):
        counts = [(1000.0 * (load.input_temperature(sidebands) + 150.0)) * ones for load in (hot, cold)]
        return LoadMeans(*counts, ones, ones, hot, cold, mjd, mjd)

    hot, cold = {"offset": [2.0, -1.0], "coupling": [0.97, 1.0]}, {"offset": 3.0, "coupling": 0.9}
    before = loads(LoadInput(293.0, ambient=268.0, **hot), LoadInput(77.0, ambient=268.0, **cold), BEFORE)
    after = loads(LoadInput(296.0, ambient=275.0, **hot), LoadInput(81.0, ambient=275.0, **cold), AFTER)
    drift = GainDrift.between(before, after, sidebands)
    np.testing.assert_allclose(drift.hot_after, before.hot, rtol=1e-13)
    np.testing.assert_allclose(drift.cold_after, before.cold, rtol=1e-13)
    counts = 2e5 * ones
    np.testing.assert_allclose(drift.restore(counts, BEFORE + 0.07), counts, rtol=1e-12)


def test_loads_at_their_own_times():
    before = _loads(1000.0, 150.0, 293.0, 77.0, BEFORE)
    late = LoadMeans(
        before.hot * 1.1, before.cold * 1.2, before.hot_time, before.cold_time, 293.0, 77.0, BEFORE + 1.0, BEFORE + 2.0
    )
    drift = GainDrift.between(before, late, SIDEBANDS)
    moment = BEFORE + 0.5
    now = before.cold * (1 + 0.2 * 0.25), before.hot * (1 + 0.1 * 0.5)
    np.testing.assert_allclose(drift.restore(now[0], moment), before.cold, rtol=1e-12)
    np.testing.assert_allclose(drift.restore(now[1], moment), before.hot, rtol=1e-12)


def test_channels_without_later_loads_are_left_alone():
    before = _loads(1000.0, 150.0, 293.0, 77.0, BEFORE)
    after = _loads(1100.0, 150.0, 293.0, 77.0, AFTER)
    after.hot[1] = np.nan
    drift = GainDrift.between(before, after, SIDEBANDS)
    np.testing.assert_array_equal(drift.usable[:, 0, 0], [True, False])
    counts = np.full((2, 3, 1, 1), 2e5)
    restored = drift.restore(counts, AFTER)
    assert restored[0, 0, 0, 0] == pytest.approx(2e5 / 1.1)
    np.testing.assert_array_equal(restored[1], counts[1])


def test_some_channels_only():
    before = _loads(1000.0, 150.0, 293.0, 77.0, BEFORE)
    after = _loads(1100.0, 150.0, 293.0, 77.0, AFTER)
    drift = GainDrift.between(before, after, SIDEBANDS)
    counts = np.full((2, 1, 1), 2e5)
    np.testing.assert_array_equal(drift.restore(counts[1:], 60000.05, slice(1, 2)), drift.restore(counts, 60000.05)[1:])
