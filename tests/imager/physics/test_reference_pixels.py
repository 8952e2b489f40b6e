"""Reference pixels: offsets of amplifiers are found and removed."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.physics.reference_pixels import (
    assign_amplifiers,
    average_reference_pixels,
    find_reference_rows,
    subtract_reference,
)

pytestmark = pytest.mark.imager


def bordered(ny=12, nx=16, border=2):
    pixeldq = np.full((ny, nx), DQ.REFERENCE_PIXEL, np.uint32)
    pixeldq[border:-border, border:-border] = 0
    return pixeldq


@pytest.mark.parametrize(
    ("n_columns", "amplifiers", "widths"), [(16, 4, [4, 4, 4, 4]), (10, 4, [3, 2, 3, 2]), (7, 1, [7])]
)
def test_amplifiers_are_stripes(n_columns, amplifiers, widths):
    assigned = assign_amplifiers(n_columns, amplifiers)
    assert np.bincount(assigned).tolist() == widths
    assert (np.diff(assigned) >= 0).all()


class TestRows:
    def test_rows_at_both_edges(self):
        assert find_reference_rows(bordered()) == (slice(0, 2), slice(10, 12))

    def test_bad_reference_pixels_are_reference_pixels(self):
        pixeldq = bordered()
        pixeldq[0, 3] |= DQ.BAD_REF_PIXEL | DQ.DO_NOT_USE
        assert find_reference_rows(pixeldq) == (slice(0, 2), slice(10, 12))

    def test_one_lit_pixel_ends_the_rows(self):
        pixeldq = bordered()
        pixeldq[1, 7] = 0
        assert find_reference_rows(pixeldq) == (slice(0, 1), slice(10, 12))

    @pytest.mark.parametrize(("value", "n_first"), [(0, 0), (DQ.REFERENCE_PIXEL, 4)])
    def test_none_and_all(self, value, n_first):
        first, last = find_reference_rows(np.full((4, 3), value, np.uint32))
        assert (first, last) == (slice(0, n_first), slice(4, 4))


def test_offsets_of_amplifiers_are_removed():
    rng = np.random.default_rng(0)
    pixeldq, amplifier = bordered(), assign_amplifiers(16, 4)
    pixeldq[1, 5] |= DQ.BAD_REF_PIXEL
    scene = np.where(pixeldq & DQ.REFERENCE_PIXEL, 0.0, rng.uniform(100, 200, pixeldq.shape))
    offsets = rng.normal(0, 30, (2, 3, 4))
    data = (scene + offsets[..., amplifier][:, :, None, :]).astype(np.float32)
    data[..., 1, 5] = 1e5  # the bad one
    data[..., 2:-2, :2] += 1e4  # at the left edge, which is not used
    data[0, 0, 0, 0] = np.nan
    before = data.copy()
    rows = np.r_[find_reference_rows(pixeldq)]
    means = average_reference_pixels(data[:, :, rows], pixeldq[rows], amplifier)
    np.testing.assert_allclose(means, offsets, atol=1e-4)
    found = subtract_reference(data, means, amplifier)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[..., 2:-2, 2:-2], np.broadcast_to(scene[2:-2, 2:-2], (2, 3, 8, 12)), atol=1e-3)
    np.testing.assert_array_equal(data, before)


def test_amplifier_without_reference_pixels_stays():
    pixeldq, amplifier = bordered(), assign_amplifiers(16, 2)
    pixeldq[:2, :8] |= np.uint32(DQ.BAD_REF_PIXEL)
    pixeldq[-2:, :8] |= np.uint32(DQ.BAD_REF_PIXEL)
    data = np.full((1, 2, 12, 16), 7.0)
    rows = np.r_[find_reference_rows(pixeldq)]
    means = average_reference_pixels(data[:, :, rows], pixeldq[rows], amplifier)
    assert np.isnan(means[..., 0]).all()
    found = subtract_reference(data, means, amplifier)
    assert (found[..., :8] == 7).all()
    assert (found[..., 8:] == 0).all()


def test_no_reference_rows_give_no_means():
    pixeldq = np.zeros((4, 6), np.uint32)
    rows = np.r_[find_reference_rows(pixeldq)]
    means = average_reference_pixels(np.ones((1, 2, 4, 6))[:, :, rows], pixeldq[rows], assign_amplifiers(6, 3))
    assert means.shape == (1, 2, 3)
    assert np.isnan(means).all()
