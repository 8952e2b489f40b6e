"""Times of exposures and reference files: ISO 8601 in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any

EXPECTED_TIME = "an ISO 8601 time in UTC, such as 2026-11-30T02:15:00"
"""Description of a time, for messages."""


def parse_time(value: Any) -> datetime:
    """Parse a time in UTC.

    Parameters
    ----------
    value : str, datetime, date, astropy.time.Time or dict
        ISO 8601 text. Without an offset the time is in UTC, and a date alone is its midnight. An
        astropy time of any scale is converted to UTC. A dict is a time of an ASDF file that was read
        without astropy: text in ``value``, and no ``scale`` but UTC.

    Returns
    -------
    datetime
        With the time zone UTC, to the microsecond.

    Raises
    ------
    ValueError
        If the value is no time.

    Examples
    --------
    >>> parse_time("2026-11-30T02:15:00.5Z").isoformat()
    '2026-11-30T02:15:00.500000+00:00'
    >>> parse_time("2026-11-30") < parse_time("2026-11-30T04:15:00+02:00")
    True
    """
    if isinstance(value, Mapping) and value.get("scale", "utc") == "utc":
        value = value.get("value")
    in_utc = getattr(value, "utc", None)
    if in_utc is not None and hasattr(in_utc, "to_datetime"):
        value = in_utc.to_datetime()
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip())
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise ValueError(f"{value!r} is no time")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
