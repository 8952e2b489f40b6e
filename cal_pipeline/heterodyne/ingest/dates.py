"""Dates and times of files as Modified Julian Dates in UTC."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from cal_pipeline.heterodyne.ingest.rows import Floats, Integers
from cal_pipeline.heterodyne.physics.constants import SECONDS_A_DAY

_DATE = re.compile(r"((?:1[89]|2[01])\d\d-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(\.\d*)?)?Z?")
_EPOCH = np.datetime64("1858-11-17", "D")
_NANOSECONDS_A_DAY = 86_400_000_000_000


def parse_dates(texts: Sequence[str]) -> Floats:
    """Read dates and times in ISO 8601.

    Parameters
    ----------
    texts : sequence of str, length N
        Dates such as ``2017-02-04T10:10:45.00``, with or without time, fraction and ``Z``.

    Returns
    -------
    ndarray, shape (N,)
        Modified Julian Date of the same time scale [d], rounded once; NaN for other texts.

    Examples
    --------
    >>> parse_dates(["2017-02-04T12:00:00", "2017-02-04", "yesterday"]).tolist()
    [57788.5, 57788.0, nan]
    """
    found = [_DATE.fullmatch(text) for text in texts]
    written = ["NaT" if match is None else _write_moment(match) for match in found]
    try:
        moments = np.array(written, "datetime64[ns]")
    except ValueError:
        moments = np.array([_parse_moment(moment) for moment in written], "datetime64[ns]")
    days = moments.astype("datetime64[D]")
    # Nanoseconds of a day are whole in 64 bits, so that the only rounding that matters is that of the sum.
    fractions = (moments - days).astype(np.int64) / _NANOSECONDS_A_DAY
    mjd = (days - _EPOCH).astype(np.float64) + fractions
    return np.where(np.isnat(moments), math.nan, mjd)


def _write_moment(match: re.Match[str]) -> str:
    day, clock, fraction = match.groups()
    return f"{day}T{clock or '00:00'}{fraction[:10].rstrip('.') if fraction else ''}"


def _parse_moment(text: str) -> np.datetime64:
    # NumPy knows no leap second: its moment is that of the second after it.
    leap = text[16:19] == ":60"
    try:
        moment = np.datetime64(text.replace(":60", ":59") if leap else text, "ns")
    except ValueError:
        return np.datetime64("NaT", "ns")
    return moment + np.timedelta64(1, "s") if leap else moment


def convert_tai_to_utc(mjd: Floats) -> Floats:
    """Convert atomic time to UTC.

    Parameters
    ----------
    mjd : ndarray, shape (N,)
        Modified Julian Date in TAI [d], from 1972 on.

    Returns
    -------
    ndarray, shape (N,)
        Modified Julian Date in UTC [d].

    Notes
    -----
    The leap seconds are those of ERFA, without a network.

    Examples
    --------
    >>> [f"{day:.6f}" for day in convert_tai_to_utc(np.array([57788.0 + 37 / 86400, np.nan]))]
    ['57788.000000', 'nan']
    """
    import erfa

    table = erfa.leap_seconds.get()
    table = table[table["year"] >= 1972]
    starts = np.array([f"{year:04d}-{month:02d}-01" for year, month, _ in table.tolist()], "datetime64[D]")
    offsets = table["tai_utc"] / SECONDS_A_DAY
    begins = (starts - _EPOCH).astype(np.float64) + offsets
    index = np.maximum(np.searchsorted(begins, mjd, side="right") - 1, 0)
    utc: Floats = mjd - offsets[index]
    return utc


def find_middle(mjd: Floats, exptime: Floats, n_dumps: Integers, given: str) -> Floats:
    """Find the middle of rows from their start, middle or end.

    Parameters
    ----------
    mjd : ndarray, shape (N,)
        Time of each row (MJD) [d].
    exptime : ndarray, shape (N,)
        Duration of a dump [s].
    n_dumps : ndarray, shape (N,)
        Number of dumps of a row.
    given : {"start", "middle", "end"}
        Meaning of `mjd`.

    Returns
    -------
    ndarray, shape (N,)
        Middle of each row (MJD) [d].

    Examples
    --------
    >>> find_middle(np.array([60000.0]), np.array([2.0]), np.array([43200]), "start").tolist()
    [60000.5]
    """
    if given == "middle":
        return mjd
    half = 0.5 * n_dumps * exptime / SECONDS_A_DAY
    return mjd + half if given == "start" else mjd - half
