"""Saturation: every group with a clipped read is flagged."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.physics.reads import compute_read_times
from cal_pipeline.imager.physics.saturation import find_unchecked, flag_saturation

pytestmark = pytest.mark.imager

EVEN = [list(range(1 + 4 * g, 5 + 4 * g)) for g in range(8)]
UNEVEN = [[1], [2, 3], [4, 5, 6], [9, 10], [11, 12, 13, 14, 15, 16], [20], [21, 22]]
SINGLE = [[k] for k in range(1, 11)]


def flag(data, threshold, pattern, groupdq=None):
    data = np.asarray(data)
    groupdq = np.zeros(data.shape, np.uint8) if groupdq is None else groupdq
    return flag_saturation(data, groupdq, np.asarray(threshold), compute_read_times(pattern, 2.0))


def of_one_pixel(values, threshold, pattern, groupdq=None):
    shape = (1, len(pattern), 1, 1)
    groupdq = None if groupdq is None else np.array(groupdq, np.uint8).reshape(shape)
    return flag(np.array(values, np.float32).reshape(shape), [[threshold]], pattern, groupdq).ravel().tolist()


@pytest.mark.parametrize("pattern", [SINGLE, EVEN, UNEVEN], ids=["single", "even", "uneven"])
def test_groups_with_a_clipped_read_are_flagged(pattern):
    rng = np.random.default_rng(0)
    n_reads, clip, n_pixels = pattern[-1][-1], 60_000.0, 20_000
    # Rates that clip the pixels at any of the reads, some not at all; 2 % of non-linearity at the clip.
    rates = 50_000.0 / (2.0 * rng.uniform(0.5, 1.5 * n_reads, n_pixels))
    electrons = np.cumsum(rng.poisson(rates * 2.0, (n_reads, n_pixels)), axis=0)
    counts = electrons / (1 + 0.02 * electrons / clip) + rng.normal(0, 9, electrons.shape)
    was_clipped = counts >= clip
    reads = np.minimum(counts, clip)
    groups = np.array([reads[np.array(group) - 1].mean(axis=0) for group in pattern], np.float32)
    hidden = np.array([was_clipped[np.array(group) - 1].any(axis=0) for group in pattern])
    flags = flag(groups.reshape(1, len(pattern), 100, -1), np.full((100, n_pixels // 100), 0.99 * clip), pattern)
    flagged = flags.reshape(len(pattern), -1) == DQ.SATURATED
    assert hidden.any(axis=1).all()
    assert not (hidden & ~flagged).any()
    # Without need are flagged at most the two groups before the clip.
    needless = flagged & ~np.logical_or.accumulate(hidden, axis=0)
    assert needless.sum(axis=0).max() <= 2


def test_groups_after_a_flagged_one_are_flagged():
    assert of_one_pixel([10, 700, 20, 30], 700, SINGLE[:4]) == [0, 2, 2, 2]
    assert of_one_pixel([10, 20, 30, 40], 700, SINGLE[:4], [0, 2, 0, 0]) == [0, 2, 2, 2]


def test_integrations_are_independent():
    data = np.array([[10.0, 700.0, 800.0], [10.0, 20.0, 30.0]]).reshape(2, 3, 1, 1)
    assert flag(data, [[700.0]], SINGLE[:3]).ravel().tolist() == [0, 2, 2, 0, 0, 0]


def test_group_of_several_reads_before_one_that_reaches_the_level():
    assert of_one_pixel([100, 300, 700], 700, [[1, 2], [3, 4], [5, 6]]) == [0, 2, 2]
    # A single read is not clipped if it is below the level.
    assert of_one_pixel([100, 300, 700], 700, [[1, 2], [3], [5, 6]]) == [0, 0, 2]


def test_last_read_is_reached_along_a_line():
    # Means of reads at 3, 7 and 11 s; the line through the first two, 100 and 300, is at 550 by 12 s.
    assert of_one_pixel([100, 300, 400], 550, [[1, 2], [3, 4], [5, 6]]) == [0, 0, 2]
    assert of_one_pixel([100, 300, 400], 551, [[1, 2], [3, 4], [5, 6]]) == [0, 0, 0]


def test_floor():
    assert of_one_pixel([0, -3, 5], 700, SINGLE[:3]) == [65, 65, 0]


def test_flags_are_kept_and_nothing_is_modified():
    data = np.array([10.0, np.nan, 800.0], np.float32).reshape(1, 3, 1, 1)
    groupdq = np.array([4, 1, 0], np.uint8).reshape(1, 3, 1, 1)
    before = data.copy(), groupdq.copy()
    assert flag(data, [[700.0]], SINGLE[:3], groupdq).ravel().tolist() == [4, 1, 2]
    np.testing.assert_array_equal(data, before[0])
    np.testing.assert_array_equal(groupdq, before[1])


@pytest.mark.parametrize("threshold", [np.nan, np.inf, 0.0, -1.0])
def test_pixels_without_a_level_are_not_checked(threshold):
    assert find_unchecked(np.array([threshold, 700.0])).tolist() == [True, False]
    assert of_one_pixel([10, 1e6, 0], threshold, SINGLE[:3]) == [0, 0, 65]


def test_rows_of_a_detector_are_flagged_alike():
    rng = np.random.default_rng(1)
    data = rng.uniform(0, 1000, (2, len(UNEVEN), 6, 5)).astype(np.float32)
    threshold = rng.uniform(500, 1500, (6, 5)).astype(np.float32)
    groupdq = np.zeros(data.shape, np.uint8)
    whole = flag(data, threshold, UNEVEN)
    part = flag(data[:, :, 2:4], threshold[2:4], UNEVEN, groupdq[:, :, 2:4])
    np.testing.assert_array_equal(part, whole[:, :, 2:4])


def test_infinite_counts_of_a_pixel_without_a_check():
    for threshold in (np.nan, np.inf, 0.0):
        assert of_one_pixel([100.0, np.inf, 300.0], threshold, SINGLE[:3]) == [0, 0, 0]
