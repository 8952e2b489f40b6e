"""Outliers of resampled images."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.imager.physics.outlier import find_outliers

pytestmark = pytest.mark.imager


def make_stack(values, shape=(5, 5)):
    return np.broadcast_to(np.float32(values)[:, None, None], (len(values), *shape)).copy()


def test_the_limit_is_in_own_errors():
    data = make_stack([10.0, 10.0, 15.1, 4.8])
    err = make_stack([1.0, 1.0, 1.0, 1.1])
    # The median is 10; 5.1 is out with an error of 1, and 5.2 is not with one of 1.1.
    assert find_outliers(data, err)[:, 2, 2].tolist() == [False, False, True, False]
    assert not find_outliers(data, err, sigma=5.2).any()


@pytest.mark.parametrize("n_images", [1, 2])
def test_few_values_have_no_outlier(n_images):
    data = make_stack([0.0, 100.0][:n_images])
    assert not find_outliers(data, np.ones_like(data)).any()


def test_missing_values_do_not_count():
    data, err = make_stack([0.0, 0.0, 100.0, 100.0]), make_stack([1.0] * 4)
    data[3, 1, 1], err[3, 2, 2], data[2:, 3, 3] = np.nan, np.nan, np.nan
    found = find_outliers(data, err)
    assert found[:, 1, 1].tolist() == found[:, 2, 2].tolist() == [False, False, True, False]
    assert not found[:, 3, 3].any()


@pytest.mark.parametrize("neighbour", [(1, 2), (3, 2), (2, 1), (2, 3)])
def test_steep_places_are_spared(neighbour):
    data = make_stack([10.0, 10.0, 10.0])
    data[:, *neighbour] = 40.0  # the median differs by 30 from one of the four
    data[0, 2, 2] = 44.0  # 34 away
    assert not find_outliers(data, np.ones_like(data))[0, 2, 2]
    assert find_outliers(data, np.ones_like(data), gradient=0.9)[0, 2, 2]
    data[0, 2, 2] = 46.0
    assert find_outliers(data, np.ones_like(data))[0, 2, 2]


def test_diagonal_and_missing_neighbours_do_not_matter():
    data = make_stack([10.0, 10.0, 10.0])
    data[:, 1, 1], data[:, 1, 2] = 40.0, np.nan
    data[0, 2, 2] = 16.0
    assert find_outliers(data, np.ones_like(data))[:, 2, 2].tolist() == [True, False, False]


def test_neighbours_of_two_images_may_be_outliers_themselves():
    """A trail that leaves the part of the sky that three images see."""
    data = make_stack([10.0, 10.0, 10.0])
    data[0, 2, 2:] = 80.0
    data[1, :, 3:] = np.nan
    assert np.argwhere(find_outliers(data, np.ones_like(data))).tolist() == [[0, 2, 2]]


def test_edges_have_fewer_neighbours():
    data = make_stack([10.0, 10.0, 10.0])
    data[0, 0, 0] = data[1, 4, 4] = 20.0
    assert np.argwhere(find_outliers(data, np.ones_like(data))).tolist() == [[0, 0, 0], [1, 4, 4]]


def test_noise_alone_has_hardly_any():
    data = np.random.default_rng(0).normal(100.0, 1.0, (5, 200, 200)).astype(np.float32)
    assert find_outliers(data, np.ones_like(data)).mean() < 1e-5
