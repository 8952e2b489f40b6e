"""Spectra of an L1 scan as rows: one dump of one pixel each, subscan by subscan."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import DataReadError
from cal_pipeline.heterodyne.export.header import Header
from cal_pipeline.heterodyne.modes import MODES
from cal_pipeline.heterodyne.physics.velocity import (
    C_KMS,
    FIRST_MJD,
    LAST_MJD,
    convert_to_icrs,
    find_direction,
    find_frequency_ratio,
    find_site_velocity,
)
from cal_pipeline.heterodyne.velocity import read_mjd

if TYPE_CHECKING:
    import xarray

Floats = NDArray[np.float64]

_SMALL = ("mjd", "t_int", "elevation", "pwv", "otf_lon", "otf_lat", "pixel_offset_lon", "pixel_offset_lat", "pixel")

_CHUNKS = "preferred_chunks"
_MOST_CHANNELS = 4096
_MS_A_DAY = 86_400_000.0
_EPOCH = np.datetime64("1858-11-17T00:00:00.000", "ms")


@dataclass(frozen=True)
class Rows:
    """Spectra of one subscan, and their facts.

    Parameters
    ----------
    t_a : ndarray of float32, shape (N, C)
        T_A* [K]; NaN where there is none.
    flags : ndarray of uint16, shape (N, C)
        Flags of the samples.
    facts : dict
        Arrays of N values, or single values that hold for all rows; NaN and ``""`` where not known.
    """

    t_a: NDArray[np.float32]
    flags: NDArray[np.uint16]
    facts: dict[str, Any]

    def __len__(self) -> int:
        return len(self.t_a)


def read_pixel_names(dataset: xarray.Dataset) -> NDArray[np.str_]:
    """Read the names of the pixels, shape (R, A)."""
    values = dataset["pixel"].values
    # NumPy casts no StringDType to texts of fixed length.
    return np.array(values.tolist(), np.str_).reshape(values.shape)


def select_pixels(dataset: xarray.Dataset, wanted: frozenset[str] | None) -> NDArray[np.intp]:
    """Select pixels by their names.

    Parameters
    ----------
    dataset : xarray.Dataset
        L1 scan.
    wanted : frozenset of str, or None
        Names; all if None.

    Returns
    -------
    ndarray of int, shape (P, 2)
        Positions (receiver, array).
    """
    names = read_pixel_names(dataset)
    chosen = np.ones(names.shape, np.bool_) if wanted is None else np.isin(names, sorted(wanted))
    return np.argwhere(chosen)


def read_rows(dataset: xarray.Dataset, header: Header, pixels: NDArray[np.intp]) -> Iterator[Rows]:
    """Read the spectra of a scan, one subscan at a time.

    Spectra without any number, such as those of missing dumps and dead pixels, are left out.

    Parameters
    ----------
    dataset : xarray.Dataset
        L1 scan or band.
    header : Header
        Its common facts.
    pixels : ndarray of int, shape (P, 2)
        Pixels to read (receiver, array).

    Yields
    ------
    Rows
        Ordered by pixel, then dump.

    Raises
    ------
    DataReadError
        If samples cannot be read, or lack a value without a flag that says why.
    """
    held = {name: dataset[name].dims for name in _SMALL if name in dataset.variables}
    # Arrays without channels are read once, not for each subscan.
    dataset = dataset.assign({name: (dims, _read(dataset, name, header.name)) for name, dims in held.items()})
    times = read_mjd(dataset)
    for subscan in range(dataset.sizes["subscan"]):
        t_a, flags, valid = _read_samples(dataset, header.name, subscan, pixels)
        facts = _find_facts(dataset, header, subscan, pixels, valid, times[subscan])
        kept = np.isfinite(t_a).any(axis=1)
        facts = {key: value[kept] if np.ndim(value) else value for key, value in facts.items()}
        # The usual case makes no copy.
        yield Rows(t_a, flags, facts) if kept.all() else Rows(t_a[kept], flags[kept], facts)


def _read_samples(
    dataset: xarray.Dataset, name: str, subscan: int, pixels: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.uint16], NDArray[np.bool_]]:
    """Read T_A* and flags [P·D,C] of a subscan, and the dumps with any number, chunk by chunk."""
    n_channels, n_dumps = dataset.sizes["channel"], dataset.sizes["dump"]
    t_a = np.empty((len(pixels), n_dumps, n_channels), np.float32)
    flags = np.empty(t_a.shape, np.uint16)
    valid = np.zeros(n_dumps, np.bool_)
    receivers, arrays = pixels.T
    step = int(dataset["spectra"].encoding.get(_CHUNKS, {}).get("channel", _MOST_CHANNELS))
    for first in range(0, n_channels, step):
        part = slice(first, first + step)
        samples = _read(dataset, "spectra", name, channel=part, subscan=subscan)
        bits = _read(dataset, "flags", name, channel=part, subscan=subscan)
        lost = ~np.isfinite(samples)
        if (lost & (bits == 0)).any():
            raise DataReadError(
                f"{name}: {np.count_nonzero(lost & (bits == 0))} samples of subscan {subscan} have neither a value "
                "nor a flag that says why, expected one of both; calibrate check finds what is damaged"
            )
        valid |= ~lost.all(axis=(0, 2, 3))
        # Rows are spectra, and L1 begins with the channel.
        t_a[:, :, part] = samples[:, :, receivers, arrays].transpose(2, 1, 0)
        flags[:, :, part] = bits[:, :, receivers, arrays].transpose(2, 1, 0)
    return t_a.reshape(-1, n_channels), flags.reshape(-1, n_channels), valid


def _read(dataset: xarray.Dataset, array: str, name: str, **at: Any) -> NDArray[Any]:
    """Read a part of an array of L1."""
    try:
        return np.asarray(
            dataset[array].isel({axis: i for axis, i in at.items() if axis in dataset[array].dims}).values
        )
    except MemoryError:
        raise
    except Exception as error:
        raise DataReadError(f"{name}: {array} cannot be read: {type(error).__name__}: {error}") from error


def _find_facts(
    dataset: xarray.Dataset,
    header: Header,
    subscan: int,
    pixels: NDArray[np.intp],
    valid: NDArray[np.bool_],
    middle: float,
) -> dict[str, Any]:
    """Find what goes with the spectra of a subscan, in the order of the rows."""
    receivers, arrays = pixels.T
    n_dumps = valid.size

    def each_pixel(values: Any) -> NDArray[Any]:
        return np.repeat(np.asarray(values), n_dumps)

    exposure = float(_read(dataset, "t_int", header.name, subscan=subscan)) / max(int(valid.sum()), 1)
    mjd = np.tile(_time_dumps(middle, exposure, valid, header.text["mode"]), len(pixels))
    names = read_pixel_names(dataset)
    efficiency = header.forward_efficiency
    facts = {
        "subscan": subscan,
        "dump": np.tile(np.arange(n_dumps), len(pixels)),
        "receiver": each_pixel(receivers),
        "array": each_pixel(arrays),
        "pixel": each_pixel(names[receivers, arrays]),
        "mjd": mjd,
        "date": _format_dates(mjd),
        "seconds": (mjd % 1.0) * 86_400.0,
        "exposure": exposure,
        "elevation": math.degrees(float(_read(dataset, "elevation", header.name, subscan=subscan))),
        "t_sys": each_pixel(_median_of_good(dataset, header.name, "t_sys", subscan, pixels)),
        "sigma": each_pixel(_median_of_good(dataset, header.name, "sigma", subscan, pixels)),
        "tau": each_pixel(_median(dataset, header.name, "tau_signal", subscan, pixels)),
        "pwv": each_pixel(_median(dataset, header.name, "pwv", subscan, pixels)),
        "forward_efficiency": each_pixel([efficiency[a] if len(efficiency) > a else efficiency[0] for a in arrays]),
    }
    return facts | _find_positions(dataset, header, subscan, pixels, middle)


def _time_dumps(middle: float, exposure: float, valid: NDArray[np.bool_], mode: str) -> Floats:
    """Estimate the middle of each dump (MJD) [d]: one after the other around the middle of the subscan.

    The dumps of chopped scans are phases of the chopper, which are spread over the subscan.
    """
    last = int(np.flatnonzero(valid)[-1]) if valid.any() else 0
    is_chopped = mode in MODES and MODES[mode].per_dump
    apart = 0.0 if is_chopped else exposure / 86_400.0
    return np.asarray(middle + (np.arange(valid.size) - 0.5 * last) * apart, np.float64)


def _format_dates(mjd: Floats) -> NDArray[np.str_]:
    """Format times (MJD) as ISO 8601 to a millisecond; empty where not finite."""
    known = np.isfinite(mjd)
    moments = _EPOCH + np.round(np.where(known, mjd, 0.0) * _MS_A_DAY).astype("timedelta64[ms]")
    return np.where(known, np.datetime_as_string(moments), "")


def _median_of_good(
    dataset: xarray.Dataset, name: str, array: str, subscan: int, pixels: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Compute the median over good channels, those with a finite `sigma`, of each pixel."""
    receivers, arrays = pixels.T
    values = _read(dataset, array, name, subscan=subscan)[:, receivers, arrays].astype(np.float64)
    good = np.isfinite(_read(dataset, "sigma", name, subscan=subscan)[:, receivers, arrays])
    return _nanmedian(np.where(good, values, np.nan))


def _median(
    dataset: xarray.Dataset, name: str, array: str, subscan: int, pixels: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Compute the median over the channels of an array that may not depend on pixel or subscan."""
    if array not in dataset.variables:
        return np.full(len(pixels), np.nan)
    values = _read(dataset, array, name, subscan=subscan).astype(np.float64)
    if dataset[array].dims[:1] != ("channel",):
        values = values[None]
    if values.ndim == 1:
        return np.full(len(pixels), _nanmedian(values[:, None])[0])
    return _nanmedian(values[:, pixels[:, 0], pixels[:, 1]])


def _nanmedian(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the median over the first axis; NaN without any number."""
    empty = ~np.isfinite(values).any(axis=0)
    # NumPy warns of columns without any number.
    return np.asarray(np.where(empty, np.nan, np.nanmedian(np.where(empty, 0.0, values), axis=0)), np.float64)


def _find_positions(
    dataset: xarray.Dataset, header: Header, subscan: int, pixels: NDArray[np.intp], middle: float
) -> dict[str, Any]:
    """Find direction and motion of each row."""
    offset_lon, offset_lat = (_find_offsets(dataset, header.name, axis, subscan, pixels) for axis in ("lon", "lat"))
    found: dict[str, Any] = {"offset_lon": offset_lon, "offset_lat": offset_lat}
    for key in ("lon", "lat", "ratio"):
        found[key] = np.full(offset_lon.size, np.nan)
    if header.sky is None:
        return found | {"centre_lon": math.nan, "centre_lat": math.nan}
    # The last direction is that of the centre.
    offsets = (np.append(offset, 0.0) for offset in (offset_lon, offset_lat))
    native = find_direction(header.sky.longitude, header.sky.latitude, *offsets)
    icrs = convert_to_icrs(native, header.sky.frame)
    x, y, z = (icrs if header.sky.is_galactic else native).T
    lon, lat = np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))
    found |= {"lon": lon[:-1], "lat": lat[:-1], "centre_lon": float(lon[-1]), "centre_lat": float(lat[-1])}
    if header.has_frame and FIRST_MJD <= middle <= LAST_MJD:
        found["ratio"] = find_frequency_ratio(find_site_velocity(middle, *header.site), icrs[:-1], "lsrk")
    return found


def _find_offsets(
    dataset: xarray.Dataset, name: str, axis: str, subscan: int, pixels: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Add the offsets of dumps and pixels [deg]; those that were not recorded are 0."""
    dumps = np.zeros(dataset.sizes["dump"])
    if f"otf_{axis}" in dataset.variables:
        dumps = _read(dataset, f"otf_{axis}", name, subscan=subscan)
    own = np.zeros(len(pixels))
    if f"pixel_offset_{axis}" in dataset.variables:
        own = _read(dataset, f"pixel_offset_{axis}", name, subscan=subscan)[pixels[:, 0], pixels[:, 1]]
    return np.asarray((own[:, None] + dumps).ravel(), np.float64)


def find_frame_velocity(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the velocity of a standard of rest relative to the telescope, away from it along the line of sight.

    Parameters
    ----------
    ratio : ndarray
        Frequencies in the standard of rest over those at the telescope.

    Returns
    -------
    ndarray
        Velocity [m/s], of the relativistic Doppler effect: ratio² = (c + v)/(c - v).

    Examples
    --------
    >>> find_frame_velocity(np.array([1.0, 1.0001])).round(1).tolist()
    [0.0, 29977.7]
    """
    square = np.square(ratio)
    return np.asarray(1e3 * C_KMS * (square - 1.0) / (square + 1.0))
