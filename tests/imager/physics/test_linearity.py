"""Linearity: curved counts become straight."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.imager.physics.linearity import find_without_linearity, linearize

pytestmark = pytest.mark.imager


def curved(shape):
    """Counts of a detector that loses charge, and the coefficients that give it back."""
    rng = np.random.default_rng(0)
    coeffs = np.stack([np.full(shape[2:], c) for c in (0.0, 1.0, 1e-6, 2e-11)])
    coeffs[2] *= rng.uniform(0.5, 1.5, shape[2:])
    true = np.sort(rng.uniform(0, 50_000, shape), axis=1)
    # The solution of Σ c x^k = true, by bisection.
    low, high = np.zeros(shape), np.full(shape, 60_000.0)
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = np.polynomial.polynomial.polyval(middle, coeffs[:, None, None], tensor=False) < true
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return true, low, coeffs


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 1e-2), (np.float64, 1e-6)])
def test_curved_ramps_become_straight(dtype, error):
    true, counts, coeffs = curved((2, 4, 3, 5))
    found = linearize(counts.astype(dtype), np.zeros(counts.shape, np.uint8), coeffs.astype(dtype))
    assert found.dtype == dtype
    assert np.abs(counts - true).max() > 1000
    np.testing.assert_allclose(found, true, atol=error)


def test_saturated_groups_and_unknown_pixels_are_untouched():
    _, counts, coeffs = curved((2, 4, 3, 5))
    groupdq = np.zeros(counts.shape, np.uint8)
    groupdq[1, 3, 2, 2], groupdq[0, 2, 1, 1] = 2 | 4, 1
    coeffs[3, 0, 1] = np.nan
    before = counts.copy(), groupdq.copy(), coeffs.copy()
    found = linearize(counts, groupdq, coeffs)
    kept = np.zeros(counts.shape, bool)
    kept[1, 3, 2, 2] = kept[:, :, 0, 1] = True
    np.testing.assert_array_equal(found == counts, kept)
    assert np.argwhere(find_without_linearity(coeffs)).tolist() == [[0, 1]]
    for now, then in zip((counts, groupdq, coeffs), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_rows_of_a_detector_are_corrected_alike():
    _, counts, coeffs = curved((1, 3, 6, 4))
    groupdq = np.zeros(counts.shape, np.uint8)
    part = linearize(counts[:, :, 2:5], groupdq[:, :, 2:5], coeffs[:, 2:5])
    np.testing.assert_array_equal(part, linearize(counts, groupdq, coeffs)[:, :, 2:5])


def test_coefficients_of_another_detector_are_refused():
    data = np.zeros((1, 2, 3, 3))
    with pytest.raises(LayoutError, match=r"coeffs \(2, 4, 4\), expected \(1, 2, 3, 3\) and \(2, 3, 3\)"):
        linearize(data, np.zeros(data.shape, np.uint8), np.zeros((2, 4, 4)))
