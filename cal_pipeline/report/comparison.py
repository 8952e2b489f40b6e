"""Comparison of two products as text of at most 100 columns."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Sequence

from cal_pipeline.core.store.compare import ArrayDifference, Comparison
from cal_pipeline.core.store.compare_records import ABSENT, FactDifference, NumberDifference, relative_change
from cal_pipeline.core.store.product import ProductKind
from cal_pipeline.core.text import elide_middle, format_count, format_ranges, make_printable

WIDTH = 100
"""Longest line [characters]."""

_FEW = 5
"""Largest number of observations to list one by one."""

_COLUMNS = ("array", "largest", "unit", "relative", "rms", "different", "differ in")


def format_comparison(comparison: Comparison, tolerance: float = 0.0, everything: bool = False) -> str:
    """Format a comparison: a summary, then the arrays, largest relative difference first.

    Parameters
    ----------
    comparison : Comparison
        Comparison of two stores.
    tolerance : float
        Largest difference that is accepted, relative to the root mean square of an array.
    everything : bool
        Whether to list every array and every observation, identical ones too.

    Returns
    -------
    str
        Lines of at most 100 characters.
    """
    lines = [*_names(comparison), *_observations(comparison), *_records(comparison, everything)]
    # Arrays of an observation that only one store has are told by the line on that observation.
    alone = {*comparison.records.only_first, *comparison.records.only_second}
    arrays = [item for item in comparison.arrays if comparison.kind.key_of(item.path.partition("/")[0]) not in alone]
    if arrays:
        lines += ["", format_differences(arrays, comparison.kind, everything)]
    differing = sum(not item.identical for item in comparison.arrays)
    beyond = sum(not item.within(tolerance) for item in comparison.arrays)
    if differing and tolerance:
        by = f"by more than {tolerance:g} times its rms"
        lines.append(f"{beyond or 'none'} of {format_count(len(comparison.arrays), 'array')} differs {by}")
    return "\n".join(lines)


def _names(comparison: Comparison) -> Iterator[str]:
    yield f"first   {elide_middle(make_printable(comparison.first), WIDTH - 8)}"
    yield f"second  {elide_middle(make_printable(comparison.second), WIDTH - 8)}"


def _observations(comparison: Comparison) -> Iterator[str]:
    """Format the observations found in only one store."""
    records, kind = comparison.records, comparison.kind
    for which, numbers in (("first", records.only_first), ("second", records.only_second)):
        if numbers:
            noun = kind.plural if len(numbers) > 1 else kind.noun
            yield from _wrapped(f"only in the {which}: {noun} {format_ranges(list(numbers))}")
    for failure in records.failures[:_FEW]:
        reason = f"{failure.get('error_class')}: {failure.get('message')}"
        yield elide_middle(
            make_printable(f"  {kind.noun} {failure.get(kind.number_key)} failed in {failure.get('step')}: {reason}"),
            WIDTH,
        )
    if len(records.failures) > _FEW:
        yield f"  and {len(records.failures) - _FEW} more failed"


def _records(comparison: Comparison, everything: bool) -> Iterator[str]:
    """Format the differences between the records."""
    records, kind = comparison.records, comparison.kind
    by_category: dict[str, list[FactDifference]] = {}
    for fact in records.facts:
        by_category.setdefault(fact.category, []).append(fact)
    verdicts, origins = by_category.pop("verdicts", []), by_category.pop("origins", [])
    for category, facts in by_category.items():
        yield f"{category}:"
        for fact in facts:
            yield from _change(fact.name, fact.first, fact.second, _in_parts(fact.parts, records.n_parts, kind))
    if origins:
        yield "parameters with the same value from another origin:"
        yield from _origins(origins, records.n_parts, kind, everything)
    if records.numbers:
        yield f"{comparison.form.title}:"
        for number in records.numbers:
            yield from _number(number, records.n_parts, kind, everything)
    if verdicts:
        yield "verdicts:"
        for fact in verdicts:
            yield from _change(fact.name, fact.first, fact.second, _in_parts(fact.parts, records.n_parts, kind))
    if records.n_parts and not records.facts and not records.numbers:
        yield f"the recorded {comparison.form.compared} are the same"


def _origins(facts: Sequence[FactDifference], n_parts: int, kind: ProductKind, everything: bool) -> Iterator[str]:
    """Format parameters that differ only in their origin, grouped by origin."""
    places: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for fact in facts:
        places.setdefault((fact.first, fact.second, fact.parts), []).append(fact.name)
    for (first, second, parts), names in places.items():
        shown = names if everything or len(names) <= _FEW else [*names[:_FEW], f"{len(names) - _FEW} more"]
        yield from _change(", ".join(shown), first, second, _in_parts(parts, n_parts, kind))


def _change(name: str, first: str, second: str, where: str) -> Iterator[str]:
    """Format a change in one line, or in three if too long for one."""
    name, first, second = make_printable(name), make_printable(first), make_printable(second)
    line = f"  {name}: {first} -> {second}{where}"
    if len(line) <= WIDTH:
        yield line
        return
    yield from _wrapped(f"  {name}{where}")
    yield f"    first   {elide_middle(first, WIDTH - 12)}"
    yield f"    second  {elide_middle(second, WIDTH - 12)}"


def _in_parts(parts: Sequence[str], n_parts: int, kind: ProductKind) -> str:
    """Format the observations with a difference; empty if all have it."""
    if len(parts) == n_parts:
        return ""
    if len(parts) <= _FEW:
        return f"  [{', '.join(parts)}]"
    keys = {part.removeprefix(f"{kind.noun} ").partition(" ")[0] for part in parts}
    text = format_ranges(sorted(keys) if kind.named else sorted(map(int, keys)))
    listed = text if len(text) <= 40 else f"{text[:40].rpartition(',')[0]}, ..."
    return f"  [{len(parts)} of {n_parts}: {kind.plural} {listed}]"


def _number(number: NumberDifference, n_parts: int, kind: ProductKind, everything: bool) -> Iterator[str]:
    """Format a result: every observation if there are few, else the largest change."""
    values = number.values
    shown = values if everything or len(values) <= _FEW else values[:1]
    if len(shown) < len(values):
        yield f"  {number.name}: differs in {len(values)} of {format_count(n_parts, kind.noun)}, most in:"
    for label, first, second in shown:
        change = relative_change(first, second)
        percent = f"  ({100 * (second - first) / abs(first):+.2g} %)" if first and second and change < math.inf else ""
        # As many digits as show the difference.
        digits = min(max(4, 2 - math.floor(math.log10(change))), 17) if 0.0 < change < math.inf else 4
        a, b = (ABSENT if value is None else f"{value:.{digits}g}" for value in (first, second))
        yield f"  {number.name}: {a} -> {b} {number.unit}".rstrip() + f"{percent}  [{label}]"


def format_differences(differences: Sequence[ArrayDifference], kind: ProductKind, everything: bool = False) -> str:
    """Write differences of arrays as a table, largest relative difference first.

    Parameters
    ----------
    differences : sequence of ArrayDifference
        Differences, of one observation or of many.
    kind : ProductKind
        Kind of the products.
    everything : bool
        Whether each array has its row. Else arrays of one name are one row, with the observation in
        which the difference is largest, and those that are identical are counted in one line.

    Returns
    -------
    str
        Lines of at most 100 characters.
    """
    groups: dict[str, list[ArrayDifference]] = {}
    for item in differences:
        groups.setdefault(item.path if everything else _name_of(item, kind), []).append(item)
    rows = []
    for items in groups.values():
        differing = sorted((item for item in items if not item.identical), key=_by_size)
        if differing or everything:
            rows.append(((differing or items)[0], f"{len(differing)} of {len(items)}"))
    rows.sort(key=lambda row: _by_size(row[0]))
    identical = sum(item.identical for item in differences)
    lines = _table([_row(item, where) for item, where in rows], folded=len(differences) > len(groups)) if rows else []
    if identical == len(differences):
        lines.append(f"all {identical} arrays are identical" if identical > 1 else "the array is identical")
    elif identical:
        lines.append(format_count(identical, "array is identical", "arrays are identical"))
    return "\n".join(lines)


def _by_size(item: ArrayDifference) -> tuple[bool, float, str]:
    return not item.problem, -item.relative, item.path


def _name_of(item: ArrayDifference, kind: ProductKind) -> str:
    """Return the common name of arrays of several observations, and the reason if not comparable."""
    group, _, inner = item.path.partition("/")
    name = item.path if kind.key_of(group) is None else re.sub("^band_[0-9]+/", "", inner)
    # Groups of diagnostics hold one array a subscan or earlier scan, told apart by numbers.
    name = re.sub(r"/spectrum_[\d_]+$", "/spectrum_*", name)
    return f"{name} {'missing' if item.problem.startswith('not in') else item.problem}"


def _row(item: ArrayDifference, where: str) -> tuple[str, ...]:
    path = make_printable(item.path)
    if item.problem:
        return path, make_printable(item.problem)
    if item.identical:
        return path, "0", item.units, "0", "0", f"0 of {item.n_samples}", where
    share = f"{item.n_different} of {item.n_samples}"
    if math.isinf(item.largest):
        return path, "NaN in one" if item.units or item.scale else "other values", item.units, "", "", share, where
    return path, f"{item.largest:.3g}", item.units, f"{item.relative:.2g}", f"{item.rms:.3g}", share, where


def _table(rows: Sequence[tuple[str, ...]], folded: bool) -> list[str]:
    """Format columns of equal width; a problem replaces all columns but the first."""
    columns = _COLUMNS if folded else _COLUMNS[:-1]
    table = [columns, *(row[: len(columns)] if len(row) > 2 else row for row in rows)]
    widths = [
        max((len(row[k]) for row in table if len(row) == len(columns)), default=0) for k in range(1, len(columns))
    ]
    room = WIDTH - sum(widths) - 2 * len(widths)
    first = min(max(len(row[0]) for row in table), max(room, 20))
    lines = []
    for row in table:
        cells = [elide_middle(row[0], first).ljust(first)]
        if len(row) == len(columns):
            cells += [cell.ljust(width) for cell, width in zip(row[1:], widths, strict=True)]
        else:
            cells.append(elide_middle(row[1], WIDTH - first - 2))
        lines.append("  ".join(cells).rstrip())
    return lines


def _wrapped(text: str) -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()) + 2)
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
