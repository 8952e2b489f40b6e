"""Rows that a profile uses, and their observing phases."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cal_pipeline.heterodyne.ingest.columns import Mask, combine_columns, match_column
from cal_pipeline.heterodyne.ingest.profile import FAIL, IGNORE, Conditions, PhaseRule
from cal_pipeline.heterodyne.ingest.row_keys import RowKeys
from cal_pipeline.heterodyne.ingest.rows import Integers, LeftOut
from cal_pipeline.heterodyne.ingest.values import column_of


def find_rows(keys: RowKeys, conditions: Conditions) -> Mask:
    """Find the rows whose keys all have one of the values wanted; shape (N,)."""
    found: Mask = np.ones(len(keys), np.bool_)
    for key, wanted in conditions.items():
        found = found & match_column(keys.column(key), wanted)
    return found


def drop_unmatched(keys: RowKeys, match: Conditions) -> list[LeftOut]:
    """Leave out rows that a profile is not for.

    Parameters
    ----------
    keys : RowKeys
        Rows, of which those that match are kept.
    match : mapping
        Values or patterns by key.

    Returns
    -------
    list of LeftOut
    """
    left: list[LeftOut] = []
    for key, wanted in match.items():
        column = keys.column(key)
        # A file that cannot be read has no keys: it fails, instead of being left out.
        out = ~match_column(column, wanted) & ~((keys.fault >= 0) & ~column.there)
        expected = " or ".join(map(repr, wanted))
        left += _count(keys, out, [key], f", expected {expected}")
        keys.keep(np.flatnonzero(~out))
    return left


def find_phases(keys: RowKeys, rules: Iterable[PhaseRule]) -> Integers:
    """Find the first rule that holds in each row.

    Parameters
    ----------
    keys : RowKeys
        Rows.
    rules : iterable of PhaseRule
        Rules.

    Returns
    -------
    ndarray of int, shape (N,)
        Index of the rule; -1 where none holds.
    """
    found = np.full(len(keys), -1, np.int64)
    masks: dict[tuple[str, tuple[str | float, ...]], Mask] = {}
    for index, rule in enumerate(rules):
        holds: Mask = found < 0
        for condition in rule.when.items():
            if condition not in masks:
                masks[condition] = match_column(keys.column(condition[0]), condition[1])
            holds = holds & masks[condition]
        found[holds] = index
    return found


def drop_ignored(keys: RowKeys, rules: tuple[PhaseRule, ...], found: Integers) -> tuple[Integers, list[LeftOut]]:
    """Leave out rows whose phase is to be ignored.

    Parameters
    ----------
    keys : RowKeys
        Rows, of which the others are kept.
    rules : tuple of PhaseRule
        Rules.
    found : ndarray of int, shape (N,)
        Rule of each row.

    Returns
    -------
    found : ndarray of int
        Rule of each row that is kept.
    left : list of LeftOut
        Rows that are not.
    """
    ignored = [index for index, rule in enumerate(rules) if rule.phase == IGNORE]
    left: list[LeftOut] = []
    for index in ignored:
        left += _count(keys, found == index, list(rules[index].when), ": ignored")
    kept = np.flatnonzero(~np.isin(found, ignored))
    keys.keep(kept)
    return found[kept], left


def describe_keys(keys: RowKeys, names: Iterable[str], row: int) -> str:
    """Describe keys of a row for a message, as ``"CAL is 'T', OBJECT is not there"``."""
    return ", ".join(keys.describe(name, row) for name in dict.fromkeys(names))


def describe_phase(keys: RowKeys, rules: tuple[PhaseRule, ...], found: Integers, row: int) -> str:
    """Describe the problem of a row that no rule holds for, or one that fails it."""
    index = int(found[row])
    if index >= 0 and rules[index].phase == FAIL:
        when = describe_keys(keys, rules[index].when, row)
        return (
            f"{keys.place(row)}: {when}: {rules[index].reason}" if when else f"{keys.place(row)}: {rules[index].reason}"
        )
    names = [name for rule in rules for name in rule.when]
    return f"{keys.place(row)}: no [[phase]] holds, found {describe_keys(keys, names, row)}"


def _count(keys: RowKeys, rows: Mask, names: Iterable[str], reason: str) -> list[LeftOut]:
    """Count rows that are left out by file and by the values of keys."""
    taken = np.flatnonzero(rows)
    if not taken.size:
        return []
    columns = [keys.column(name).take(taken) for name in names]
    combination, first = combine_columns([*columns, column_of(keys.file[taken].astype(np.float64))], taken.size)
    counts = np.bincount(combination)
    left = []
    for row, count in zip(taken[first].tolist(), counts.tolist(), strict=True):
        left.append(LeftOut(keys.files[keys.file[row]], count, describe_keys(keys, names, row) + reason))
    return left
