"""Sessions as collections of scans: looked up by number, selected by column, shown as a table."""

from __future__ import annotations

import copy
import html
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from cal_pipeline.core.text import elide_middle, format_ranges, format_with_error, make_printable
from cal_pipeline.heterodyne.errors import ScanNotFoundError
from cal_pipeline.heterodyne.scan_table import select_rows

if TYPE_CHECKING:
    from typing import Self

    from astropy.table import QTable

S = TypeVar("S")

_SHOWN = 8
"""Rows of the table that a session shows of itself; the first and the last ones of many."""

_WIDTH = 32
"""Longest cell [characters]."""

_UNKNOWN = "-"


class ScanCollection(ABC, Generic[S]):
    """Scans by number, as a mapping: iteration yields numbers, ``values()`` scans.

    Classes that derive from it have the attributes `numbers` and `path`.
    """

    numbers: list[int]
    path: Any
    _table: QTable | None = None

    shown_columns: tuple[str, ...]
    """Columns that a session shows of itself."""

    @abstractmethod
    def _open(self, number: int) -> S:
        """Open a scan that there is."""

    @abstractmethod
    def _make_table(self) -> QTable:
        """Make the table of the scans."""

    @abstractmethod
    def _explain_missing(self, number: int) -> str:
        """Say why there is no scan of a number; empty if nothing is known of it."""

    @abstractmethod
    def _headline(self) -> str:
        """Describe the session in one line."""

    @property
    def _listed(self) -> list[int]:
        """Numbers of the scans in the table, ascending."""
        return self.numbers

    def _restrict(self, numbers: Sequence[int]) -> Self:
        """Return the session with some of its scans."""
        part = copy.copy(self)
        wanted = set(numbers)
        part.numbers = [number for number in self.numbers if number in wanted]
        part._table = None
        return part

    def __getitem__(self, number: int) -> S:
        if isinstance(number, (bool, np.bool_)) or not isinstance(number, (int, np.integer)):
            raise TypeError(
                f"scan number is {make_printable(repr(number))[:80]}, expected a whole number; select(…) selects scans "
                "by source, verdict and other columns"
            )
        if number not in self.numbers:
            why = self._explain_missing(int(number))
            has = f"it has scans [{format_ranges(self.numbers)}]" if self.numbers else "it has no scan"
            raise ScanNotFoundError(f"{self.path} has no scan {number}{f': {why}' if why else ''}; {has}")
        return self._open(int(number))

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __bool__(self) -> bool:
        # A session is something even without scans.
        return True

    def __contains__(self, number: object) -> bool:
        return number in self.numbers

    def keys(self) -> list[int]:
        """Return the numbers of the scans, ascending."""
        return list(self.numbers)

    def values(self) -> Iterator[S]:
        """Yield the scans by number."""
        return (self._open(number) for number in self.numbers)

    def items(self) -> Iterator[tuple[int, S]]:
        """Yield number and scan, by number."""
        return ((number, self._open(number)) for number in self.numbers)

    def table(self) -> QTable:
        """Return the table of the scans: a row for each, or for each band of a divided one.

        Returns
        -------
        astropy.table.QTable
            With units and descriptions, by scan number. It is read once for each session object.
        """
        if self._table is None:
            self._table = self._make_table()
        return self._table.copy()

    def select(self, mask: Any = None, /, **columns: Any) -> Self:
        """Select scans by columns of the table.

        Parameters
        ----------
        mask : array of bool, optional
            Mask of the rows of :meth:`table`; a scan counts if any of its rows does.
        **columns
            By column: a value, a list of values, ``slice(first, last)`` with both limits in the range,
            or a function of the column that returns a mask.

        Returns
        -------
        session
            The same store with fewer scans; it opens nothing.

        Raises
        ------
        ValueError
            If there is no such column, no scan with such a value, or the mask has another length.
        """
        table = self.table()
        chosen = select_rows(table, columns)
        if mask is not None:
            given = np.asarray(mask)
            if given.dtype != np.bool_ or given.shape != (len(table),):
                raise ValueError(
                    f"mask has {given.dtype} of shape {given.shape}, expected {len(table)} booleans, one a row"
                )
            chosen &= given
        numbers = {int(number) for number in table["scan"][chosen]}
        part = self._restrict(sorted(numbers))
        part._table = table[np.isin(np.asarray(table["scan"]), list(numbers))]
        return part

    def __repr__(self) -> str:
        lines = [self._headline()]
        rows = self._preview()
        if rows:
            widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
            cells = (zip(row, widths, strict=True) for row in rows)
            lines += ["  " + "  ".join(cell.ljust(width) for cell, width in row).rstrip() for row in cells]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = self._preview()
        table = "".join(
            f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in row)}</tr>"
            for tag, row in zip(["th", *["td"] * (len(rows) - 1)], rows, strict=bool(rows))
        )
        return f"<p>{html.escape(self._headline())}</p><table>{table}</table>"

    def _preview(self) -> list[list[str]]:
        """Format the first and the last rows of the table, with titles; empty where it cannot be made."""
        try:
            part, cut = self._few()
            table = part.table()
            divided = any(np.asarray(table["band"]) != "")
            columns = [name for name in self.shown_columns if name != "band" or divided]
            rows = [format_row(table, row, columns) for row in range(len(table))]
        except MemoryError:
            raise
        except Exception:  # a session must be shown in a debugger even when its store is gone
            return []
        if not rows:
            return []
        if cut:
            rows.insert(cut, ["…"] * len(rows[0]))
        return [[_TITLES.get(name, name) for name in columns], *rows]

    def _few(self) -> tuple[Self, int]:
        """Return the session with the scans to show, and the number of rows before the gap; 0 for no gap."""
        listed = self._listed
        if len(listed) <= _SHOWN:
            return self, 0
        half = _SHOWN // 2
        part = self._restrict([*listed[:half], *listed[-half:]])
        return part, sum(1 for number in part.table()["scan"] if number <= listed[half - 1])


_TITLES = {
    "pwv": "PWV [mm]",
    "t_sys": "T_sys [K]",
    "t_rec": "T_rec [K]",
    "duration": "duration [s]",
    "frequency": "frequency [GHz]",
    "size": "counts [MB]",
}


def format_row(table: QTable, row: int, columns: Sequence[str]) -> list[str]:
    """Format a row of the table of a session; unknown values are dashes, names from the data are escaped.

    Parameters
    ----------
    table : astropy.table.QTable
        Table of scans.
    row : int
        Row.
    columns : sequence of str
        Columns to format; ``pwv`` with its error.
    """
    return [_format_cell(table, row, name) for name in columns]


def _format_cell(table: QTable, row: int, name: str) -> str:
    value = table[name][row]
    number = getattr(value, "value", value)
    if isinstance(number, (str, np.str_)):
        return elide_middle(make_printable(number), _WIDTH) or _UNKNOWN
    if not np.isfinite(number) or (name == "pixels" and number == 0):
        return _UNKNOWN
    if name == "pwv":
        return format_with_error(float(number), float(table["pwv_err"][row].value))
    if isinstance(number, (int, np.integer)):
        return str(number)
    return f"{float(number):.0f}" if name in ("t_sys", "t_rec", "duration") else f"{float(number):.6g}"
