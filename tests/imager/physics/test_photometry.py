"""Flux calibration."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.imager.physics.image import make_image
from cal_pipeline.imager.physics.photometry import calibrate_flux, compute_conversion

pytestmark = pytest.mark.imager


def test_a_star_of_known_magnitude():
    # AB 23.9 is 1 uJy to 0.2 %; a star of this magnitude gives 10 e/s with a zero point of 26.4.
    assert 10.0 * compute_conversion(26.4) == pytest.approx(1.0, rel=3e-3)
    assert compute_conversion(0.0) == 3.631e9


def test_extinction_dims_what_is_observed():
    star, airmass, extinction = 200.0, 1.7, 0.08  # e/s above the atmosphere
    seen = star * 10 ** (-0.4 * extinction * airmass)
    assert seen * compute_conversion(25.0, extinction, airmass) == pytest.approx(star * compute_conversion(25.0))


def test_extinction_needs_an_airmass():
    with pytest.raises(ObservationError, match=r"0\.1 mag .*airmass: found none"):
        compute_conversion(25.0, 0.1)
    assert compute_conversion(25.0, 0.0, None) == compute_conversion(25.0, 0.0, 1.5)


def test_errors_are_in_the_same_unit():
    image = make_image([10.0], [2.0], [4], [1.0], [2.0], [1.0])
    found = calibrate_flux(image, 0.5)
    assert [array.item() for array in found] == [5.0, 1.0, 0.25, 0.5, 0.25, 4]
    np.testing.assert_array_equal(found.err**2, found.var_poisson + found.var_rnoise + found.var_flat)
