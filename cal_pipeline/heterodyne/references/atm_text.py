"""Atmosphere tables from text: columns of frequency, wet and dry opacity coefficient."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.references.atm_file import date_of_creation
from cal_pipeline.heterodyne.references.atm_grid import AtmTableError, Floats
from cal_pipeline.heterodyne.references.atm_table import AtmTable

UNITS = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9, "THz": 1e12}
"""Units of frequency that a text may have, in Hz."""

FREQUENCIES = (1e9, 2e13)
"""Range of plausible frequencies [Hz]; others are in another unit."""

PRESSURES = (1.0, 1100.0)
"""Range of plausible pressures [hPa]; others are in another unit."""


class Columns(NamedTuple):
    """Numbers of a text file.

    Parameters
    ----------
    values : ndarray, shape (R, C)
        Numbers by row and column.
    lines : ndarray of int, shape (R,)
        Line of each row in the file, from 1.
    path : Path
        The file.

    Examples
    --------
    >>> columns = Columns(np.array([[460.0, 0.5, 0.01]]), np.array([3]), Path("my.txt"))
    >>> str(columns.fault(0, "expected more"))
    'my.txt, line 3: expected more'
    """

    values: Floats
    lines: NDArray[np.intp]
    path: Path

    def fault(self, row: int, text: str) -> AtmTableError:
        """Make the error for a row."""
        return AtmTableError(f"{self.path}, line {self.lines[row]}: {text}")


def table_from_text(
    files: Sequence[str | PathLike[str]], pressures_hpa: Sequence[float], unit: str = "GHz"
) -> AtmTable:
    r"""Make a table of the whole atmosphere (version 1) from text files.

    Parameters
    ----------
    files : sequence of path
        One file per pressure, with the columns frequency, b and c, or one file for all pressures
        with frequency, b and c at the first pressure, b and c at the second, and so on. Spaces,
        tabs or commas separate columns; ``#`` begins a comment.
    pressures_hpa : sequence of float
        Pressures at the telescope, ascending, in the order of the files or columns [hPa].
    unit : str
        Unit of the frequencies, a key of `UNITS`. b is in Np/mm, c in Np.

    Returns
    -------
    AtmTable
        In memory.

    Raises
    ------
    AtmTableError
        If a file cannot be read, the number of files or columns does not suit the pressures,
        frequencies or pressures do not ascend or look like another unit, files differ in their
        frequencies, or a coefficient is negative or not finite.

    Examples
    --------
    >>> _ = Path("my.txt").write_text("# GHz  b  c\n460  0.5  0.01\n461  0.6  0.02\n")
    >>> table = table_from_text(["my.txt"], [515.0])
    >>> [round(float(value), 6) for value in table.coefficients(460.5e9, 51500.0)]
    [0.55, 0.015]
    """
    pressures = _check_pressures(pressures_hpa)
    if len(files) not in (1, len(pressures)):
        raise AtmTableError(
            f"found {len(files)} files for {len(pressures)} pressures, expected one file per pressure (columns "
            "frequency, b, c) or one file (columns frequency, b1, c1, b2, c2, ...)"
        )
    per_file = len(pressures) // len(files)
    texts = [_read_columns(Path(file), 1 + 2 * per_file) for file in files]
    for text in texts:
        _check_rows(text, unit)
        _check_same_frequencies(text, texts[0])
    coefficients = np.concatenate([text.values[:, 1:] for text in texts], axis=1).T
    return AtmTable(
        frequency=texts[0].values[:, 0] * UNITS[unit],
        pressure=pressures * 100.0,
        b=coefficients[0::2],
        c=coefficients[1::2],
        meta={
            "model": "imported from text",
            "files": [Path(file).name for file in files],
            "created": date_of_creation(),
            "units": {"frequency": "Hz", "pressure": "Pa", "b": "Np/mm", "c": "Np"},
        },
    )


def _check_pressures(pressures_hpa: Sequence[float]) -> Floats:
    """Check that pressures [hPa] ascend and are in that unit."""
    pressures = np.asarray(pressures_hpa, np.float64)
    shown = ", ".join(f"{pressure:g}" for pressure in pressures)
    low, high = PRESSURES
    if not np.all((pressures >= low) & (pressures <= high)):
        raise AtmTableError(f"the pressures are {shown}, expected values from {low:g} to {high:g} hPa")
    if np.any(np.diff(pressures) <= 0.0):
        raise AtmTableError(
            f"the pressures are {shown} hPa, expected ascending ones, and files or columns in their order"
        )
    return pressures


def _read_columns(path: Path, n_columns: int) -> Columns:
    """Read the numbers of a text file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AtmTableError(f"{path} cannot be read as text: {error}") from error
    rows, lines = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        if len(words) != n_columns:
            names = ", ".join(f"b{i}, c{i}" for i in range(1, n_columns // 2 + 1)) if n_columns > 3 else "b, c"
            raise AtmTableError(
                f"{path}, line {number}: found {len(words)} columns, expected {n_columns}: frequency, {names}"
            )
        try:
            rows.append([float(word) for word in words])
        except ValueError as error:
            raise AtmTableError(f"{path}, line {number}: expected numbers, or # before a comment: {error}") from error
        lines.append(number)
    if len(rows) < 2:
        raise AtmTableError(f"{path}: found {len(rows)} lines of numbers, expected 2 or more")
    return Columns(np.array(rows), np.array(lines), path)


def _check_rows(text: Columns, unit: str) -> None:
    """Check the frequencies and coefficients of a file."""
    frequency, coefficients = text.values[:, 0], text.values[:, 1:]
    wrong = ~np.isfinite(text.values).all(axis=1) | (coefficients < 0.0).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        shown = ", ".join(f"{value:g}" for value in text.values[row])
        raise text.fault(row, f"found {shown}, expected finite numbers, and opacities of 0 or above")
    outside = ~_plausible(frequency * UNITS[unit])
    if outside.any():
        row = int(np.argmax(outside))
        fits = [name for name, scale in UNITS.items() if _plausible(frequency * scale).all()]
        hint = f"; --unit {' or '.join(fits)} would fit" if fits else ""
        low, high = (bound / UNITS[unit] for bound in FREQUENCIES)
        raise text.fault(row, f"the frequency is {frequency[row]:g} {unit}, expected {low:g} to {high:g} {unit}{hint}")
    descends = np.diff(frequency) <= 0.0
    if descends.any():
        row = int(np.argmax(descends)) + 1
        raise text.fault(
            row, f"found {frequency[row]:.10g} after {frequency[row - 1]:.10g}, expected ascending frequencies"
        )


def _plausible(frequency: Floats) -> NDArray[np.bool_]:
    low, high = FREQUENCIES
    return np.asarray((frequency >= low) & (frequency <= high))


def _check_same_frequencies(text: Columns, first: Columns) -> None:
    """Check that two files have the same frequencies."""
    found, expected = text.values[:, 0], first.values[:, 0]
    if len(found) != len(expected):
        raise AtmTableError(
            f"{text.path}: found {len(found)} frequencies, expected the {len(expected)} of {first.path}"
        )
    differs = found != expected
    if differs.any():
        row = int(np.argmax(differs))
        raise text.fault(
            row,
            f"the frequency is {found[row]:.10g}, expected {expected[row]:.10g} as in {first.path}, line "
            f"{first.lines[row]}",
        )
