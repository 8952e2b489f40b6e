"""Checks of the rows of a scan before it is planned."""

from __future__ import annotations

import numpy as np

from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.ingest.errors import IngestError
from cal_pipeline.heterodyne.ingest.pixels import SOURCE, BandRows
from cal_pipeline.heterodyne.ingest.rows import Floats, IngestFailure, Integers, RowTable
from cal_pipeline.heterodyne.ingest.subscans import find_repeated
from cal_pipeline.heterodyne.phases import CALIBRATION
from cal_pipeline.heterodyne.schema import LARGEST_AXES, MOST_COORDINATES

_SHOWN = 3
"""Files that a message names."""

_EXPECTED = {
    "mjd": "a time (MJD)",
    "exptime": "an integration time [s] above or at 0",
    "freq_res": "the width of a channel [Hz], which is not 0",
}
"""Numbers that every row is checked for, and what is expected in words."""


class RefusedScanError(IngestError):
    """Scan whose rows make no scan of L0.

    Parameters
    ----------
    message : str
        The reason.
    file : str
        Path of the file that is to blame; empty where it is several.
    """

    def __init__(self, message: str, file: str = "") -> None:
        super().__init__(message)
        self.file = file

    def describe(self, number: int) -> IngestFailure:
        """Describe the failure of a scan for the record.

        Parameters
        ----------
        number : int
            The scan.

        Returns
        -------
        IngestFailure
        """
        return IngestFailure(number, self.file, IngestError.__name__, f"scan {number}: {self}")


def check_problems(rows: RowTable, index: Integers) -> None:
    """Refuse a scan with a row that has a problem, a phase that L0 does not have, no time or no channel width.

    Parameters
    ----------
    rows : RowTable
        The table.
    index : ndarray, shape (N,)
        Rows of the scan.

    Raises
    ------
    RefusedScanError
        With the message of the first of these rows in order of file, extension and row.
    """
    troubled = [row for row in index.tolist() if row in rows.problems] if rows.problems else []
    if troubled:
        first = _first_place(rows, troubled)
        others = f" (and {format_count(len(troubled) - 1, 'more row')})" if len(troubled) > 1 else ""
        raise RefusedScanError(f"{rows.problems[first]}{others}", _file_of(rows, first))
    known = np.isin(rows.phase[index].astype(str), (*SOURCE, *CALIBRATION))
    if not known.all():
        first = _first_place(rows, index[~known].tolist())
        expected = ", ".join((*SOURCE, *CALIBRATION))
        raise RefusedScanError(
            f"{name_row(rows, first)} has the phase {rows.phase[first]!r}, expected one of {expected}",
            _file_of(rows, first),
        )
    for name, expected in _EXPECTED.items():
        values = rows.values[name][index]
        sound = values != 0.0 if name == "freq_res" else np.isfinite(values) & (values >= 0.0)
        if not sound.all():
            first = _first_place(rows, index[~sound].tolist())
            found = f"{name} = {rows.values[name][first]:g}"
            raise RefusedScanError(f"{name_row(rows, first)}: {found}, expected {expected}", _file_of(rows, first))


def check_channels(rows: RowTable, band: BandRows) -> None:
    """Check that all rows of a band have equally many channels, and at least one dump.

    Parameters
    ----------
    rows : RowTable
        The table.
    band : BandRows
        The band.

    Raises
    ------
    RefusedScanError
        If not; the number of most rows is the expected one.
    """
    of_band = f" in band {band.band!r}" if band.name else ""
    numbers, inverse, counts = np.unique(rows.n_channels[band.index], return_inverse=True, return_counts=True)
    expected = int(numbers[np.argmax(counts)])
    if numbers.size > 1:
        odd = int(np.argmax(numbers != expected))
        files = _files_of(rows, band.index[inverse == odd])
        raise RefusedScanError(
            f"{_list_files(files)}: found {format_count(int(numbers[odd]), 'channel')}{of_band},"
            f" expected {expected} as in {_list_files(_files_of(rows, band.index[numbers[inverse] == expected]))}",
            files[0] if len(files) == 1 else "",
        )
    empty = (rows.n_dumps[band.index] < 1) | (rows.n_channels[band.index] < 1)
    if empty.any():
        first = _first_place(rows, band.index[empty].tolist())
        raise RefusedScanError(
            f"{name_row(rows, first)}: found {format_count(int(rows.n_dumps[first]), 'dump')} of"
            f" {format_count(int(rows.n_channels[first]), 'channel')}, expected at least one of each",
            _file_of(rows, first),
        )


def check_size(band: BandRows, group: str, shape: tuple[int, int, int, int, int], n_dumps_in_rows: int) -> None:
    """Refuse a group that is far larger than the rows which it is made of.

    Parameters
    ----------
    band : BandRows
        The band.
    group : str
        Name of the group.
    shape : tuple of int
        Lengths (C, D, R, A, S) of its counts.
    n_dumps_in_rows : int
        Dumps of its table of rows: D, or 1 for images.

    Raises
    ------
    RefusedScanError
        If an axis or the table of rows is longer than L0 allows.
    """
    spectra = n_dumps_in_rows * shape[2] * shape[3] * shape[4]
    if spectra > MOST_COORDINATES or any(
        length > most for length, most in zip(shape, LARGEST_AXES.values(), strict=True)
    ):
        raise RefusedScanError(
            f"{group} would have (C, D, R, A, S) = {shape} for {format_count(band.index.size, 'row')};"
            f" expected at most {tuple(LARGEST_AXES.values())} and {MOST_COORDINATES} spectra:"
            " check receiver and array in [pixel]"
        )


def check_repeated(rows: RowTable, band: BandRows) -> None:
    """Check that no two rows are of one pixel and phase at one time.

    Parameters
    ----------
    rows : RowTable
        The table.
    band : BandRows
        The band.

    Raises
    ------
    RefusedScanError
        With the names of both files, if there are two.
    """
    mjd, duration = rows.values["mjd"][band.index], find_durations(rows, band.index)
    repeated = find_repeated(mjd, duration, band.phase, band.pixel)
    if repeated is not None:
        raise refuse_repeated(rows, band, *repeated)


def find_durations(rows: RowTable, index: Integers) -> Floats:
    """Find the exposures of rows, with all of their dumps [s].

    Parameters
    ----------
    rows : RowTable
        The table.
    index : ndarray, shape (n,)
        The rows.

    Returns
    -------
    ndarray, shape (n,)
    """
    return np.asarray(rows.values["exptime"][index] * rows.n_dumps[index])


def refuse_repeated(rows: RowTable, band: BandRows, one: int, other: int) -> RefusedScanError:
    """Describe two rows of one pixel and subscan.

    Parameters
    ----------
    rows : RowTable
        The table.
    band : BandRows
        Their band.
    one, other : int
        Positions of the rows in the band.

    Returns
    -------
    RefusedScanError
    """
    places = sorted((int(band.index[one]), int(band.index[other])), key=lambda row: _place(rows, row))
    files = [_file_of(rows, row) for row in places]
    of_band = f", band {band.band!r}" if band.name else ""
    return RefusedScanError(
        f"{name_row(rows, places[0])} and {name_row(rows, places[1])} are both"
        f" {rows.phase[places[0]]} of {band.name_pixel(int(band.pixel[one]))}{of_band}"
        f" at MJD {rows.values['mjd'][places[0]]:.6f}: found two rows for one pixel and subscan, expected one"
        " (a copy of a file, or [pixel] does not tell the two apart)",
        files[0] if files[0] == files[1] else "",
    )


def name_row(rows: RowTable, row: int) -> str:
    """Name a row by its file, extension and place in the table.

    Parameters
    ----------
    rows : RowTable
        The table.
    row : int
        Index of the row.

    Returns
    -------
    str
        Such as ``"a.fits (HDU 1, row 3)"``.
    """
    return f"{_file_of(rows, row)} (HDU {rows.hdu[row]}, row {rows.row[row]})"


def _place(rows: RowTable, row: int) -> tuple[str, int, int]:
    return _file_of(rows, row), int(rows.hdu[row]), int(rows.row[row])


def _first_place(rows: RowTable, candidates: list[int]) -> int:
    return min(candidates, key=lambda row: _place(rows, row))


def _file_of(rows: RowTable, row: int) -> str:
    return rows.files[int(rows.file[row])]


def _files_of(rows: RowTable, index: Integers) -> list[str]:
    return sorted(rows.files[file] for file in np.unique(rows.file[index]).tolist())


def _list_files(files: list[str]) -> str:
    more = f" and {format_count(len(files) - _SHOWN, 'more file')}" if len(files) > _SHOWN else ""
    return ", ".join(files[:_SHOWN]) + more
