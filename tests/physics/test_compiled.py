"""Functions that are compiled, and the layout of what they are given."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.physics.compiled import by_channel, compiled, of_pixels, rows


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("pixels", [(3, 2), (1, 2), (1, 1)])
def test_a_row_for_each_pixel_and_back(order, pixels):
    values = np.asarray(np.arange(4.0 * np.prod(pixels)).reshape(4, *pixels), order=order)
    table = rows(values)
    assert table.flags.c_contiguous
    for receiver, array in np.ndindex(*pixels):
        np.testing.assert_array_equal(table[receiver + pixels[0] * array], values[:, receiver, array])
    np.testing.assert_array_equal(of_pixels(table, pixels), values)


def test_nothing_is_copied_that_is_in_order():
    values = np.zeros((4, 3, 2), order="F")
    rows(values)[1, 2] = 7.0
    assert values[2, 1, 0] == 7.0
    of_pixels(rows(values), (3, 2))[3, 0, 1] = 8.0
    assert values[3, 0, 1] == 8.0


@pytest.mark.parametrize("dtype", [np.float64, np.bool_])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pixels_of_a_channel_lie_as_those_of_counts(dtype, order):
    values = np.asarray(np.arange(24).reshape(4, 3, 2) % 5, dtype, order)
    turned = by_channel(values)
    assert turned.dtype == dtype
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, values.reshape(4, 6, order="C"))


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same():
    scope: dict = {}
    # A function without a file has no place for what was compiled of it.
    exec("def ratio(a, b): return a / b", scope)
    ratio = compiled(scope["ratio"])
    assert ratio(1.0, 4.0) == 0.25
    assert ratio(1.0, 0.0) == np.inf
