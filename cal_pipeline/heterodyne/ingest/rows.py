"""Rows of a telescope's FITS files, and the scans that become of them, without their counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Texts = NDArray[np.object_]
"""Text of each row; empty where there is none."""

Coordinate = tuple[tuple[str, ...], NDArray[Any]]
"""Axes and values of a small array of L0."""


@dataclass(frozen=True)
class RowTable:
    """Rows of all files that are used: dumps of one pixel (tables) or subscans of one pixel (images).

    All arrays have one element a row, N in all, in the order of files, extensions and rows.

    Parameters
    ----------
    files : tuple of str
        Paths of the files.
    file, hdu, row : ndarray, shape (N,)
        Place of a row: index into `files`, index of the HDU in the file, row of its table
        (0 for an image).
    number : ndarray, shape (N,)
        Scan number.
    phase : ndarray of str, shape (N,)
        Observing phase, in the words of L0.
    receiver, array, band, pixel_id : ndarray of str, shape (N,)
        Pixel of the row, and its id.
    n_dumps, n_channels : ndarray, shape (N,)
        Shape of the counts of a row; one dump for a row of a table.
    values : mapping of str to ndarray, shape (N,)
        Numbers by the name of the field in units of L0, NaN where not there; `mjd` is the middle of the row.
        A field that no row has is absent, unless it has a value when nothing is declared.
    ramps : mapping of str to ndarray, shape (N,)
        Change of a field from dump to dump, for fields that are declared with one.
    scan_values : mapping of str to ndarray of str or float, shape (N,)
        Attributes of the scan that each row tells, by name.
    carried : mapping of str to ndarray of str or float, shape (N,)
        Further attributes by their name in L0.
    problems : mapping of int to str
        Message by index of a row that makes its scan fail.
    recorded_number : ndarray, shape (N,), optional
        Scan number as recorded: the key of `number` before the profile adds or subtracts anything. Rows of one
        subscan have the same. None where it is `number`.
    """

    files: tuple[str, ...]
    file: Integers
    hdu: Integers
    row: Integers
    number: Integers
    phase: Texts
    receiver: Texts
    array: Texts
    band: Texts
    pixel_id: Texts
    n_dumps: Integers
    n_channels: Integers
    values: Mapping[str, Floats]
    ramps: Mapping[str, Floats] = field(default_factory=dict)
    scan_values: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    carried: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    problems: Mapping[int, str] = field(default_factory=dict)
    recorded_number: Integers | None = None

    def __len__(self) -> int:
        return len(self.number)


@dataclass(frozen=True)
class LeftOut:
    """Rows of a file that are not used.

    Parameters
    ----------
    file : str
        Path of the file.
    n_rows : int
        Number of its rows.
    reason : str
        Reason in words, with key and value, such as ``"CAL is 'T': ignored"``.
    """

    file: str
    n_rows: int
    reason: str


@dataclass(frozen=True)
class IngestFailure:
    """Scan that cannot be ingested, or file whose scan is not known.

    Parameters
    ----------
    scan_number : int or None
        The scan.
    file : str
        Path of the file that it failed for; empty where it is several.
    error_class : str
        Class of the error.
    message : str
        Message with file, key, what was found and what was expected.
    """

    scan_number: int | None
    file: str
    error_class: str
    message: str


@dataclass(frozen=True)
class GroupPlan:
    """Group `source` or `calibration` of L0 to be written.

    Parameters
    ----------
    shape : tuple of int
        Lengths (C, D, R, A, S) of its counts.
    rows : ndarray, shape (D, R, A, S) or (1, R, A, S)
        Index of the row that holds each dump; -1 where it is missing. The second shape is that of
        images, which hold all dumps of a subscan.
    coordinates : mapping
        Every small array with its axes, of the type in which it is written.
    """

    shape: tuple[int, int, int, int, int]
    rows: Integers
    coordinates: Mapping[str, Coordinate]


@dataclass(frozen=True)
class BandPlan:
    """Band of a scan to be written.

    Parameters
    ----------
    name : str
        Name of its group, such as ``"band_0"``; empty where the scan has one band.
    attributes : mapping
        Attributes that differ between bands; empty where the scan has one band.
    groups : mapping of str to GroupPlan
        Its groups ``source`` and ``calibration``, those that exist.
    """

    name: str
    attributes: Mapping[str, Any]
    groups: Mapping[str, GroupPlan]


@dataclass(frozen=True)
class ScanPlan:
    """Scan of L0 to be written.

    Parameters
    ----------
    number : int
        Scan number.
    attributes : mapping
        Attributes of its group.
    bands : tuple of BandPlan
        Its bands.
    files : tuple of int
        Indices of its files in the table of rows.
    mjd : float
        Time of its first subscan.
    warnings : tuple of str
        Warnings about what is filled or left out.
    """

    number: int
    attributes: Mapping[str, Any]
    bands: tuple[BandPlan, ...]
    files: tuple[int, ...]
    mjd: float
    warnings: tuple[str, ...] = ()
