"""Statistics of the pixels of a camera: their intervals in time, and their layout in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.table import Column, Table
from astropy.time import Time

from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError
from cal_pipeline.cherenkov.hdf5 import has_table, list_telescopes, read_array, read_table, take_numbers
from cal_pipeline.cherenkov.physics.camera_coefficients import CameraCoefficients, PixelStatistics

SECONDS_PER_DAY = 86400.0

STATISTICS = "/dl1/monitoring/telescope/calibration/camera/pixel_statistics"
"""Group of the statistics, with a group for each kind of events."""

PEDESTAL, FLATFIELD, PEAK_TIME = "sky_pedestal_image", "flatfield_image", "flatfield_peak_time"
KINDS = (PEDESTAL, FLATFIELD, PEAK_TIME)
"""Kinds of statistics, all of which the coefficients need."""

COEFFICIENTS = "/dl1/monitoring/telescope/calibration/camera/coefficients"
"""Group of the coefficients."""

LAYOUT = "/configuration/instrument/subarray/layout"
"""Table of the telescopes."""

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Chunks:
    """Statistics of one kind of events of one telescope.

    Attributes
    ----------
    start, end : array of float, shape (chunks,)
        Times, MJD (TAI), ascending.
    median, std : array of float, shape (chunks, channels, pixels)
        Statistics of the pixels.
    selected : bool
        True for gain-selected data, which have no axis of channels in the file.
    """

    start: Times
    end: Times
    median: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    selected: bool


@dataclass(frozen=True)
class CameraData:
    """Statistics of a telescope in intervals that all kinds of events cover.

    Attributes
    ----------
    start, end : array of float, shape (intervals,)
        Times, MJD (TAI).
    pedestal, flatfield : PixelStatistics
        Charges of pedestal and flat-field events, arrays of shape (intervals, channels, pixels).
    peak_time : array of float, shape (intervals, channels, pixels)
        Times of the flat-field pulses.
    selected : bool
        True for gain-selected data.
    """

    start: Times
    end: Times
    pedestal: PixelStatistics
    flatfield: PixelStatistics
    peak_time: npt.NDArray[np.float64]
    selected: bool


def find_intervals(
    chunks: Sequence[tuple[Times, Times]], tolerance: float
) -> tuple[Times, Times, list[npt.NDArray[np.intp]]]:
    """Find the intervals that chunks of all tables cover.

    Edges of chunks that follow another by less than the tolerance count as that one: the earliest.

    Parameters
    ----------
    chunks : sequence of (array, array)
        Starts and ends of the chunks of each table, MJD.
    tolerance : float
        Tolerance, in seconds.

    Returns
    -------
    start, end : array of float, shape (intervals,)
        Intervals between consecutive edges, MJD; empty if the tables have none in common.
    indices : list of array of int, shape (intervals,)
        For each table, the chunk that covers an interval; of several, the one that starts first.

    Examples
    --------
    >>> day = 86400.0
    >>> pedestal = np.array([0.0]), np.array([200.0])
    >>> flatfield = np.array([0.5, 100.0]), np.array([100.0, 200.4])
    >>> start, end, indices = find_intervals([(a / day, b / day) for a, b in (pedestal, flatfield)], 1.0)
    >>> (start * day).tolist(), (end * day).tolist(), [index.tolist() for index in indices]
    ([0.0, 100.0], [100.0, 200.0], [[0, 0], [0, 1]])
    """
    times = np.unique(np.concatenate([edge for table in chunks for edge in table]))
    edges = _join_edges(times, tolerance / SECONDS_PER_DAY)
    start, end = edges[:-1], edges[1:]
    covered, indices = np.ones(len(start), dtype=bool), []
    for table in chunks:
        # Each edge stands for the times up to the next one: a chunk begins and ends at the edges of its times.
        first, last = (edges[np.searchsorted(edges, time, side="right") - 1] for time in table)
        covers = (first[:, None] <= start) & (last[:, None] >= end)
        order = np.argsort(table[0], kind="stable")
        covered &= covers.any(axis=0)
        indices.append(order[covers[order].argmax(axis=0)])
    return start[covered], end[covered], [index[covered] for index in indices]


def read_camera(path: Path, tel_id: int, nodes: dict[str, str], tolerance: float) -> CameraData | None:
    """Read the statistics of a telescope.

    Parameters
    ----------
    path : Path
        HDF5 file.
    tel_id : int
        Number of the telescope, for messages.
    nodes : dict of str to str
        Paths of its tables, by :data:`KINDS`.
    tolerance : float
        Edges of chunks that are nearer to each other are one, in seconds.

    Returns
    -------
    CameraData or None
        None if there is no time that a chunk of all tables covers.

    Raises
    ------
    CorruptedInputError
        If a table lacks a column, has no rows, or differs from the others in channels or pixels; if a chunk ends
        before it begins.
    """
    tables = [read_chunks(path, nodes[kind]) for kind in KINDS]
    shapes = {kind: table.median.shape[1:] for kind, table in zip(KINDS, tables, strict=True)}
    if len({(*shape, table.selected) for shape, table in zip(shapes.values(), tables, strict=True)}) > 1:
        found = ", ".join(f"{kind} {shape[0]} x {shape[1]}" for kind, shape in shapes.items())
        raise CorruptedInputError(f"{path}: telescope {tel_id}: channels x pixels differ: {found}; expected the same")
    start, end, indices = find_intervals([(table.start, table.end) for table in tables], tolerance)
    if not len(start):
        return None
    medians, stds = ([getattr(t, name)[i] for t, i in zip(tables, indices, strict=True)] for name in ("median", "std"))
    return CameraData(
        start,
        end,
        PixelStatistics(medians[0], stds[0]),
        PixelStatistics(medians[1], stds[1]),
        medians[2],
        tables[0].selected,
    )


def read_chunks(path: Path, node: str) -> Chunks:
    """Read a table of statistics.

    Parameters
    ----------
    path : Path
        HDF5 file.
    node : str
        Path of the table.

    Raises
    ------
    CorruptedInputError
        If a column is missing or has another shape, a time is not finite, or a chunk ends before it begins.
    """
    table = read_table(path, node, ["time_start", "time_end", "median", "std"])
    where = f"{path}: table {node}"
    start, end, median, std = (take_numbers(table, name, where) for name in table.colnames)
    bad = ~(np.isfinite(start) & np.isfinite(end) & (start <= end)) if start.ndim == end.ndim == 1 else np.ones(1, bool)
    if bad.any() or not len(table):
        row = int(bad.argmax()) if len(table) else 0
        raise CorruptedInputError(
            f"{where} has "
            + (f"a chunk from {start[row]} to {end[row]} (row {row})" if len(table) else "no rows")
            + "; expected chunks with time_start before time_end"
        )
    if median.shape != std.shape or median.ndim not in (2, 3):
        raise CorruptedInputError(
            f"{where}: median of shape {median.shape[1:]}, std of shape {std.shape[1:]}; expected "
            "[channel, pixel] or [pixel]"
        )
    selected = median.ndim == 2
    if selected:
        median, std = median[:, None], std[:, None]
    return Chunks(start, end, median, std, selected)


def find_cameras(path: Path) -> dict[int, dict[str, str]]:
    """Find the telescopes that a file has statistics of.

    Parameters
    ----------
    path : Path
        HDF5 file.

    Returns
    -------
    dict of int to dict
        Paths of the tables by their kind, by the number of the telescope.

    Raises
    ------
    MissingInputError
        If there is no such table.
    """
    found: dict[int, dict[str, str]] = {}
    for kind in KINDS:
        for tel_id, node in list_telescopes(path, f"{STATISTICS}/{kind}").items():
            found.setdefault(tel_id, {})[kind] = node
    if not found:
        raise MissingInputError(f"{path} has no tables {STATISTICS}/{{{','.join(KINDS)}}}/tel_NNN; expected some")
    return dict(sorted(found.items()))


def read_types(path: Path) -> dict[int, str]:
    """Read the types of the telescopes.

    Parameters
    ----------
    path : Path
        HDF5 file.

    Returns
    -------
    dict of int to str
        Types such as ``"LST_LST_LSTCam"`` by telescope; empty if the file has no layout of the array.

    Raises
    ------
    CorruptedInputError
        If the layout lacks a column.
    """
    if not has_table(path, LAYOUT):
        return {}
    table = read_table(path, LAYOUT)
    name = "tel_description" if "tel_description" in table.colnames else "type"
    table = read_table(path, LAYOUT, ["tel_id", name])
    return {int(row["tel_id"]): str(row[name]) for row in table}


def read_b_term(path: Path, shape: tuple[int, int], channels: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Read the term of systematic noise in proportion to the signal.

    Parameters
    ----------
    path : Path
        HDF5 file with an array ``B_term``.
    shape : (int, int)
        Channels and pixels of the data.
    channels : tuple of int
        Channels of the data, of those of the camera.

    Returns
    -------
    array of float, shape (channels, pixels)

    Raises
    ------
    CorruptedInputError
        If it cannot be broadcast to the shape, or is not finite.
    """
    values = np.asarray(read_array(path, "/B_term"), dtype=float)
    # One value for each channel, or both channels of a camera of which one was measured.
    if values.ndim == 1 and len(values) != shape[1]:
        values = values[:, None]
    if values.ndim == 2 and len(values) == 2 and len(channels) == 1:
        values = values[list(channels)]
    try:
        broadcast = np.broadcast_to(values, shape)
    except ValueError as error:
        raise CorruptedInputError(
            f"{path}: B_term has the shape {values.shape}; expected one that fits {shape[0]} channels x {shape[1]} "
            "pixels"
        ) from error
    if not np.isfinite(broadcast).all():
        raise CorruptedInputError(f"{path}: B_term is not finite everywhere; expected numbers")
    return broadcast


def tabulate_coefficients(coefficients: CameraCoefficients, start: Times, end: Times) -> Table:
    """Make the table of the coefficients of a telescope.

    Parameters
    ----------
    coefficients : CameraCoefficients
        The coefficients.
    start, end : array of float, shape (intervals,)
        Times, MJD (TAI).

    Returns
    -------
    Table
        A row for each interval.
    """
    return Table(
        {
            "time": Time(start, format="mjd", scale="tai"),
            "time_end": Time(end, format="mjd", scale="tai"),
            "factor": Column(coefficients.factor, description="Photoelectrons per count"),
            "pedestal_offset": Column(coefficients.pedestal_offset, description="Pedestal, in counts per sample"),
            "time_shift": Column(coefficients.time_shift, description="Time of the pulse relative to the median pixel"),
            "outlier_mask": Column(coefficients.outlier_mask, description="Pixels without valid coefficients"),
            "extrapolated_channel_mask": Column(
                coefficients.extrapolated_channel_mask, description="Channels with the coefficients of the other one"
            ),
            "is_valid": Column(coefficients.is_valid, description="Few pixels are outliers"),
        }
    )


def _join_edges(times: Times, tolerance: float) -> Times:
    """Return the times that follow the last one returned by no less than the tolerance."""
    edges: list[float] = []
    position = 0
    while position < len(times):
        edges.append(float(times[position]))
        # Equal times are one even without a tolerance.
        position = max(int(np.searchsorted(times, edges[-1] + tolerance, side="left")), position + 1)
    return np.array(edges)
