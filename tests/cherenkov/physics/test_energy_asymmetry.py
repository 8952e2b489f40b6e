"""Asymmetries of pairs, their errors, and which telescopes make pairs."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.cherenkov.physics.energy_asymmetry import (
    calculate_asymmetry,
    find_pairs,
    match_events,
    propagate_asymmetry_error,
)

pytestmark = pytest.mark.cherenkov


def test_asymmetry_is_odd_and_free_of_scale():
    first, second = np.array([1.0, 3.0, 7.0]), np.array([2.0, 3.0, 0.5])
    asymmetry = calculate_asymmetry(first, second)
    np.testing.assert_allclose(asymmetry, [-1 / 3, 0, 6.5 / 7.5])
    np.testing.assert_array_equal(calculate_asymmetry(second, first), -asymmetry)
    np.testing.assert_allclose(calculate_asymmetry(2.5 * first, 2.5 * second), asymmetry)


def test_propagated_error_is_the_spread_of_scattered_energies():
    rng = np.random.default_rng(1)
    first, second = 2 + 0.02 * rng.standard_normal(200_000), 3 + 0.05 * rng.standard_normal(200_000)
    expected = np.std(calculate_asymmetry(first, second))
    assert propagate_asymmetry_error(2.0, 3.0, 0.02, 0.05) == pytest.approx(expected, rel=0.01)


def test_heights_count_in_the_distance_of_a_pair():
    reach = np.array([50.0, 50.0])
    flat = np.array([[0.0, 0, 0], [100.0, 0, 0]])
    assert find_pairs(flat, reach).tolist() == [[0, 1]]
    assert find_pairs(np.array([[0.0, 0, 0], [100.0, 0, 1]]), reach).tolist() == []


def test_the_distance_may_be_the_sum_of_different_reaches():
    positions = np.array([[0.0, 0, 0], [300.0, 0, 0], [0, 350.0, 0]])
    assert find_pairs(positions, np.array([125.0, 175.0, 225.0])).tolist() == [[0, 1], [0, 2]]


def test_a_telescope_without_a_reach_is_in_no_pair():
    assert find_pairs(np.zeros((3, 3)), np.array([1.0, np.nan, 1.0])).tolist() == [[0, 2]]


@pytest.mark.parametrize("seed", range(5))
def test_matched_events_are_the_intersection(seed):
    rng = np.random.default_rng(seed)
    first, second = (np.unique(rng.integers(0, 60, rng.integers(0, 50))) for _ in range(2))
    rows_1, rows_2 = match_events(first, second)
    np.testing.assert_array_equal(first[rows_1], second[rows_2])
    assert set(first[rows_1].tolist()) == set(first.tolist()) & set(second.tolist())
