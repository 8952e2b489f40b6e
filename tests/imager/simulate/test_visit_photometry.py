"""The photometry that compares images with the truth, on images without noise."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.imager.simulate import standard_visit
from cal_pipeline.imager.simulate.photometry import measure_stars
from cal_pipeline.imager.simulate.sky import make_scene, place_stars

pytestmark = pytest.mark.imager


def test_stars_are_measured_where_and_as_bright_as_they_are():
    config = standard_visit(size=128)
    plan = next(plan for plan in config.exposures if plan.exp_type == "SCI")
    stars = place_stars(config, plan)
    found = measure_stars(make_scene(config, plan, stars), stars.x + 0.3, stars.y - 0.2, config.star_sigma)
    inside = np.isfinite(found.flux)
    assert inside.sum() > 8
    np.testing.assert_allclose(found.flux[inside], stars.rate[inside], rtol=1e-3)
    np.testing.assert_allclose([found.x[inside], found.y[inside]], [stars.x[inside], stars.y[inside]], atol=2e-3)


def test_a_star_without_some_of_its_pixels_is_not_measured():
    image = np.zeros((40, 40))
    image[20, 20] = np.nan
    found = measure_stars(image, np.array([21.0, 3.0]), np.array([20.0, 20.0]), 1.2)
    assert np.isnan(found).all()
