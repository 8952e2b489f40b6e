"""Covariance of differences, and which are usable."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_ramps import PATTERNS, Reads

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.physics.ramp_noise import (
    compute_difference_noise,
    find_usable_differences,
    find_without_gain,
    prepare_ramps,
)
from cal_pipeline.imager.physics.reads import compute_read_times

pytestmark = pytest.mark.imager


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_covariance_is_that_of_averaged_reads(pattern):
    reads, noise = Reads(pattern, 2.5), compute_difference_noise(compute_read_times(pattern, 2.5))
    np.testing.assert_allclose(noise.interval, reads.interval, rtol=1e-13)
    for variance, covariance, true in [
        (noise.read_variance, noise.read_covariance, reads.covariance(0.0, 1.0)),
        (noise.photon_variance, noise.photon_covariance, reads.covariance(1.0, 0.0)),
    ]:
        found = np.diag(variance) + np.diag(covariance[:-1], 1) + np.diag(covariance[:-1], -1)
        np.testing.assert_allclose(found, true, atol=1e-11)
        assert covariance[-1] == 0


def test_usable_differences():
    flags = np.array([[0, 4, 0, 2, 2, 0], [1, 0, 0, 64, 0, 4 | 16]], np.uint8).reshape(2, 6, 1, 1)
    usable = find_usable_differences(flags)
    assert usable.reshape(2, 5).tolist() == [[False, True, False, False, False], [False, True, True, True, False]]


def test_a_single_group_is_refused():
    with pytest.raises(LayoutError, match="1 groups, expected at least 2"):
        compute_difference_noise(compute_read_times([[1, 2]], 1.0))


def test_pixels_to_fit():
    pixeldq = np.array([[0, DQ.DO_NOT_USE, DQ.REFERENCE_PIXEL, DQ.HOT, 0, 0]], np.uint32)
    gain = np.array([[2.0, 2.0, 2.0, 2.0, np.inf, 2.0]])
    noise = np.array([[9.0, 9.0, 9.0, 9.0, 9.0, 0.0]])
    data = np.zeros((1, 2, 1, 6), np.float32)
    times = compute_read_times([[1], [2]], 1.0)
    assert find_without_gain(gain, noise).ravel().tolist() == [False] * 4 + [True] * 2
    ramps = prepare_ramps(data, np.zeros(data.shape, np.uint8), pixeldq, gain, noise, times)
    assert ramps.fitted.tolist() == [True, False, False, True, False, False]


@pytest.mark.parametrize("name", ["pixeldq", "gain", "read_noise"])
def test_arrays_of_other_pixels_are_refused(name):
    data, one = np.zeros((1, 2, 3, 4), np.float32), np.ones((3, 4))
    arrays = {"pixeldq": np.zeros((3, 4), np.uint32), "gain": one, "read_noise": one}
    arrays[name] = arrays[name][:2]
    with pytest.raises(LayoutError, match=rf"{name}: shape \(2, 4\), expected \(3, 4\)"):
        prepare_ramps(data, np.zeros(data.shape, np.uint8), **arrays, times=compute_read_times([[1], [2]], 1.0))
