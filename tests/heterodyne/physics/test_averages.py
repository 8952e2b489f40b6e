"""NaN-aware means."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cal_pipeline.heterodyne.physics.averages import mean_from_sum, median_of_finite, running_mean, sum_of_valid

values = st.one_of(st.floats(-1e9, 1e9), st.just(np.nan))


@pytest.mark.slow
@given(arrays(np.float64, (17, 2), elements=values), st.sampled_from([1, 3, 7, 33]))
def test_running_mean_is_the_mean_of_what_is_near(data, width):
    found = running_mean(data, width)
    half = width // 2
    for row in range(len(data)):
        for column in range(data.shape[1]):
            near = data[max(row - half, 0) : row + half + 1, column]
            near = near[np.isfinite(near)]
            if near.size:
                assert found[row, column] == pytest.approx(near.mean(), rel=1e-9, abs=1e-5)
            else:
                assert np.isnan(found[row, column])


def test_running_mean_keeps_the_digits_of_large_counts():
    data = np.full((5000, 1), 2.0e9) + np.tile([0.0, 1.0], 2500)[:, None]
    assert np.abs(running_mean(data) - 2.0e9 - 0.5).max() < 0.51 / 65 + 1e-6


@pytest.mark.parametrize("width", [0, 2, -3])
def test_running_mean_needs_an_odd_width(width):
    with pytest.raises(ValueError, match="odd"):
        running_mean(np.zeros(4), width)


@pytest.mark.slow
@given(arrays(np.int32, (3, 4, 2)), st.sampled_from([0, 1, 2, -1]), st.sampled_from(["C", "F"]))
def test_sums_of_integers_are_exact_along_every_axis(data, axis, order):
    total, number = sum_of_valid(np.array(data, order=order), axis=axis)
    np.testing.assert_array_equal(total, data.sum(axis=axis, dtype=np.int64))
    assert (number == data.shape[axis]).all()


@pytest.mark.slow
@given(arrays(np.float64, (3, 4, 2), elements=values), st.sampled_from([0, 1, -1]))
def test_the_order_in_memory_does_not_matter(data, axis):
    for one, other in zip(sum_of_valid(data, axis), sum_of_valid(np.asfortranarray(data), axis), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-6)


@pytest.mark.slow
@given(arrays(np.float64, (3, 4, 2), elements=values))
def test_sum_and_number_give_the_mean_of_the_valid(data):
    total, number = sum_of_valid(data, axis=1)
    mean = mean_from_sum(total, number)
    assert (number == np.isfinite(data).sum(axis=1)).all()
    assert (np.isnan(mean) == (number == 0)).all()
    for i in range(3):
        for j in range(2):
            good = data[i, :, j][np.isfinite(data[i, :, j])]
            if good.size:
                assert mean[i, j] == pytest.approx(good.mean(), rel=1e-12, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("length", [2047, 2048, 5001])
def test_the_median_of_a_long_row_passes_over_what_is_not_finite(length, dtype):
    values = np.random.default_rng(length).normal(size=(2, 5, length)).astype(dtype)
    values[0, 1] = np.nan
    values[0, 2, 1:] = np.inf
    values[1, 0, : length // 3], values[1, 1, 7], values[1, 2, ::2] = np.nan, -np.inf, np.nan
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nanmedian(np.where(np.isfinite(values), values, np.nan).astype(np.float64), axis=-1)
    np.testing.assert_array_equal(median_of_finite(values, axis=-1), expected)
