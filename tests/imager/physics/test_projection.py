"""Tangential projections: keywords, maps between them, and common grids."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io.fits import Header
from astropy.wcs import WCS

from cal_pipeline.core.errors import LayoutError, ObservationError
from cal_pipeline.imager.physics.projection import (
    Grid,
    Projection,
    compute_grid,
    cut_grid,
    find_footprint,
    find_part,
    format_projection,
    map_pixels,
    parse_projection,
)

pytestmark = pytest.mark.imager

KEYWORDS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CUNIT1": "deg",
    "CUNIT2": "deg",
    "CRVAL1": 83.6,
    "CRVAL2": -5.4,
    "CRPIX1": 128.5,
    "CRPIX2": 100.25,
    "CD1_1": -1.1e-5,
    "CD1_2": 2e-7,
    "CD2_1": 1e-7,
    "CD2_2": 1.0e-5,
    "RADESYS": "ICRS",
}


def rotate(projection: Projection, degrees: float, scale: float = 1.0) -> Projection:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    cd = np.array(projection.cd) @ [[c, -s], [s, c]]
    return Projection(projection.crval, projection.crpix, (tuple(cd[0]), tuple(cd[1])))


def read_by_astropy(projection: Projection) -> WCS:
    return WCS(Header(format_projection(projection)))


@pytest.mark.parametrize(
    ("crval", "offset"), [((83.6, -5.4), 1e-3), ((0.0, 60.0), 2e-2), ((359.9999, 89.9), 1e-3), ((10.0, -90.0), 1.0)]
)
@pytest.mark.parametrize(("degrees", "scale"), [(0.0, 1.0), (33.0, 0.5), (180.0, 7.0)])
def test_positions_are_those_of_astropy(crval, offset, degrees, scale):
    source = Projection(crval, (100.0, 50.5), ((-3e-4, 0.0), (0.0, 3e-4)))
    target = rotate(
        Projection((crval[0] + offset, min(crval[1] + offset, 90)), (7.0, 300.0), source.cd), degrees, scale
    )
    x, y = np.meshgrid(np.linspace(-10, 200, 8), np.linspace(0, 150, 7))
    expected = read_by_astropy(target).world_to_pixel_values(*read_by_astropy(source).pixel_to_world_values(x, y))
    columns, rows, area = map_pixels(source, target, x, y)
    np.testing.assert_allclose(columns, expected[0], atol=1e-7)
    np.testing.assert_allclose(rows, expected[1], atol=1e-7)
    for (i, j), step in itertools.product([(0, 0), (3, 4), (6, 7)], [0.5]):
        (x0, x1, x2, x3), (y0, y1, y2, y3), _ = map_pixels(
            source, target, x[i, j] + step * np.array([-1, 1, 1, -1]), y[i, j] + step * np.array([-1, -1, 1, 1])
        )
        corners = abs((x2 - x0) * (y3 - y1) - (x3 - x1) * (y2 - y0)) / 2
        assert area[i, j] == pytest.approx(corners, rel=1e-6)


def test_first_pixel_is_one_in_keywords():
    projection = parse_projection(KEYWORDS)
    sky = read_by_astropy(projection).pixel_to_world(KEYWORDS["CRPIX1"] - 1, KEYWORDS["CRPIX2"] - 1)
    assert sky.separation(SkyCoord(83.6, -5.4, unit="deg")).arcsec < 1e-6


def test_shifts_by_whole_pixels_are_exact():
    source = parse_projection(KEYWORDS)
    columns, rows, area = map_pixels(source, source.moved(-7, 12), np.arange(4.0), np.array([[1.0], [2.0]]))
    assert columns.tolist() == [[-7, -6, -5, -4]] * 2
    assert rows.tolist() == [[13] * 4, [14] * 4]
    assert (area == 1).all()


def test_beyond_the_horizon_is_nowhere():
    source = Projection((0.0, 0.0), (1.0, 1.0), ((-1.0, 0.0), (0.0, 1.0)))
    columns, _, _ = map_pixels(source, Projection((180.0, 0.0), (1.0, 1.0), source.cd), np.zeros(1), np.zeros(1))
    assert np.isnan(columns).all()
    with pytest.raises(ObservationError, match="90 degrees"):
        compute_grid([source, Projection((180.0, 0.0), (1.0, 1.0), source.cd)], [(4, 4), (4, 4)])
    assert find_part(Grid(source, (4, 4)), Grid(Projection((180.0, 0.0), (1.0, 1.0), source.cd), (4, 4))) == (
        slice(0, 4),
        slice(0, 4),
    )


def test_keywords_come_back():
    assert format_projection(parse_projection(KEYWORDS)) == KEYWORDS
    assert format_projection(parse_projection(KEYWORDS | {"RADESYS": "FK5", "EQUINOX": 2000}))["EQUINOX"] == 2000.0


def test_defaults_are_those_of_the_standard():
    short = {name: value for name, value in KEYWORDS.items() if not name.startswith(("CUNIT", "RADESYS"))}
    assert parse_projection(short) == parse_projection(KEYWORDS)
    assert parse_projection(KEYWORDS | {"WCSAXES": 2, "LONPOLE": 180.0, "LATPOLE": -5.4}) == parse_projection(KEYWORDS)


def test_units_of_angle():
    per_arcsec = {name: KEYWORDS[name] * 3600 for name in KEYWORDS if name.startswith(("CD", "CRVAL"))}
    found = parse_projection(KEYWORDS | per_arcsec | {"CUNIT1": "arcsec", "CUNIT2": "arcsec"})
    assert found.crval == pytest.approx((83.6, -5.4))
    np.testing.assert_allclose(found.cd, parse_projection(KEYWORDS).cd)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"CTYPE1": "GLON-TAN"}, "CTYPE1: found 'GLON-TAN', expected 'RA---TAN'"),
        ({"CTYPE2": "DEC--TAN-SIP"}, "CTYPE2: found 'DEC--TAN-SIP'"),
        ({"CRVAL1": None}, "CRVAL1: found None, expected a number"),
        ({"CRPIX2": "5"}, "CRPIX2: found '5', expected a number"),
        ({"CD1_2": True}, "CD1_2: found True"),
        ({"CD1_1": float("nan")}, "CD1_1: found nan"),
        ({"CRVAL2": 91.0}, "CRVAL2: found 91.0 deg, expected -90 to 90"),
        ({"CD1_1": 0.0, "CD1_2": 0.0}, "CD: found .* expected a matrix with an inverse"),
        ({"CUNIT1": "hourangle"}, "CUNIT1: found 'hourangle', expected one of deg, arcmin"),
        ({"PC1_1": 1.0, "A_ORDER": 2}, "found A_ORDER, PC1_1, expected only the keywords"),
        ({"LONPOLE": 0.0}, "LONPOLE: found 0.0, expected 180.0"),
        ({"RADESYS": 5}, "RADESYS: found 5"),
        ({"RADESYS": "FK5", "EQUINOX": "J2000"}, "EQUINOX: found 'J2000'"),
    ],
)
def test_other_projections_are_refused(change, message):
    with pytest.raises(LayoutError, match=rf"exp_000003.*wcs: {message}"):
        parse_projection(KEYWORDS | change, "exp_000003: wcs")


@pytest.mark.parametrize("found", [None, [], "TAN"])
def test_no_keywords(found):
    with pytest.raises(LayoutError, match="expected the keywords of a TAN projection"):
        parse_projection(found)


def test_a_missing_keyword_is_named():
    short = {name: value for name, value in KEYWORDS.items() if name != "CD2_1"}
    with pytest.raises(LayoutError, match="CD2_1: found None"):
        parse_projection(short)


def test_the_grid_of_one_image_is_its_own():
    projection = parse_projection(KEYWORDS)
    assert compute_grid([projection], [(200, 256)]) == Grid(projection, (200, 256))


def test_grids_just_hold_all_images():
    first = parse_projection(KEYWORDS)
    grid = compute_grid([first, first.moved(-3, 0), first.moved(0, 2.25)], [(200, 256)] * 3)
    # The second lies 3 columns to the right, the third 2.25 rows below.
    assert grid.shape == (203, 259)
    assert grid.projection.crpix == (128.5, 103.25)


@pytest.mark.parametrize(("offset", "columns"), [(1e-7, 11), (-1e-7, 11), (1e-5, 11), (-1e-5, 12)])
def test_rounding_adds_no_pixels(offset, columns):
    first = parse_projection(KEYWORDS)
    assert compute_grid([first, first.moved(-1 + offset, 0)], [(10, 10)] * 2).shape == (10, columns)


def test_grids_hold_rotated_images():
    first = parse_projection(KEYWORDS)
    second = rotate(first, 45.0)
    grid = compute_grid([first, second], [(200, 256), (200, 256)])
    x, y = np.array([-0.5, 255.5, -0.5, 255.5]), np.array([-0.5, -0.5, 199.5, 199.5])
    sky = read_by_astropy(second).pixel_to_world_values(x, y)
    columns, rows = read_by_astropy(grid.projection).world_to_pixel_values(*sky)
    for values, size in ((columns, grid.shape[1]), (rows, grid.shape[0])):
        assert -0.5 - 1e-6 < values.min() < 0.5
        assert size - 1.5 < values.max() < size - 0.5 + 1e-6


def test_pointings_far_apart_are_refused():
    first = parse_projection(KEYWORDS)
    with pytest.raises(ObservationError, match=r"found a mosaic of .* x .* pixels, mostly empty, of 2 images"):
        compute_grid([first, first.moved(1e5, 1e5)], [(100, 100)] * 2)


def test_reference_systems_are_not_mixed():
    first = parse_projection(KEYWORDS)
    second = parse_projection(KEYWORDS | {"RADESYS": "FK5", "EQUINOX": 2000.0})
    with pytest.raises(ObservationError, match="RADESYS: found FK5 2000, ICRS, expected one"):
        compute_grid([first, second], [(10, 10)] * 2)


def test_parts_of_images_cover_what_is_needed():
    image = Grid(parse_projection(KEYWORDS), (200, 256))
    for degrees in (0.0, 20.0, 90.0, 200.0):
        target = cut_grid(Grid(rotate(image.projection, degrees), (300, 300)), slice(100, 130), slice(40, 80))
        rows, columns = find_part(image, target)
        y, x = np.indices(image.shape, dtype=float)
        there_x, there_y, _ = map_pixels(image.projection, target.projection, x, y)
        touching = (np.abs(there_x - 19.5) < 20.7) & (np.abs(there_y - 14.5) < 15.7)
        assert touching.any()
        assert touching[rows, columns].sum() == touching.sum()
        assert (rows.stop - rows.start) * (columns.stop - columns.start) < 0.15 * touching.size


@pytest.mark.parametrize("shift", [(500, 0), (-500, 0), (0, 500), (0, -500)])
def test_images_outside_have_no_part(shift):
    image = Grid(parse_projection(KEYWORDS), (200, 256))
    rows, columns = find_part(image, Grid(image.projection.moved(*shift), (200, 256)))
    assert (rows.stop - rows.start, columns.stop - columns.start) == (0, 0)


def test_footprint():
    image = Grid(parse_projection(KEYWORDS), (200, 256))
    assert find_footprint(image, image.projection.moved(-2.5, 3)) == (slice(3, 203), slice(-3, 254))
