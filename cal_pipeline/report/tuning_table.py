"""Tables of combinations of parameters, each against the current parameters: for a terminal and for astropy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from cal_pipeline.core.quality import NOT_KNOWN
from cal_pipeline.core.text import format_count, format_with_error, make_printable
from cal_pipeline.heterodyne.tuning import FIGURES, TuningRow

if TYPE_CHECKING:
    from astropy.table import Table

SHOWN = ("pwv_mm", "pwv_chi2", "sky_misfit_K", "noise_ratio", "ripple_K", "t_rec_dsb_K")
"""Figures of a table on the terminal; that of the water vapour has its total error beside it."""

UNCHANGED, NEARLY = "=", "≈"
"""Marks of a figure that equals that of the current parameters, and of one that differs by less than `_NEAR`."""

_NEAR = 1e-4
"""Relative difference below which the number is of no interest."""

_FEW_CHECKS = 4
"""Number of checks that a line on a terminal lists."""

_MARK = "*"
"""Mark of the row of the current parameters."""


class Varied(Protocol):
    """Parameter that was varied."""

    @property
    def label(self) -> str:
        """Name of step and parameter."""

    @property
    def name(self) -> str:
        """Name of the parameter."""


class TuningResults(Protocol):
    """Results of a tuning, as :func:`cal_pipeline.tune` returns them."""

    session: str
    seconds: float
    rows: list[TuningRow]
    current: TuningRow

    @property
    def varied(self) -> Sequence[Varied]:
        """Parameters that were varied."""

    @property
    def all_rows(self) -> list[TuningRow]:
        """Rows, with the current parameters among them."""


def format_tuning(tuning: TuningResults) -> str:
    """Format the table of a tuning for a terminal; of several scans, medians first and then each scan.

    Parameters
    ----------
    tuning : TuningResults
        The results.

    Returns
    -------
    str
        Two lines a row: figures, and below them their differences from the current parameters.
    """
    parts = list_parts(tuning.all_rows)
    scans = list(dict.fromkeys(scan for scan, _ in parts))
    head = (
        f"{make_printable(tuning.session)}: {format_count(len(tuning.rows), 'combination')} of "
        f"{format_count(len(scans), 'scan')} in {tuning.seconds:.1f} s"
    )
    blocks = [head]
    if len(parts) > 1:
        blocks.append(f"medians of {format_count(len(parts), 'scan')}\n{_format_rows(tuning, None)}")
        blocks += [f"{name_part(*part)}\n{_format_rows(tuning, part)}" for part in parts]
    else:
        blocks.append(_format_rows(tuning, None))
    blocks += list(_format_failures(tuning))
    blocks.append(_explain(tuning))
    return "\n\n".join(blocks)


def list_parts(rows: Sequence[TuningRow]) -> list[tuple[int, str]]:
    """List scans and bands of the rows; the band of a scan that failed under all combinations is empty."""
    found = {(scan.scan, band.band) for row in rows for scan in row.scans for band in scan.bands}
    known = {scan for scan, _ in found}
    return sorted(found | {(scan.scan, "") for row in rows for scan in row.scans if scan.scan not in known})


def name_part(scan: int, band: str) -> str:
    """Name a scan or one of its bands.

    Examples
    --------
    >>> name_part(7, "band_0")
    'scan 7 band_0'
    """
    return f"scan {scan} {make_printable(band)}".rstrip()


def select_part(row: TuningRow, part: tuple[int, str] | None) -> TuningRow:
    """Return a row with the results of one scan and band alone; all of it without a part."""
    if part is None:
        return row
    scans = [
        replace(scan, bands=tuple(band for band in scan.bands if band.band == part[1]))
        for scan in row.scans
        if scan.scan == part[0]
    ]
    return replace(row, scans=scans)


def name_row(row: TuningRow) -> str:
    """Name a row by its number; the current parameters without one are ``now``.

    Examples
    --------
    >>> name_row(TuningRow(3, {}, is_current=True)), name_row(TuningRow(None, {}))
    ('3*', 'now*')
    """
    return f"{row.number}{_MARK if row.is_current else ''}" if row.number is not None else f"now{_MARK}"


def name_columns(varied: Sequence[Varied]) -> list[str]:
    """Name the parameters: without their step where no two have one name."""
    names = [one.name for one in varied]
    return [one.label if names.count(one.name) > 1 else one.name for one in varied]


def format_value(value: Any) -> str:
    """Format the value of a parameter.

    Examples
    --------
    >>> format_value(0.03), format_value([0.95, 0.9]), format_value(None)
    ('0.03', '[0.95, 0.9]', 'None')
    """
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(format_value, value))}]"
    return make_printable(f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else value)


def format_figure(row: TuningRow, name: str) -> str:
    """Format a figure of a row, the water vapour with its total error."""
    value = row.figures[name]
    if value is None:
        return NOT_KNOWN
    if name == "pwv_mm":
        return format_with_error(value, row.figures["pwv_total_err_mm"] or math.nan)
    return f"{value:.4g}"


def format_change(change: float | None, value: float | None = None) -> str:
    """Format a difference from the current parameters with its sign.

    Parameters
    ----------
    change : float or None
        The difference; None if it is not known.
    value : float, optional
        Value that it is small against.

    Examples
    --------
    >>> format_change(0.0123, 2.0), format_change(-5.0), format_change(0.0), format_change(None)
    ('+0.012', '-5', '=', '')
    >>> format_change(1e-6, 0.5)
    '≈'
    """
    if change is None:
        return ""
    if abs(change) < _NEAR * abs(value or 0.0):
        return UNCHANGED if change == 0.0 else NEARLY
    return UNCHANGED if change == 0.0 else f"{change:+.2g}"


def format_checks(row: TuningRow, current: TuningRow) -> str:
    """List the checks that a row does not pass; against the current parameters, what is new (+) or passed (-).

    Examples
    --------
    >>> from cal_pipeline.heterodyne.tuning import BandResult, ScanResult
    >>> def make(*checks):
    ...     return TuningRow(0, {}, scans=[ScanResult(1, (BandResult("", {}, "fail", checks),))])
    >>> format_checks(make("noise_ratio"), make("ripple"))
    '+noise_ratio -ripple'
    """
    own, others = row.checks, current.checks
    if row is current or row.is_current:
        return " ".join(own)
    if not row.verdict or not current.verdict:
        return ""
    added = [f"+{check}" for check in own if check not in others]
    gone = [f"-{check}" for check in others if check not in own]
    return " ".join([*added, *gone]) or UNCHANGED


def _format_rows(tuning: TuningResults, part: tuple[int, str] | None) -> str:
    """Format the rows of one scan, or the medians of all."""
    current = select_part(tuning.current, part)
    units = [f"{FIGURES[name].heading} [{FIGURES[name].unit}]".removesuffix(" []") for name in SHOWN]
    lines = [["row", *name_columns(tuning.varied), *units, "time [s]", "verdict"]]
    for row in tuning.all_rows:
        lines += _list_cells(tuning, select_part(row, part), current)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _list_cells(tuning: TuningResults, row: TuningRow, current: TuningRow) -> Iterator[list[str]]:
    """Yield the cells of a row, and those of its differences."""
    values = [format_value(row.parameters[one.label]) for one in tuning.varied]
    figures = [format_figure(row, name) for name in SHOWN]
    seconds = f"{row.figures['seconds']:.2f}" if row.verdict else ""
    verdict = " ".join([row.verdict or NOT_KNOWN, *([f"({row.status})"] if row.failures else [])])
    if not any(scan.bands for scan in row.scans):
        figures, verdict = ["-"] * len(SHOWN), "failed"
    yield [name_row(row), *values, *figures, seconds, verdict]
    blank = [""] * (1 + len(values))
    if row.is_current or row.number is None:
        if row.checks:
            yield [*blank, *[""] * (len(SHOWN) + 1), _shorten(format_checks(row, current))]
        return
    changes = row.subtract(current)
    shown = [format_change(changes[name], row.figures[name]) for name in SHOWN]
    if any(shown):
        yield [*blank, *shown, format_change(changes["seconds"]), _shorten(format_checks(row, current))]


def _shorten(checks: str) -> str:
    """List the first checks of many, for a line on a terminal."""
    names = checks.split()
    few = " ".join(names[:_FEW_CHECKS])
    return few if len(names) <= _FEW_CHECKS else f"{few} and {len(names) - _FEW_CHECKS} more"


def _format_failures(tuning: TuningResults) -> Iterator[str]:
    """Yield a line for each scan that failed under a combination."""
    lines = [
        f"row {name_row(row)}, scan {scan.scan} failed in step {scan.failed_in}: {make_printable(scan.message)}"
        for row in tuning.all_rows
        for scan in row.failures
    ]
    if lines:
        yield "\n".join(lines)


def _explain(tuning: TuningResults) -> str:
    """Explain marks and the second lines."""
    marked = "the row with * has the current parameters" if tuning.current.number is not None else (
        "now* are the current parameters, which no combination equals"
    )  # fmt: skip
    return (
        f"{marked}; second lines: differences from it ({UNCHANGED} none, {NEARLY} below {100.0 * _NEAR:g} %), and "
        "checks that are not passed any more (+) or passed now (-)"
    )


def make_table(tuning: TuningResults, by_scan: bool = False) -> Table:
    """Make an astropy table of a tuning; see :meth:`cal_pipeline.pipelines.tuning.Tuning.table`."""
    from astropy.table import Table

    parts = list_parts(tuning.all_rows) if by_scan else [None]
    rows = [(part, select_part(row, part)) for row in tuning.all_rows for part in parts]
    columns: dict[str, list[Any]] = {"row": [-1 if row.number is None else row.number for _, row in rows]}
    if by_scan:
        columns |= {"scan": [part[0] for part, _ in rows if part], "band": [part[1] or "-" for part, _ in rows if part]}
    columns["current"] = [row.is_current for _, row in rows]
    for one in tuning.varied:
        columns[one.label] = _make_column([row.parameters[one.label] for _, row in rows])
    for name in (*FIGURES, "seconds"):
        values = [row.figures[name] for _, row in rows]
        columns[name] = [math.nan if value is None else value for value in values]
    columns["verdict"] = [row.verdict or "-" for _, row in rows]
    columns["checks"] = [" ".join(row.checks) or "-" for _, row in rows]
    columns["failures"] = ["; ".join(scan.message for scan in row.failures) or "-" for _, row in rows]
    table = Table(columns, meta={"session": tuning.session})
    for name, figure in FIGURES.items():
        table[name].unit, table[name].description = figure.unit or None, figure.meaning
    table["seconds"].unit = "s"
    return table


def _make_column(values: list[Any]) -> list[Any]:
    """Return values of a parameter that are all numbers or all truth values as they are, others as text."""
    kinds = {type(value) for value in values}
    return values if kinds in ({bool}, {int}, {float}) or kinds == {int, float} else [format_value(v) for v in values]
