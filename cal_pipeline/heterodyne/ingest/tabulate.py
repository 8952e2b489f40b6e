"""Table of the rows of all files, with the values that a profile gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from string import Formatter
from typing import Any

import numpy as np

from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.ingest.columns import Column, combine_columns, parse_numbers
from cal_pipeline.heterodyne.ingest.fields import (
    PIXEL_FIELDS,
)
from cal_pipeline.heterodyne.ingest.fits_fields import read_segments
from cal_pipeline.heterodyne.ingest.phase_rules import (
    describe_keys,
    describe_phase,
    drop_ignored,
    drop_unmatched,
    find_phases,
)
from cal_pipeline.heterodyne.ingest.problems import Problems
from cal_pipeline.heterodyne.ingest.profile import FAIL, Profile, name_attribute
from cal_pipeline.heterodyne.ingest.row_keys import RowKeys
from cal_pipeline.heterodyne.ingest.row_values import find_row_values, find_scan_values, require_value
from cal_pipeline.heterodyne.ingest.rows import IngestFailure, Integers, LeftOut, RowTable, Texts
from cal_pipeline.heterodyne.ingest.values import FirstOf, KeyValue, Value

_LARGEST_NUMBER = 2**31 - 1
"""Largest number that is taken for that of a scan; those of more than six digits fail by it."""


@dataclass(frozen=True)
class Tabulation:
    """Rows of files, and what is not among them.

    Parameters
    ----------
    rows : RowTable
        Rows that are used. A file that cannot be read, but whose scan is known, has rows too, with a problem.
    left_out : list of LeftOut
        Rows that are not used, by file and reason.
    failures : list of IngestFailure
        Files and rows of which no scan is known.
    """

    rows: RowTable
    left_out: list[LeftOut]
    failures: list[IngestFailure]


def tabulate(files: Sequence[str | PathLike[str]], profile: Profile) -> Tabulation:
    """Read the keys of all rows of files, and give the rows the values that a profile says.

    Parameters
    ----------
    files : sequence of path
        FITS files.
    profile : Profile
        The profile.

    Returns
    -------
    Tabulation
    """
    paths = [str(path) for path in files]
    keys = RowKeys(paths, [read_segments(path, profile.request) for path in paths], profile.missing, profile.file_name)
    left_out = [
        LeftOut(path, 0, "its table has no rows") for index, path in enumerate(paths) if not (keys.file == index).any()
    ]
    left_out += drop_unmatched(keys, profile.match)
    found, ignored = drop_ignored(keys, profile.phase, find_phases(keys, profile.phase))
    numbers = _find_numbers(keys, profile)
    failures = _list_failures(keys, profile, numbers)
    known = np.flatnonzero(numbers >= 0)
    keys.keep(known)
    rows = _make_rows(keys, profile, numbers[known], found[known])
    return Tabulation(rows, left_out + ignored, failures)


def _find_numbers(keys: RowKeys, profile: Profile) -> Integers:
    """Find the scan number of each row; -1 where it is not known."""
    numbers = profile.scan["number"].find_numbers(keys).values
    # The name of a file tells the scan of one that cannot be read.
    named = keys.column("number").as_numbers()
    numbers = np.where(np.isnan(numbers) & (keys.fault >= 0), named, numbers)
    with np.errstate(invalid="ignore"):
        valid = (numbers >= 0) & (numbers <= _LARGEST_NUMBER) & (numbers == np.floor(numbers))
    return np.where(valid, numbers, -1).astype(np.int64)


def _list_failures(keys: RowKeys, profile: Profile, numbers: Integers) -> list[IngestFailure]:
    failures = [IngestFailure(None, keys.files[file], "FitsFileError", lost) for file, lost in keys.lost]
    unknown = np.flatnonzero(numbers < 0)
    _, first, counts = np.unique(keys.file[unknown], return_index=True, return_counts=True)
    for row, count in zip(unknown[first].tolist(), counts.tolist(), strict=True):
        if keys.fault[row] >= 0:
            kind, message = "FitsFileError", keys.faults[keys.fault[row]]
        else:
            more = f" (and {format_count(count - 1, 'more row')} of the file)" if count > 1 else ""
            found = describe_keys(keys, profile.scan["number"].keys, row)
            message = f"{keys.place(row)}: no scan number: {found}, expected a whole number from 0{more}"
            kind = "IngestError"
        failures.append(IngestFailure(None, keys.files[keys.file[row]], kind, message))
    return failures


def _make_rows(keys: RowKeys, profile: Profile, numbers: Integers, found: Integers) -> RowTable:
    problems = Problems(numbers)
    problems.add(keys.fault >= 0, lambda row: keys.faults[keys.fault[row]])
    for index in (-1, *(index for index, rule in enumerate(profile.phase) if rule.phase == FAIL)):
        problems.add(found == index, lambda row: describe_phase(keys, profile.phase, found, row))
    phases = np.array([*("" if rule.phase == FAIL else rule.phase for rule in profile.phase), ""], object)[found]
    pixel = {name: getattr(profile.pixel, name).find_column(keys) for name in PIXEL_FIELDS}
    for name, column in pixel.items():
        value = getattr(profile.pixel, name)
        require_value(problems, keys, PIXEL_FIELDS[name], value, column.there)
    ids = _make_pixel_ids(keys, profile, pixel, problems)
    values, ramps = find_row_values(keys, profile, problems)
    return RowTable(
        files=keys.files,
        file=keys.file,
        hdu=keys.hdu,
        row=keys.row,
        number=numbers,
        phase=phases,
        pixel_id=ids,
        n_dumps=keys.n_dumps,
        n_channels=keys.n_channels,
        values=values,
        ramps=ramps,
        scan_values=find_scan_values(keys, profile, problems),
        carried=_find_carried(keys, profile),
        problems=problems.messages,
        recorded_number=_find_recorded_numbers(keys, profile.scan["number"], numbers),
        **{name: column.as_texts() for name, column in pixel.items()},
    )


def _make_pixel_ids(keys: RowKeys, profile: Profile, pixel: Mapping[str, Column], problems: Problems) -> Texts:
    """Format the id of the pixel of each row, once for each distinct combination of its keys."""
    parts = list(Formatter().parse(profile.pixel.id))
    names = list(dict.fromkeys(name for _, name, _, _ in parts if name))
    columns = [pixel[name] if name in pixel else keys.column(name) for name in names]
    combination, first = combine_columns(columns, len(keys))
    ids, wrong = [], []
    for row in first.tolist():
        labels = {name: _plain_label(column, row) for name, column in zip(names, columns, strict=True)}
        text = _format_id(parts, labels)
        ids.append(text or "")
        wrong.append(text is None)

    def describe(row: int) -> str:
        labels = ((name, column.label(row) or "not there") for name, column in zip(names, columns, strict=True))
        found = ", ".join(f"{name} is {label}" for name, label in labels)
        return f"{keys.place(row)}: no id of the pixel: {found}; expected what fits {profile.pixel.id!r}"

    problems.add(np.array([*wrong, False], np.bool_)[combination], describe)
    return np.array([*ids, ""], object)[combination]


def _plain_label(column: Column, row: int) -> str:
    codes, labels = column.labels
    code = int(codes[row])
    return labels[code] if code >= 0 else ""


def _format_id(parts: list[tuple[str, str | None, str | None, str | None]], labels: Mapping[str, str]) -> str | None:
    text = ""
    for literal, name, spec, _ in parts:
        text += literal
        if name is None:
            continue
        label = labels[name]
        if not label:
            return None
        number = float(parse_numbers((label,))[0])
        value: Any = label
        if spec and math.isfinite(number):
            value = int(number) if number.is_integer() else number
        try:
            text += format(value, spec or "")
        except ValueError:
            return None
    return text


def _find_carried(keys: RowKeys, profile: Profile) -> dict[str, Any]:
    carried: dict[str, Any] = {}
    for key in profile.carry:
        column = keys.column(key)
        carried[name_attribute(key)] = column.as_texts() if (column.codes >= 0).any() else column.numbers
    return carried


def _find_recorded_numbers(keys: RowKeys, value: Value, numbers: Integers) -> Integers | None:
    """Find the scan numbers before the profile adds or subtracts anything; None where it does not."""
    bare = _strip(value)
    if bare == value:
        return None
    recorded = bare.find_numbers(keys).values
    return np.where(np.isnan(recorded), numbers, np.nan_to_num(recorded)).astype(np.int64)


def _strip(value: Value) -> Value:
    if isinstance(value, KeyValue):
        return replace(value, plus=0.0, minus="", range=None)
    if isinstance(value, FirstOf):
        return FirstOf(tuple(_strip(choice) for choice in value.choices))
    return value
