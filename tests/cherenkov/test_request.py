"""Requests: times and points."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from cal_pipeline.cherenkov.errors import ConfigurationError
from cal_pipeline.cherenkov.night import Night, find_night
from cal_pipeline.cherenkov.observatory import Observatory, Season
from cal_pipeline.cherenkov.request import HANDLERS, find_corners, find_nearest, find_times, make_request

pytestmark = pytest.mark.cherenkov

YEAR = (Season("SUMMER", "01-01", "12-31"),)
NORTH = Observatory("CTAO-NORTH", "1", 28.761795, -17.890701, 2150.0, YEAR)
SOUTH = Observatory("CTAO-SOUTH", "1", -24.6272, -70.4039, 2200.0, YEAR)


def at(observatory: Observatory, latitude: float, longitude: float) -> Observatory:
    return Observatory(observatory.name, "1", latitude, longitude, 0.0, YEAR)


def make_night(dusk: str, dawn: str) -> Night:
    return Night(np.datetime64(dusk, "s"), np.datetime64(dawn, "s"), np.datetime64(dusk, "D"))


def test_known_requests():
    night = find_night("2023-07-10T00:00:00", NORTH.latitude, NORTH.longitude)
    era5 = make_request(night, NORTH, "ECMWFDataHandler")
    hours = ["2023-07-09T22", "2023-07-09T23", *(f"2023-07-10T0{hour}" for hour in range(5))]
    assert era5.times.tolist() == [np.datetime64(hour, "s").item() for hour in hours]
    assert era5.points == [(28.75, -18.0), (28.75, -17.75), (29.0, -18.0), (29.0, -17.75)]
    gdas = make_request(night, NORTH, "GDASDataHandler")
    assert (gdas.times.astype(str).tolist(), gdas.points) == (["2023-07-10T00:00:00"], [(29.0, -18.0)])
    assert era5.warnings == gdas.warnings == []
    assert era5.times.dtype == np.dtype("datetime64[s]")


def test_dusk_is_left_out_and_dawn_is_in():
    times = find_times(make_night("2023-07-09T18:00:00", "2023-07-10T06:00:00"), 6.0)
    assert times.astype(str).tolist() == ["2023-07-10T00:00:00", "2023-07-10T06:00:00"]
    times = find_times(make_night("2023-07-09T17:59:59", "2023-07-10T05:59:59"), 6.0)
    assert times.astype(str).tolist() == ["2023-07-09T18:00:00", "2023-07-10T00:00:00"]


@pytest.mark.parametrize("hours", [0.25, 1.0, 3.0, 5.0, 7.0, 24.0])
@pytest.mark.parametrize("year", [1995, 2023])
def test_times_are_all_multiples_since_2000_in_the_night(hours, year):
    night = make_night(f"{year}-07-09T20:10:11", f"{year}-07-11T05:01:02")
    origin, second = np.datetime64("2000-01-01T00:00:00"), np.timedelta64(1, "s")
    every = night.dusk + np.arange(1, int((night.dawn - night.dusk) / second) + 1) * second
    assert np.array_equal(find_times(night, hours), every[(every - origin) / second % (3600 * hours) == 0])


@pytest.mark.parametrize(
    ("dusk", "dawn", "expected"),
    [
        ("2023-07-09T19:00:00", "2023-07-09T20:00:00", "2023-07-09T18:00:00"),
        ("2023-07-09T21:30:00", "2023-07-09T23:00:00", "2023-07-10T00:00:00"),
        ("2023-07-09T20:30:00", "2023-07-09T21:30:00", "2023-07-09T18:00:00"),
    ],
)
def test_night_without_a_time_takes_the_one_nearest_its_middle(dusk, dawn, expected):
    request = make_request(make_night(dusk, dawn), NORTH, "GDASDataHandler")
    assert request.times.astype(str).tolist() == [expected]
    assert len(request.warnings) == 1
    assert expected in request.warnings[0]
    assert "6 h" in request.warnings[0]


def test_own_spacings_count():
    request = make_request(
        make_night("2023-07-09T21:00:00", "2023-07-10T03:00:00"), SOUTH, "ECMWFDataHandler", 0.1, 2.5
    )
    assert request.points == [(-24.7, -70.5), (-24.7, -70.4), (-24.6, -70.5), (-24.6, -70.4)]
    assert np.all(np.diff(request.times) == np.timedelta64(9000, "s"))


@pytest.mark.parametrize(
    ("latitude", "longitude", "points"),
    [
        (28.75, -18.0, [(28.75, -18.0)]),
        (28.8, -18.0, [(28.75, -18.0), (29.0, -18.0)]),
        (28.75, -17.9, [(28.75, -18.0), (28.75, -17.75)]),
        (-0.1, 0.1, [(-0.25, 0.0), (-0.25, 0.25), (0.0, 0.0), (0.0, 0.25)]),
    ],
)
def test_corners(latitude, longitude, points):
    assert find_corners(latitude, longitude, 0.25) == points


def test_corners_of_decimal_steps_are_decimal():
    assert find_corners(28.7, 0.3, 0.1) == [(28.7, 0.3)]


def test_nearest_is_measured_on_the_sphere():
    # At 80 degrees a degree of longitude is 0.17 of one of latitude.
    assert find_nearest([(80.0, 10.9), (80.4, 10.0)], 80.0, 10.0) == (80.0, 10.9)
    assert find_nearest([(0.0, 179.0), (0.0, -179.9)], 0.0, 179.5) == (0.0, 179.0)
    assert find_nearest([(0.0, 178.0), (0.0, -179.9)], 0.0, 179.5) == (0.0, -179.9)


@pytest.mark.parametrize(
    ("latitude", "longitude", "point"), [(28.4, -17.4, (28, -17)), (28.6, -17.6, (29, -18)), (-24.6, -70.4, (-25, -70))]
)
def test_one_corner_of_the_analysis(latitude, longitude, point):
    night = make_night("2023-07-09T21:00:00", "2023-07-10T03:00:00")
    assert make_request(night, at(NORTH, latitude, longitude), "GDASDataHandler").points == [point]


@pytest.mark.parametrize(
    ("handler", "settings", "word"),
    [
        ("GDAS", {}, "GDASDataHandler, ECMWFDataHandler"),
        ("GDASDataHandler", {"gridstep": 0.0}, "gridstep"),
        ("GDASDataHandler", {"gridstep": float("nan")}, "gridstep"),
        ("GDASDataHandler", {"update_frequency": -6.0}, "update_frequency"),
    ],
)
def test_useless_settings(handler, settings, word):
    night = make_night("2023-07-09T21:00:00", "2023-07-10T03:00:00")
    with pytest.raises(ConfigurationError, match=word):
        make_request(night, NORTH, handler, **settings)


def test_names_of_provenance():
    assert {name: handler.provenance for name, handler in HANDLERS.items()} == {
        "GDASDataHandler": "GDAS",
        "ECMWFDataHandler": "ECMWF",
    }


def test_levels_descend_and_reach_above_15_km():
    for handler in HANDLERS.values():
        assert np.all(np.diff(handler.levels) < 0)
        assert handler.levels[0] == 1000
        assert handler.levels[-1] <= 20


@pytest.mark.parametrize(
    ("name", "handler"),
    [("meteo_gdas_2023-07-10_north", "GDASDataHandler"), ("meteo_era5_2023-07-10_north", "ECMWFDataHandler")],
)
def test_levels_are_those_of_real_tables(shared, name, handler):
    table = Table.read(shared / f"{name}.ecsv", format="ascii.ecsv")
    assert set(HANDLERS[handler].levels) == {int(pressure) for pressure in table["Pressure"]}
