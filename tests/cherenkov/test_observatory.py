"""Observatories and seasons."""

from __future__ import annotations

import copy
from datetime import date, timedelta

import numpy as np
import pytest

from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError
from cal_pipeline.cherenkov.observatory import Season, find_alias, read_observatories

pytestmark = pytest.mark.cherenkov

NORTH = {
    "name": "CTAO-North",
    "version": 1,
    "latitude": 28.761795,
    "longitude": -17.890701,
    "elevation": 2150,
    "seasons": [
        {"Season": {"name": "spring", "start_month": 5, "stop_month": 6, "stop_day": 20}},
        {"Season": {"name": "summer", "start_month": 6, "start_day": 21, "stop_month": 10, "stop_day": 4}},
        {"Season": {"name": "fall", "start_month": 10, "start_day": 5, "stop_month": 11, "stop_day": 15}},
        {"Season": {"name": "winter", "start_month": 11, "start_day": 16, "stop_month": 4}},
    ],
}


def change_season(number: int, **changes: object) -> list[dict]:
    entry = copy.deepcopy(NORTH)
    entry["seasons"][number]["Season"] |= changes
    return [{"Observatory": entry}]


def test_published_form_is_read():
    (north,) = read_observatories([{"Observatory": NORTH}])
    assert (north.name, north.version, north.latitude, north.elevation) == ("CTAO-NORTH", "1", 28.761795, 2150.0)
    assert [(season.name, season.alias, season.start, season.stop) for season in north.seasons] == [
        ("SPRING", "INTERMEDIATE", "05-01", "06-20"),
        ("SUMMER", "SUMMER", "06-21", "10-04"),
        ("FALL", "INTERMEDIATE", "10-05", "11-15"),
        ("WINTER", "WINTER", "11-16", "04-30"),
    ]


def test_outer_names_may_be_left_out():
    plain = {**NORTH, "seasons": [season["Season"] for season in NORTH["seasons"]]}
    assert read_observatories([plain]) == read_observatories([{"Observatory": NORTH}])


@pytest.mark.parametrize("year", [2023, 2024])
def test_each_day_has_the_season_that_an_almanac_gives(year):
    (north,) = read_observatories([NORTH])
    days = [date(year, 1, 1) + timedelta(day) for day in range(366 if year == 2024 else 365)]
    changes = {date(year, 5, 1): "SPRING", date(year, 6, 21): "SUMMER", date(year, 10, 5): "FALL"}
    changes[date(year, 11, 16)] = "WINTER"
    name = "WINTER"
    for day in days:
        name = changes.get(day, name)
        assert north.season_of(day).name == name


@pytest.mark.parametrize("day", [date(2024, 2, 29), np.datetime64("2024-02-29"), "2024-02-29", "2024-02-29T23:00:00"])
def test_days_in_many_forms(day):
    (north,) = read_observatories([NORTH])
    assert north.season_of(day).name == "WINTER"


def test_february_stops_on_the_29th():
    seasons = [
        {"name": "winter", "start_month": 9, "stop_month": 2},
        {"name": "summer", "start_month": 3, "stop_month": 8},
    ]
    (found,) = read_observatories([{**NORTH, "seasons": seasons}])
    assert found.seasons[0].stop == "02-29"
    seasons[0]["stop_day"] = 28
    with pytest.raises(CorruptedInputError, match=r"no season covers 02-29 \(MM-DD\)") as caught:
        read_observatories([{**NORTH, "seasons": seasons}])
    assert caught.value.exit_status == 104


@pytest.mark.parametrize(
    ("number", "changes", "words"),
    [
        (0, {"start_day": 3}, ["no season covers 05-01 to 05-02"]),
        (1, {"stop_day": 3}, ["no season covers 10-04 (MM-DD)"]),
        (1, {"stop_day": 6}, ["several (SUMMER, FALL) cover 10-05 to 10-06"]),
        (3, {"stop_day": 29, "start_day": 15}, ["no season covers 04-30", "(FALL, WINTER) cover 11-15"]),
        (3, {"start_month": 12, "start_day": 30}, ["no season covers 11-16 to 12-29"]),
    ],
)
def test_days_left_out_or_doubled_are_named(number, changes, words):
    with pytest.raises(CorruptedInputError) as caught:
        read_observatories(change_season(number, **changes))
    assert all(word in str(caught.value) for word in ["CTAO-NORTH", *words])


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (None, ["list of Observatory"]),
        ([], ["list of Observatory"]),
        (["CTAO-North"], ["entry 1", "'CTAO-North'"]),
        ([{**NORTH, "latitud": 1.0}], ["'latitud'", "did you mean latitude"]),
        ([{key: NORTH[key] for key in NORTH if key != "elevation"}], ["lacks elevation"]),
        ([{**NORTH, "latitude": 91}], ["CTAO-NORTH", "91", "-90 to 90"]),
        ([{**NORTH, "longitude": "west"}], ["'west'", "-180 to 360"]),
        ([{**NORTH, "elevation": float("nan")}], ["elevation", "nan"]),
        ([{**NORTH, "version": 1.1}], ["1.1", "quote it"]),
        ([{**NORTH, "version": True}], ["True"]),
        ([{**NORTH, "version": " "}], ["version"]),
        ([{**NORTH, "seasons": {}}], ["seasons"]),
        ([NORTH, {**NORTH, "name": "ctao-north"}], ["CTAO-NORTH", "2 times"]),
        (change_season(0, name="monsoon"), ["'MONSOON'", "SPRING, SUMMER, FALL, WINTER"]),
        (change_season(0, name="fall"), ["FALL is given 2 times"]),
        (change_season(0, start_month=13), ["SPRING", "start_month is 13"]),
        (change_season(0, stop_day=31), ["SPRING", "stop_day is 31", "1 to 30"]),
        (change_season(0, start_day="1"), ["start_day is '1'"]),
        (change_season(0, stopday=20), ["season 1", "'stopday'", "stop_day"]),
    ],
)
def test_useless_entries(entries, words):
    with pytest.raises(ConfigurationError) as caught:
        read_observatories(entries)
    assert all(word in str(caught.value) for word in words)


def test_longitudes_count_from_minus_180():
    (found,) = read_observatories([{**NORTH, "longitude": 289.5961}])
    assert found.longitude == pytest.approx(-70.4039, abs=1e-10)
    (found,) = read_observatories([{**NORTH, "longitude": -180}])
    assert found.longitude == 180.0


def test_aliases():
    assert {find_alias(name, "") for name in ("Spring", "fall", "INTERMEDIATE")} == {"INTERMEDIATE"}
    assert Season("SUMMER", "01-01", "12-31").alias == "SUMMER"
