"""Numbers and attributes of rows, and the problems of those that are not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cal_pipeline.heterodyne.ingest.columns import Mask
from cal_pipeline.heterodyne.ingest.dates import convert_tai_to_utc, find_middle
from cal_pipeline.heterodyne.ingest.fields import DOPPLER, FREQUENCIES, MAP_FIELDS, SCAN_FIELDS, Field
from cal_pipeline.heterodyne.ingest.phase_rules import describe_keys
from cal_pipeline.heterodyne.ingest.problems import Problems
from cal_pipeline.heterodyne.ingest.profile import Profile
from cal_pipeline.heterodyne.ingest.row_keys import RowKeys
from cal_pipeline.heterodyne.ingest.rows import Floats, Integers
from cal_pipeline.heterodyne.ingest.values import KeyValue, Value

_FIRST = (*FREQUENCIES, "ref_channel")
"""Fields that the mean frequency is made of."""

_FILLED = ("freq_off", "ref_channel", "image_freq")
"""Fields that the planner fills, with a warning where they were expected."""

_ALWAYS = ("thot", "tcold")
"""Fields that are NaN where nothing is known."""


def find_row_values(keys: RowKeys, profile: Profile, problems: Problems) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Find the numbers of all rows.

    Parameters
    ----------
    keys : RowKeys
        N rows.
    profile : Profile
        The profile.
    problems : Problems
        Problems, to which those of required numbers that are not there are added.

    Returns
    -------
    values : dict of str to ndarray, shape (N,)
        Numbers by field, NaN where not there. A field that no row has is absent, unless it is required or the
        planner fills it.
    ramps : dict of str to ndarray, shape (N,)
        Changes from dump to dump, NaN in rows without one.
    """
    values: dict[str, Floats] = {}
    ramps: dict[str, Floats] = {}
    shift = _find_shift(keys, profile, problems)
    for name in sorted(profile.map, key=lambda name: name not in _FIRST):
        if keys.mean_frequency is None and name not in _FIRST:
            keys.mean_frequency = _find_mean_frequency(values, keys.n_channels, len(keys))
        numbers = profile.map[name].find_numbers(keys)
        found = numbers.values
        _check_numbers(problems, keys, MAP_FIELDS[name], profile.map[name], found)
        values[name] = found * shift if shift is not None and name in FREQUENCIES else found
        if numbers.ramps is not None:
            ramps[name] = numbers.ramps
    mjd = values["mjd"] if profile.time.scale == "utc" else convert_tai_to_utc(values["mjd"])
    values["mjd"] = find_middle(mjd, values["exptime"], keys.n_dumps, profile.time.moment)
    unknown = np.full(len(keys), np.nan)
    kept = {name: found for name, found in values.items() if _is_kept(name, found)}
    return dict.fromkeys(_ALWAYS, unknown) | kept, ramps


def _is_kept(name: str, values: Floats) -> bool:
    return MAP_FIELDS[name].required or name in _FILLED or not np.isnan(values).all()


def find_scan_values(keys: RowKeys, profile: Profile, problems: Problems) -> dict[str, Any]:
    """Find the attributes of the scan that each row tells.

    Parameters
    ----------
    keys : RowKeys
        N rows.
    profile : Profile
        The profile.
    problems : Problems
        Problems, to which those of texts in place of numbers are added.

    Returns
    -------
    dict of str to ndarray, shape (N,)
        Texts, empty where not there, or numbers, NaN where not there.
    """
    found: dict[str, Any] = {}
    for name, value in profile.scan.items():
        if name == "number":
            continue
        if SCAN_FIELDS[name].kind == "text":
            found[name] = value.find_column(keys).as_texts()
            continue
        found[name] = value.find_numbers(keys).values
        _check_numbers(problems, keys, SCAN_FIELDS[name], value, found[name])
    return found


def _check_numbers(problems: Problems, keys: RowKeys, field: Field, value: Value, numbers: Floats) -> None:
    """Add the rows in which a number that must be there is not, or in which there is something else."""
    there = ~np.isnan(numbers)
    # Blanks mean that there is none; a text does not.
    wrong = ~there if field.required else ~there & value.find_texts(keys)
    if field.whole:
        wrong = wrong | (there & (np.floor(numbers) != numbers))
    require_value(problems, keys, field, value, ~wrong)


def require_value(problems: Problems, keys: RowKeys, field: Field, value: Value, there: Mask) -> None:
    """Add the rows that lack a value to the problems.

    Parameters
    ----------
    problems : Problems
        Problems.
    keys : RowKeys
        N rows.
    field : Field
        Field of L0.
    value : Value
        Its value in the profile.
    there : ndarray of bool, shape (N,)
        Rows that have it.
    """

    def describe(row: int) -> str:
        found = describe_keys(keys, value.keys, row) or "a constant that does not fit"
        return f"{keys.place(row)}: no {field.name}: {found}; expected {_describe_expected(field, value)}"

    problems.add(~there, describe)


def _describe_expected(field: Field, value: Value) -> str:
    if field.kind == "label":
        return "text or a number"
    expected = (
        "a date in ISO 8601 or a Modified Julian Date" if field.kind == "time" else f"a {'whole ' * field.whole}number"
    )
    if isinstance(value, KeyValue) and value.range:
        low, high = value.range
        expected += f" from {low:g} to {high:g}"
    return f"{expected} [{field.unit}]" if field.unit and field.kind != "time" else expected


def _find_shift(keys: RowKeys, profile: Profile, problems: Problems) -> Floats | None:
    value = profile.frequency.doppler
    if value is None:
        return None
    doppler = value.find_numbers(keys).values
    require_value(problems, keys, DOPPLER, value, ~np.isnan(doppler))
    return 1.0 + doppler


def _find_mean_frequency(values: Mapping[str, Floats], n_channels: Integers, length: int) -> Floats:
    zero = np.zeros(length)
    middle = 0.5 * (n_channels - 1) - np.nan_to_num(values.get("ref_channel", zero))
    return values["signal_freq"] + np.nan_to_num(values.get("freq_off", zero)) + middle * values["freq_res"]
