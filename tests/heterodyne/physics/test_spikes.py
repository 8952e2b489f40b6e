"""Spikes are left out, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.heterodyne.physics.spikes import average_without_spikes, blank_spikes, radiometer_noise

NOISE = np.array([1e-3])


def series(*values, dtype=np.float64):
    return np.array(values, dtype).reshape(1, -1, 1, 1, 1)


def averaged(counts, clip_sigma=10.0, noise=NOISE):
    mean, number, spikes = average_without_spikes(counts, clip_sigma, noise)
    return mean.item(), number.item(), [] if spikes is None else spikes.ravel().nonzero()[0].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float64])
def test_a_spike_is_left_out_in_either_direction(dtype):
    assert averaged(series(1000, 1001, 3000, 999, 1000, dtype=dtype)) == (1000.0, 4, [2])
    assert averaged(series(1000, 1001, 0, 999, 1000, dtype=dtype)) == (1000.0, 4, [2])


def test_missing_dumps_are_no_spikes():
    assert averaged(series(np.nan, 1000, 1001, 3000, 999, 1000)) == (1000.0, 4, [3])
    mean, number, spikes = average_without_spikes(series(np.nan, np.nan, np.nan), 10.0, NOISE)
    assert np.isnan(mean).all()
    assert (number == 0).all()
    assert spikes is None


def test_two_dumps_do_not_tell_which_is_the_spike():
    assert averaged(series(1000, 3000)) == (2000.0, 2, [])
    assert averaged(series(1000, 3000, np.nan)) == (2000.0, 2, [])
    assert averaged(series(1000, 3000, 1000)) == (1000.0, 2, [1])


def test_noise_of_the_radiometer_equation_is_no_spike_where_most_counts_are_equal():
    counts = series(1000, 1000, 1000, 1000, 1009, dtype=np.int32)
    assert averaged(counts) == (1001.8, 5, [])
    assert averaged(counts, noise=np.array([1e-4])) == (1000.0, 4, [4])


def test_unknown_noise_leaves_the_deviations_alone():
    noise = radiometer_noise(1e6, np.array([np.nan]))
    assert averaged(series(990, 1010, 1000, 995, 1005, 1040), noise=noise)[1] == 6
    assert averaged(series(999, 1001, 1000, 998, 1002, 1040), noise=noise)[1:] == (5, [5])


def test_zero_looks_for_none():
    assert averaged(series(1000, 1000, 1000, 5000), clip_sigma=0.0) == (2000.0, 4, [])


def test_dead_channels_have_no_spikes():
    assert averaged(series(0, 0, 0, 0, dtype=np.int32)) == (0.0, 4, [])


def test_every_subscan_and_pixel_by_itself():
    counts = np.random.default_rng(1).normal(1e6, 1e3, (50, 8, 3, 2, 2))
    # A level of their own must not make the dumps of one subscan spikes of the other.
    counts[..., 1] *= 2.0
    struck = np.zeros(counts.shape, bool)
    struck[7, 3, 1, 0, 0] = struck[40, 0, 2, 1, 1] = True
    spiky = np.where(struck, 1e8, counts)
    mean, number, spikes = average_without_spikes(spiky, 10.0, np.array([1e-3, 1e-3]))
    np.testing.assert_array_equal(spikes, struck)
    np.testing.assert_array_equal(number, (~struck).sum(axis=1))
    np.testing.assert_allclose(mean, np.nanmean(blank_spikes(counts, struck), axis=1), rtol=1e-14)


def test_white_noise_of_any_width_is_left_alone():
    # Ten times the radiometer equation: medians are computed, but nothing is left out.
    counts = np.random.default_rng(2).normal(1e6, 1e4, (400, 20, 1, 1, 1))
    mean, _, spikes = average_without_spikes(counts, 10.0, NOISE)
    assert spikes is None
    np.testing.assert_allclose(mean[..., 0], counts[..., 0].mean(axis=1), rtol=1e-14)


def test_order_in_memory_does_not_matter():
    counts = np.random.default_rng(3).normal(1e6, 1e3, (6, 5, 2, 3, 4))
    counts[2, 1, 1, 2, 3] = 9e9
    one, other = (average_without_spikes(c, 10.0, np.full(4, 1e-3)) for c in (counts, np.asfortranarray(counts)))
    for found, expected in zip(one, other, strict=True):
        np.testing.assert_array_equal(found, expected)
