"""Dates of files."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest

from cal_pipeline.heterodyne.ingest.dates import convert_tai_to_utc, find_middle, parse_dates


def exact_mjd(text):
    """Return the nearest float to a date, by whole microseconds."""
    apart = datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime(1858, 11, 17, tzinfo=UTC)
    microseconds = (apart.days * 86400 + apart.seconds) * 10**6 + apart.microseconds
    return float(Fraction(microseconds, 86400 * 10**6))


def test_no_digit_is_lost():
    rng = np.random.default_rng(4)
    texts = [
        f"20{y:02d}-{m:02d}-{d:02d}T{h:02d}:{mi:02d}:{s:02d}.{us:06d}"
        for y, m, d, h, mi, s, us in zip(
            *(rng.integers(low, high, 300) for low, high in ((0, 60), (1, 13), (1, 29), (0, 24), (0, 60), (0, 60))),
            rng.integers(0, 10**6, 300),
            strict=True,
        )
    ]
    expected = np.array([exact_mjd(text) for text in texts])
    found = parse_dates(texts)
    # The sum of day and fraction rounds once more than the exact date: at most one unit in the last place.
    assert np.abs(found - expected).max() <= np.spacing(expected).max()
    assert (found == expected).mean() > 0.99


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2017-02-04T10:10:45.00", "2017-02-04T10:10:45"),
        ("2017-02-04T10:10:45.", "2017-02-04T10:10:45"),
        ("2017-02-04 10:10:45Z", "2017-02-04T10:10:45"),
        ("2017-02-04T10:10", "2017-02-04T10:10:00"),
        ("2017-02-04", "2017-02-04T00:00:00"),
        ("2016-12-31T23:59:60", "2017-01-01T00:00:00"),
        ("2017-02-04T10:10:45.1234567891234", "2017-02-04T10:10:45.123456789"),
    ],
)
def test_forms_of_dates(text, same):
    assert parse_dates([text]).tolist() == parse_dates([same]).tolist()


@pytest.mark.parametrize("text", ["", "now", "2017", "2017-02-30", "04/02/17", "2017-02-04T25:00:00", "NaT", "57788.5"])
def test_other_texts_are_no_dates(text):
    assert np.isnan(parse_dates([text, "2017-02-04"])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("date", "seconds"), [("1972-01-01", 10), ("2016-12-31", 36), ("2017-01-01", 37), ("2026-05-01", 37)]
)
def test_leap_seconds(date, seconds):
    mjd = parse_dates([date])
    np.testing.assert_allclose(convert_tai_to_utc(mjd + seconds / 86400.0), mjd, rtol=0, atol=1e-11)


def test_middle_of_a_row():
    mjd, exptime, dumps = np.full(2, 60000.0), np.array([2.0, 4.0]), np.array([3, 1])
    np.testing.assert_array_equal(find_middle(mjd, exptime, dumps, "start"), 60000.0 + np.array([3.0, 2.0]) / 86400)
    np.testing.assert_array_equal(find_middle(mjd, exptime, dumps, "end"), 60000.0 - np.array([3.0, 2.0]) / 86400)
    np.testing.assert_array_equal(find_middle(mjd, exptime, dumps, "middle"), mjd)
