"""Images and their good pixels."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.imager import DQ
from cal_pipeline.imager.physics.image import add_errors, cut_image, find_good, make_image

pytestmark = pytest.mark.imager


def test_what_is_not_given_is_zero():
    image = make_image([[1, 2], [3, 4]], np.ones((2, 2)))
    assert [array.dtype for array in image] == [np.float32] * 5 + [np.uint32]
    assert all(array.shape == (2, 2) for array in image)
    assert not any(array.any() for array in image[2:])


def test_good_pixels_have_data_and_error_and_may_be_used():
    data = [1.0, np.nan, np.inf, 1.0, 1.0, 1.0, 1.0]
    err = [1.0, 1.0, 1.0, np.nan, np.inf, 1.0, 1.0]
    dq = [0, 0, 0, 0, 0, DQ.DO_NOT_USE | DQ.HOT, int(DQ.HOT | DQ.JUMP_DET | DQ.REFERENCE_PIXEL)]
    found = find_good(np.array(data), np.array(err), np.array(dq, np.uint32))
    assert found.tolist() == [True, False, False, False, False, False, True]


def test_errors_add_in_quadrature_beyond_single_precision():
    assert add_errors(np.float32([3e-30, 3e30]), np.float32([4e-30, 4e30])) == pytest.approx([5e-30, 5e30])
    assert add_errors(np.array([6.0]), np.array([2.0]), -4.0).tolist() == [10.0]


def test_integrations_are_cut_alike():
    image = make_image(np.arange(24).reshape(2, 3, 4), np.ones((2, 3, 4)))
    cut = cut_image(image, slice(1, 3), slice(0, 2))
    assert cut.data.tolist() == [[[4, 5], [8, 9]], [[16, 17], [20, 21]]]
    assert all(array.shape == (2, 2, 2) for array in cut)
