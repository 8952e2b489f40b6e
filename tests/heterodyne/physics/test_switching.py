"""Pairing ON with OFF."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.heterodyne.physics.switching import (
    interpolation_weights,
    nearest_off,
    pair_beams,
    reduction_groups,
    weighted_sum,
)

times = st.lists(st.integers(0, 100), min_size=1, max_size=6, unique=True).map(np.array)


@pytest.mark.slow
@given(times, times, st.floats(-5, 5), st.floats(-3, 3))
def test_a_linear_drift_is_followed_exactly_between_offs(on, off, level, slope):
    weights = interpolation_weights(on * 1.0, off * 1.0, np.ones((1, 1, len(off)), bool))[0, 0]
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert (weights >= 0).all()
    assert ((weights > 0).sum(axis=1) <= 2).all()
    found = weights @ (level + slope * off)
    expected = level + slope * np.clip(on, off.min(), off.max())
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_an_off_that_is_missing_in_a_pixel_is_passed_over_there():
    valid = np.array([[[True, True, True]], [[True, False, True]], [[False, False, False]]])
    weights = interpolation_weights(np.array([1.5]), np.array([0.0, 2.0, 3.0]), valid)
    np.testing.assert_allclose(weights[0, 0, 0], [0.25, 0.75, 0.0])
    np.testing.assert_allclose(weights[1, 0, 0], [0.5, 0.0, 0.5])
    np.testing.assert_allclose(weights[2, 0, 0], 0.0)


def test_an_on_at_the_time_of_an_off_takes_it():
    weights = interpolation_weights(np.array([2.0]), np.array([0.0, 2.0, 3.0]), np.ones((1, 1, 3), bool))
    np.testing.assert_allclose(weights[0, 0, 0], [0.0, 1.0, 0.0])


def test_nan_of_weight_zero_does_not_count():
    values = np.array([[1.0, np.nan, 3.0], [np.inf, 2.0, 4.0]]).reshape(2, 1, 1, 3)
    values = list(np.moveaxis(values, -1, 0))
    found = weighted_sum(values, np.array([[[0.0, 0.5, 0.5]]]))
    assert np.isnan(found[0, 0, 0])
    assert found[1, 0, 0] == pytest.approx(3.0)
    assert np.isnan(weighted_sum(values, np.zeros((1, 1, 3)))).all()


class TestNearestOff:
    def test_the_earlier_on_a_tie(self):
        valid = np.ones(2, bool)
        np.testing.assert_array_equal(nearest_off(np.array([1.0, 0.2, 1.9]), np.array([2.0, 0.0]), valid), [1, 1, 0])

    def test_what_is_missing_in_a_pixel_is_passed_over(self):
        valid = np.array([[[True, True]], [[False, True]], [[False, False]]])
        nearest = nearest_off(np.array([0.0, 5.0]), np.array([0.0, 4.0]), valid)
        np.testing.assert_array_equal(nearest[:, 0], [[0, 1], [1, 1], [-1, -1]])


class TestReductionGroups:
    def test_the_same_beam_only(self):
        on, off = np.array([0.0, 2.0, 4.0]), np.array([1.0, 3.0])
        groups = reduction_groups(on, off, np.array(["A", "B", "A"]), np.array(["A", "B"]))
        np.testing.assert_array_equal(groups, [0, 1, 0])

    def test_a_beam_without_an_off(self):
        groups = reduction_groups(np.array([0.0, 1.0]), np.array([0.5]), np.array(["A", "B"]), np.array(["A"]))
        np.testing.assert_array_equal(groups, [0, -1])


class TestPairBeams:
    def test_one_to_one_and_the_rest_is_left(self):
        mjd = np.arange(5.0)
        assert pair_beams(mjd, np.array(["A", "B", "A", "B", "A"])) == [(0, 1), (2, 3)]
        assert pair_beams(mjd, np.array(["A", "A", "B", "A", "B"])) == [(1, 2), (3, 4)]
        assert pair_beams(mjd, np.array(["A"] * 5)) == []

    @pytest.mark.slow
    @given(
        st.lists(st.floats(60000.0, 60001.0), min_size=1, max_size=8, unique=True),
        st.randoms(use_true_random=False),
    )
    def test_no_group_is_used_twice_and_none_is_left_beside_another(self, times, random):
        beam = np.array([random.choice("AB") for _ in times])
        pairs = pair_beams(np.array(times), beam)
        assert len(pairs) == min((beam == "A").sum(), (beam == "B").sum())
        assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
        assert all(beam[a] == "A" and beam[b] == "B" for a, b in pairs)
