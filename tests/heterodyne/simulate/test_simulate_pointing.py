import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.heterodyne.simulate.pointing import hexagon, horizontal, raster_row, square_grid

angles = st.floats(-math.pi / 2 + 0.01, math.pi / 2 - 0.01)


@pytest.mark.slow
@given(declination=angles, latitude=angles)
def test_a_source_culminates_at_the_complement_of_its_distance_from_the_zenith(declination, latitude):
    elevation, azimuth = horizontal(0.0, declination, latitude)
    assert elevation == pytest.approx(math.pi / 2 - abs(latitude - declination), abs=1e-6)
    if abs(latitude - declination) > 0.01:
        assert math.cos(azimuth) == pytest.approx(1.0 if declination > latitude else -1.0, abs=1e-9)


@pytest.mark.slow
@given(hour_angle=st.floats(0.01, math.pi - 0.01), declination=angles, latitude=angles)
def test_rising_and_setting_mirror_each_other(hour_angle, declination, latitude):
    east = horizontal(-hour_angle, declination, latitude)
    west = horizontal(hour_angle, declination, latitude)
    assert east[0] == pytest.approx(west[0])
    assert math.sin(east[1]) == pytest.approx(-math.sin(west[1]), abs=1e-9)
    assert 0.0 <= west[1] < 2.0 * math.pi


def test_an_equatorial_source_sets_in_the_west_after_six_hours():
    elevation, azimuth = horizontal(math.pi / 2, 0.0, 0.3)
    assert elevation == pytest.approx(0.0, abs=1e-12)
    assert math.degrees(azimuth) == pytest.approx(270.0)


def test_from_the_pole_the_elevation_is_the_declination():
    elevation, _ = horizontal(1.234, 0.5, math.pi / 2)
    assert elevation == pytest.approx(0.5)


@pytest.mark.slow
@given(rows=st.integers(1, 9), dumps=st.integers(1, 9), zigzag=st.booleans())
def test_a_raster_is_centred_and_evenly_spaced(rows, dumps, zigzag):
    track = [raster_row(row, rows, dumps, 0.5, 2.0, zigzag=zigzag) for row in range(rows)]
    along, across = (np.array(part) for part in zip(*track, strict=True))
    assert along.shape == across.shape == (rows, dumps)
    assert along.sum() == pytest.approx(0.0, abs=1e-9)
    assert across.sum() == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(np.abs(np.diff(along, axis=1)), 0.5)
    np.testing.assert_allclose(np.diff(across, axis=0), 2.0)


def test_odd_rows_run_backwards_only_in_a_zigzag():
    assert raster_row(1, 2, 3, 1.0, 1.0, zigzag=True)[0].tolist() == [1.0, 0.0, -1.0]
    assert raster_row(1, 2, 3, 1.0, 1.0, zigzag=False)[0].tolist() == [-1.0, 0.0, 1.0]


def test_pixels_of_a_hexagon_are_equally_far_from_the_centre_and_from_their_neighbours():
    centre, *ring = np.array(hexagon(0.01))
    assert centre.tolist() == [0.0, 0.0]
    np.testing.assert_allclose(np.hypot(*np.array(ring).T), 0.01)
    np.testing.assert_allclose(np.linalg.norm(np.roll(ring, 1, axis=0) - ring, axis=1), 0.01)


def test_a_square_grid_is_centred():
    grid = np.array(square_grid(8, 0.5))
    assert grid.shape == (64, 2)
    np.testing.assert_allclose(grid.mean(axis=0), 0.0, atol=1e-12)
    assert (grid[1] - grid[0]).tolist() == [0.5, 0.0]
