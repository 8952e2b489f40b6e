"""Frames combined: means and medians, outliers, flags, and errors that are true."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.imager import DQ
from cal_pipeline.imager.physics.combine import combine_frames, normalize, scale_image
from cal_pipeline.imager.physics.image import make_image

pytestmark = pytest.mark.imager


def combine_pixel(values, errors=1.0, flags=0, **options):
    """Combine one pixel's samples; return its value, error and flags."""
    values = np.asarray(values, np.float32).reshape(-1, 1, 1)
    errors = np.broadcast_to(np.float32(errors), values.shape[:1]).reshape(values.shape)
    flags = np.broadcast_to(np.uint32(flags), values.shape[:1]).reshape(values.shape)
    image = combine_frames(values, errors, flags, **options)
    return image.data.item(), image.err.item(), image.dq.item()


def test_mean_is_not_weighted():
    value, error, _ = combine_pixel([1.0, 2.0, 6.0], [3.0, 4.0, 12.0])
    assert value == 3.0
    assert error == pytest.approx(13.0 / 3.0)


@pytest.mark.parametrize(("values", "median"), [([5, 1, 2], 2), ([9, 1, 4, 2], 3), ([7], 7), ([3, 4], 3.5)])
def test_median(values, median):
    assert combine_pixel(values, method="median", sigma=0.0)[0] == median


def test_median_of_many():
    values = np.random.default_rng(5).permutation(101)  # sorted in another way than few
    assert combine_pixel(values, method="median", sigma=0.0)[0] == 50.0


@pytest.mark.parametrize("method", ["mean", "median"])
def test_outliers_go_in_units_of_their_own_error(method):
    # Both are 5 from the median; the second has an error of 2, so that it stays.
    value, _, flags = combine_pixel([10, 10, 10, 15, 5], [1, 1, 1, 1, 2], method=method)
    assert value == pytest.approx(35.0 / 4.0 if method == "mean" else 10.0)
    assert flags == 0


def test_no_outlier_goes_without_sigma():
    assert combine_pixel([0, 0, 0, 1000], sigma=0.0)[0] == 250.0


def test_all_stay_where_all_would_go():
    value, error, flags = combine_pixel([0, 100], flags=[DQ.HOT, DQ.WARM])
    assert (value, flags) == (50.0, DQ.OUTLIER | DQ.HOT | DQ.WARM)
    assert error == pytest.approx(np.sqrt(2) / 2)


def test_outliers_go_once():
    # The median moves from 0 to 0.5 without the outlier; nothing else goes then.
    value, _, _ = combine_pixel([0, -4, 0, 4, 100], sigma=4.0)
    assert value == 0.0


def test_flags_are_those_of_the_kept_without_events():
    flags = [DQ.HOT | DQ.JUMP_DET, DQ.WARM | DQ.SATURATED | DQ.CHARGELOSS, DQ.DEAD, DQ.DO_NOT_USE | DQ.RC]
    assert combine_pixel([1, 1, 1000, 1], flags=flags)[2] == DQ.HOT | DQ.WARM


def test_nothing_good():
    value, error, flags = combine_pixel([np.nan, 1, 1], [1, np.nan, 1], [DQ.HOT, DQ.JUMP_DET, DQ.DO_NOT_USE | DQ.DEAD])
    assert np.isnan([value, error]).all()
    assert flags == DQ.HOT | DQ.DEAD | DQ.DO_NOT_USE


def test_bad_samples_do_not_count():
    value, error, _ = combine_pixel([1, 2, np.nan, 99, 77], [1, 1, 1, np.inf, 1], [0, 0, 0, 0, 1])
    assert value == 1.5
    assert error == pytest.approx(np.sqrt(2) / 2)


def test_frames_have_factors():
    value, error, _ = combine_pixel([50, 100, 150], [5, 10, 15], factors=[2, 1, 2 / 3])
    assert value == pytest.approx(100.0)
    assert error == pytest.approx(10 / np.sqrt(3))


def test_no_frames():
    with pytest.raises(ObservationError, match="found 0, expected at least 1"):
        combine_frames([], [], [])


def test_lists_and_arrays_of_more_rows_than_a_block():
    rng = np.random.default_rng(3)
    data, err = rng.normal(10, 1, (4, 150, 7)), np.ones((4, 150, 7))
    dq = np.zeros(data.shape, np.uint32)
    before = data.copy()
    whole, listed = combine_frames(data, err, dq), combine_frames(list(data), list(err), list(dq))
    np.testing.assert_allclose(whole.data, data.mean(axis=0), rtol=1e-6)
    for one, other in zip(whole, listed, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(data, before)
    assert not any(array.any() for array in whole[2:5])


@pytest.mark.parametrize("method", ["mean", "median"])
@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_errors_are_true(method, n_frames):
    rng = np.random.default_rng(n_frames)
    data = rng.normal(100.0, 2.0, (n_frames, 200, 200)).astype(np.float32)
    image = combine_frames(data, np.full_like(data, 2.0), np.zeros(data.shape, np.uint32), method)
    pull = (image.data - 100.0) / image.err
    assert pull.std() == pytest.approx(1.0, abs=0.012)
    assert pull.mean() == pytest.approx(0.0, abs=0.025)


@pytest.mark.parametrize("n_frames", [10, 40])
def test_errors_of_many_medians_are_never_too_small(n_frames):
    rng = np.random.default_rng(n_frames)
    data = rng.normal(0.0, 1.0, (n_frames, 100, 200)).astype(np.float32)
    image = combine_frames(data, np.ones_like(data), np.zeros(data.shape, np.uint32), "median")
    assert 0.92 < (image.data / image.err).std() < 1.015


def test_a_hit_in_one_of_five_frames_goes():
    rng = np.random.default_rng(11)
    data = rng.normal(50.0, 1.0, (5, 100, 100)).astype(np.float32)
    data[2, ::7] += 30.0
    image = combine_frames(data, np.ones_like(data), np.zeros(data.shape, np.uint32))
    pull = (image.data[::7] - 50.0) / image.err[::7]
    assert image.err[0].max() == pytest.approx(0.5)
    assert pull.std() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("method", "level"), [("median", 4.0), ("mean", 6.0)])
def test_normalized_to_the_good_pixels(method, level):
    image = make_image([2.0, 4.0, 12.0, 1e6, np.nan], np.full(5, 0.5), [0, DQ.HOT, 0, 1, 0], np.ones(5))
    found = normalize(image, method)
    np.testing.assert_allclose(found.data, image.data / level, rtol=1e-6)
    np.testing.assert_allclose(found.err, 0.5 / level, rtol=1e-6)
    np.testing.assert_allclose(found.var_poisson, 1.0 / level**2, rtol=1e-6)
    assert found.dq.tolist() == image.dq.tolist()


@pytest.mark.parametrize("values", [[-1.0, -2.0, 5.0], [np.nan, np.nan, np.nan], [0.0, 0.0, 0.0]])
def test_no_level_to_normalize_to(values):
    with pytest.raises(ObservationError, match="expected above 0"):
        normalize(make_image(values, np.ones(3)))


def test_variances_scale_with_the_square():
    image = scale_image(make_image([2.0], [1.0], [DQ.HOT], [4.0], [5.0], [6.0]), -3.0)
    assert [array.item() for array in image] == [-6.0, 3.0, 36.0, 45.0, 54.0, DQ.HOT]
