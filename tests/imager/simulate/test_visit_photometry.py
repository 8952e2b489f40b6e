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


def test_errors_are_the_scatter_of_fluxes():
    rng = np.random.default_rng(0)
    err = np.full((40, 40), 2.0)
    err[19:21] = 8.0
    place = np.array([20.3]), np.array([19.8])
    y, x = np.indices(err.shape)
    star = 2000.0 * np.exp(-0.5 * ((x - 20.3) ** 2 + (y - 19.8) ** 2) / 1.2**2)
    found = [measure_stars(rng.normal(star, err), *place, 1.2, err=err) for _ in range(400)]
    fluxes, errors = (np.array([getattr(one, name)[0] for one in found]) for name in ("flux", "err"))
    assert fluxes.std() == pytest.approx(errors.mean(), rel=0.12)
    assert np.isnan(measure_stars(star, *place, 1.2).err).all()
