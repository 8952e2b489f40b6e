"""Nights against another chain of transformations, and against the geometry of the Sun's daily circle."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import AltAz, EarthLocation, get_sun
from astropy.time import Time
from astropy.utils import iers

from cal_pipeline.cherenkov.errors import ConfigurationError
from cal_pipeline.cherenkov.night import compute_sun_altitude, find_night

pytestmark = pytest.mark.cherenkov

NORTH, SOUTH = (28.761795, -17.890701), (-24.6272, -70.4039)
SECOND = np.timedelta64(1, "s")
DEGREES_PER_SECOND = 1.0 / 240.0


def altitude_by_astropy(time: np.datetime64, latitude: float, longitude: float) -> float:
    place = EarthLocation.from_geodetic(longitude * units.deg, latitude * units.deg)
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("iers_degraded_accuracy", "ignore"):
        when = Time(time, scale="utc")
        return float(get_sun(when).transform_to(AltAz(obstime=when, location=place)).alt.deg)


@pytest.mark.parametrize(
    ("timestamp", "site", "dusk", "dawn", "evening"),
    [
        ("2020-11-22T01", NORTH, "2020-11-21T19:37:44", "2020-11-22T06:17:49", "2020-11-21"),
        ("2023-07-10T00", NORTH, "2023-07-09T21:46:05", "2023-07-10T04:47:49", "2023-07-09"),
        ("2023-01-20T02", SOUTH, "2023-01-20T01:00:41", "2023-01-20T08:44:24", "2023-01-19"),
    ],
)
def test_known_nights(timestamp, site, dusk, dawn, evening):
    night = find_night(timestamp, *site)
    assert abs(night.dusk - np.datetime64(dusk)) <= SECOND
    assert abs(night.dawn - np.datetime64(dawn)) <= SECOND
    assert night.evening == np.datetime64(evening)


@pytest.mark.parametrize("longitude", [-170.0, 0.0, 95.0])
@pytest.mark.parametrize("latitude", [-45.0, -24.6, 0.0, 47.0])
@pytest.mark.parametrize("month", ["1980-01", "2023-04", "2023-09"])
def test_sun_stands_at_18_degrees_below_at_both_ends(latitude, longitude, month):
    midnight = np.datetime64(f"{month}-15T00:00:00") - np.timedelta64(round(longitude * 240), "s")
    night = find_night(midnight, latitude, longitude)
    for end, rate in ((night.dusk, -1.0), (night.dawn, 1.0)):
        # Half a second by rounding; a second more, since that chain interpolates UT1 daily and adds polar motion.
        assert altitude_by_astropy(end, latitude, longitude) == pytest.approx(-18.0, abs=1.5 * DEGREES_PER_SECOND)
        around = compute_sun_altitude(end + np.array([-2, 2]) * SECOND, latitude, longitude)
        assert rate * (around[0] + 18.0) < 0.0 < rate * (around[1] + 18.0)


def test_nights_of_the_future_need_no_table_and_raise_no_warning():
    night = find_night("2071-03-20T00:00:00", 0.0, 0.0)
    # On the equator at an equinox the Sun goes straight down: 144 degrees of its circle are night.
    assert (night.dawn - night.dusk) / SECOND == pytest.approx(144 / 360 * 86400, abs=20)


@pytest.mark.parametrize("moment", ["dusk", "dawn"])
def test_both_ends_belong_to_the_night(moment):
    night = find_night("2023-07-10T00", *NORTH)
    assert find_night(getattr(night, moment), *NORTH) == night
    outside = getattr(night, moment) + (-SECOND if moment == "dusk" else SECOND)
    with pytest.raises(ConfigurationError, match="by day"):
        find_night(outside, *NORTH)


@pytest.mark.parametrize("timestamp", ["2023-07-09T21:47", "2023-07-10T04:47", "2023-07-10T02:11:12.5"])
def test_all_times_of_a_night_name_it(timestamp):
    assert find_night(timestamp, *NORTH) == find_night("2023-07-10T00:00:00.000", *NORTH)


@pytest.mark.parametrize(
    "timestamp",
    [
        datetime(2023, 7, 10),
        datetime(2023, 7, 10, tzinfo=UTC),
        datetime(2023, 7, 10, 2, tzinfo=timezone(timedelta(hours=2))),
        Time("2023-07-10T00:00:37", scale="tai"),
        np.datetime64("2023-07-10"),
        "2023-07-10 00:00:00",
        "2023-07-10T00:00:00Z",
        "2023-07-10T02:00:00+02:00",
    ],
)
def test_times_in_many_forms(timestamp):
    assert find_night(timestamp, *NORTH) == find_night("2023-07-10T00:00:00", *NORTH)


def test_by_day_the_nearest_ends_are_named():
    with pytest.raises(ConfigurationError) as caught:
        find_night("2023-07-10T12:00:00", *NORTH)
    message = str(caught.value)
    assert caught.value.exit_status == 101
    dusk = np.datetime64(re.search(r"nearest dusk is (\S+),", message)[1])
    dawn = np.datetime64(re.search(r"nearest dawn (\S+);", message)[1])
    before, after = find_night("2023-07-10T00", *NORTH), find_night("2023-07-11T00", *NORTH)
    assert (dawn, dusk) == (before.dawn, after.dusk)
    assert f"the night before lasted from {before.dusk} to {before.dawn}" in message
    assert f"the next one lasts from {after.dusk} to {after.dawn} (UTC)" in message


def test_after_a_short_night_its_own_dusk_is_the_nearest():
    night = find_night("2023-05-25T00:00:00", 50.0, 0.0)
    with pytest.raises(ConfigurationError, match=f"nearest dusk is {night.dusk}, the nearest dawn {night.dawn}; "):
        find_night(night.dawn + 60 * SECOND, 50.0, 0.0)


def test_evening_is_the_local_date_on_both_sides_of_the_date_line():
    east, west = find_night("2023-03-20T12", -30.0, 179.9), find_night("2023-03-20T12", -30.0, -179.9)
    # The night over the date line began in the evening of the 20th to its west and of the 19th to its east.
    assert (east.evening, west.evening) == (np.datetime64("2023-03-20"), np.datetime64("2023-03-19"))
    assert find_night("2023-03-20T12", -30.0, 180.1) == west
    assert find_night("2023-03-20T12", -30.0, 180.0).evening == np.datetime64("2023-03-20")


def test_polar_night_is_one_night():
    night = find_night("2023-06-21T00:00:00", -90.0, 0.0)
    assert night == find_night("2023-07-15T00:00:00", -90.0, 0.0)
    # The Sun is 18 degrees south of the equator about these days of each year.
    assert str(night.dusk).startswith("2023-05-11")
    assert str(night.dawn).startswith("2023-08-01")


@pytest.mark.parametrize(
    ("latitude", "last_dawn"), [(90.0, "2023-01-29"), (75.0, "2023-03-13"), (60.0, "2023-04-21"), (50.0, "2023-06-01")]
)
def test_summer_without_nights_names_the_last_one(latitude, last_dawn):
    with pytest.raises(ConfigurationError, match=f"nearest dawn {last_dawn}"):
        find_night("2023-06-20T00:00:00", latitude, 0.0)


def test_shortest_nights_are_found():
    # Latitude at which the Sun's lowest point of the day is 18.02 degrees below: a night of some minutes.
    lowest = compute_sun_altitude(np.datetime64("2023-06-01T00:00") + np.arange(-40, 40) * 10 * SECOND, 0.0, 0.0).min()
    latitude = -18.02 - lowest
    night = find_night("2023-05-31T23:57:45", latitude, 0.0)
    assert 0 < (night.dawn - night.dusk) / SECOND < 1800


@pytest.mark.parametrize("timestamp", ["tomorrow", "2023-13-01", "1850-01-01", "2150-01-01", None, 3.5, ""])
def test_no_times(timestamp):
    with pytest.raises(ConfigurationError, match="timestamp"):
        find_night(timestamp, *NORTH)
