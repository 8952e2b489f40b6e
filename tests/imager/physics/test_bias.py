"""Bias."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.imager.physics.bias import find_without_bias, subtract_bias

pytestmark = pytest.mark.imager


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bias_is_subtracted_from_every_group(dtype):
    bias = np.array([[1000.25, np.nan], [np.inf, -3.0]])
    data = np.arange(24, dtype=dtype).reshape(2, 3, 2, 2)
    before = data.copy()
    found = subtract_bias(data, bias)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[:, :, 0, 0], before[:, :, 0, 0] - 1000.25)
    np.testing.assert_array_equal(found[:, :, 1, 1], before[:, :, 1, 1] + 3)
    np.testing.assert_array_equal(found[:, :, 0, 1], before[:, :, 0, 1])
    np.testing.assert_array_equal(found[:, :, 1, 0], before[:, :, 1, 0])
    np.testing.assert_array_equal(data, before)
    assert find_without_bias(bias).tolist() == [[False, True], [True, False]]
