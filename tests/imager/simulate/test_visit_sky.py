"""Light on the simulated detector: projection, stars and their fluxes, trails."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from cal_pipeline.imager.simulate import Detector, ExposurePlan, Filter, Star, VisitConfig, standard_visit
from cal_pipeline.imager.simulate.sky import make_scene, place_stars, point_exposure

pytestmark = pytest.mark.imager


@pytest.mark.parametrize(("dec", "angle"), [(2.2, 30.0), (-60.0, 0.0), (89.99, 200.0)])
def test_astropy_finds_the_stars_where_they_are(dec, angle):
    stars = [Star(0.0, 0.0, 18.0), Star(40.3, -22.8, 18.0), Star(-55.0, 61.0, 18.0)]
    plan = ExposurePlan(offset=(7.3, -4.6))
    config = VisitConfig([plan], Detector(size=(160, 128)), stars=stars, dec=dec, position_angle=angle)
    table = place_stars(config, plan)
    wcs = WCS(point_exposure(config, plan).keywords())
    np.testing.assert_allclose(wcs.all_world2pix(table.ra, table.dec, 0), [table.x, table.y], atol=1e-6)
    assert (table.ra[0], table.dec[0]) == (pytest.approx(config.ra), pytest.approx(dec))
    # Near the pole the offset turns the field.
    tolerance = 1e-3 if dec < 80.0 else 1.0
    np.testing.assert_allclose(table.x, [63.5 - 7.3, 103.8 - 7.3, 8.5 - 7.3], atol=tolerance)
    np.testing.assert_allclose(table.y, [79.5 + 4.6, 56.7 + 4.6, 140.5 + 4.6], atol=tolerance)


def test_the_y_axis_points_to_the_position_angle():
    config = VisitConfig([ExposurePlan()], Detector(size=65), position_angle=90.0)
    pointing = point_exposure(config, config.exposures[0])
    ra, dec = pointing.to_sky(32.0, 33.0)
    assert ra > config.ra  # angle 90 deg: y is east
    assert dec == pytest.approx(config.dec, abs=1e-9)


def test_light_of_a_star():
    plan = ExposurePlan(rate=2.0, airmass=1.5)
    config = VisitConfig(
        [plan],
        Detector(size=64),
        filters=[Filter("H", zero_point=25.0, extinction=0.2)],
        stars=[Star(3.3, -5.7, magnitude=17.2)],
        star_sigma=1.3,
    )
    table = place_stars(config, plan)
    image = make_scene(config, plan, table) - 2.0
    flux = 10.0 ** ((25.0 - 0.3 - 17.2) / 2.5)
    assert image.sum() == pytest.approx(flux, rel=1e-9)
    y, x = np.indices(image.shape)
    for axis, centre in ((x, table.x[0]), (y, table.y[0])):
        mean = (image * axis).sum() / flux
        assert mean == pytest.approx(centre, abs=1e-6)
        # Integration over pixels adds the variance of a pixel, 1/12.
        assert (image * (axis - mean) ** 2).sum() / flux == pytest.approx(1.3**2 + 1 / 12, rel=1e-6)


def test_a_star_outside_gives_its_wing_only():
    plan = ExposurePlan(rate=0.0)
    config = VisitConfig([plan], Detector(size=32), stars=[Star(16.0, 0.0, 15.0), Star(100.0, 0.0, 15.0)])
    image = make_scene(config, plan, place_stars(config, plan))
    rate = place_stars(config, plan).rate[0]
    assert image.sum() == pytest.approx(rate / 2, rel=1e-6)  # the first is cut by the edge through its centre


def test_lights_of_types():
    detector, filters = Detector(size=16), [Filter("H", sky=3.0, lamp=70.0)]
    plans = [ExposurePlan(name) for name in ("SCI", "SKY", "DARK", "FLAT", "ANOTHER")]
    config = VisitConfig(plans, detector, filters, stars=[Star(0.0, 0.0, 15.0)])
    scenes = [make_scene(config, plan, place_stars(config, plan)) for plan in plans]
    assert [scene.min() for scene in scenes] == [pytest.approx(3.0), 3.0, 0.0, 70.0, 3.0]
    assert [scene.max() > scene.min() for scene in scenes] == [True, False, False, False, False]


def test_a_trail_crosses_the_field():
    plan = ExposurePlan(rate=0.0, trail=40.0)
    config = VisitConfig([plan], Detector(size=64))
    image = make_scene(config, plan, place_stars(config, plan))
    assert 38.0 < image.max() <= 40.0
    assert image.max(axis=0).min() > 35.0  # in every column


def test_dithers_show_the_same_stars():
    config = standard_visit(size=64, darks=0, flats=0, skies=0, dithers=3)
    tables = [place_stars(config, plan) for plan in config.exposures]
    for plan, table in zip(config.exposures, tables, strict=True):
        np.testing.assert_allclose(table.ra, tables[0].ra)
        np.testing.assert_allclose(table.x, tables[0].x - plan.offset[0], atol=1e-3)
        np.testing.assert_allclose(table.y, tables[0].y - plan.offset[1], atol=1e-3)
