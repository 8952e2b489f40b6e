"""Arrays of pixels as rows of channels, as compiled loops take them, and back."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.heterodyne.physics.rows import by_channel, rows, rows_to_fill, unpack_rows


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("pixels", [(3, 2), (1, 2), (1, 1)])
def test_a_row_for_each_pixel_and_back(order, pixels):
    values = np.asarray(np.arange(4.0 * np.prod(pixels)).reshape(4, *pixels), order=order)
    table = rows(values)
    assert table.flags.c_contiguous
    for receiver, array in np.ndindex(*pixels):
        np.testing.assert_array_equal(table[receiver + pixels[0] * array], values[:, receiver, array])
    np.testing.assert_array_equal(unpack_rows(table, pixels), values)


def test_nothing_is_copied_that_is_in_order():
    values = np.zeros((4, 3, 2), order="F")
    rows(values)[1, 2] = 7.0
    assert values[2, 1, 0] == 7.0
    unpack_rows(rows(values), (3, 2))[3, 0, 1] = 8.0
    assert values[3, 0, 1] == 8.0


@pytest.mark.parametrize("found", [(4, 3, 1), (4, 1, 3), (3, 3, 2), (4, 2, 3)])
def test_another_shape_is_refused(found):
    # A compiled loop would read on behind the end of the array.
    for shared in (False, True):
        with pytest.raises(ValueError, match=r"has shape .*, expected \(4, 3, 2\)"):
            rows(np.zeros(found), (4, 3, 2), shared)
    with pytest.raises(ValueError, match="has shape"):
        by_channel(np.zeros(found), (4, 3, 2))


def test_what_pixels_share_is_said_to_be_shared():
    for found in [(4, 1, 2), (4, 1, 1)]:
        assert rows(np.zeros(found), (4, 3, 2), shared=True).shape == (found[2], 4)
        with pytest.raises(ValueError, match="has shape"):
            rows(np.zeros(found), (4, 3, 2))


def test_results_are_not_put_into_a_copy():
    with pytest.raises(ValueError, match="not in Fortran order"):
        rows_to_fill(np.zeros((4, 3, 2)), (4, 3, 2))


@pytest.mark.parametrize("dtype", [np.float64, np.bool_])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pixels_of_a_channel_lie_as_those_of_counts(dtype, order):
    values = np.asarray(np.arange(24).reshape(4, 3, 2) % 5, dtype, order)
    turned = by_channel(values, (4, 3, 2))
    assert turned.dtype == dtype
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, values.reshape(4, 6, order="C"))
