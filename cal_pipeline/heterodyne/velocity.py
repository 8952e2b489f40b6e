"""Velocities of the channels of an L1 scan in a standard of rest, from site and pointing in L1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import MissingInputError
from cal_pipeline.core.parameters.messages import suggest
from cal_pipeline.core.text import make_printable
from cal_pipeline.heterodyne.physics.velocity import (
    FRAMES,
    SKY_FRAMES,
    VELOCITY_CONVENTIONS,
    convert_to_icrs,
    convert_to_velocity,
    find_direction,
    find_frequency_ratio,
    find_site_velocity,
)

if TYPE_CHECKING:
    import xarray

Floats = NDArray[np.float64]

_SITE = ("site_lon_deg", "site_lat_deg", "site_alt_m")
_SOURCE = ("source_lon_deg", "source_lat_deg")

_MJD_EPOCH = np.datetime64("1858-11-17T00:00:00", "ns")
_OFFSETS = {"lon": ("otf_lon", "pixel_offset_lon"), "lat": ("otf_lat", "pixel_offset_lat")}


@dataclass(frozen=True)
class Pointing:
    """Place, time and direction of a scan.

    Parameters
    ----------
    mjd : float
        Time, a modified Julian date in UTC [d].
    site : tuple of float
        East longitude [deg], latitude [deg] and altitude [m].
    direction : ndarray, shape (3,)
        Unit vector to the sky that was observed, on ICRS axes.
    """

    mjd: float
    site: tuple[float, float, float]
    direction: Floats

    def find_ratio(self, frame: str) -> float:
        """Compute the frequency in a standard of rest over that at the telescope.

        Parameters
        ----------
        frame : str
            ``"lsrk"``, ``"lsrd"``, ``"barycent"`` or ``"topocent"``.

        Raises
        ------
        ValueError
            If the frame is unknown, or the time outside the years 1900 to 2099.
        """
        frame = check_name(frame, FRAMES, "frame")
        return float(find_frequency_ratio(find_site_velocity(self.mjd, *self.site), self.direction, frame))


def check_name(name: str, known: Mapping[str, Any], what: str) -> str:
    """Return a name in small letters, if known.

    Parameters
    ----------
    name : str
        Name.
    known : mapping
        Known names, in small letters.
    what : str
        Parameter, for the message.

    Raises
    ------
    ValueError
        If the name is unknown; the message suggests one.
    """
    if str(name).lower() not in known:
        raise ValueError(f"{what} is {name!r:.80}{suggest(str(name).lower(), list(known))}")
    return str(name).lower()


def find_velocities(
    frequencies: NDArray[Any],
    rest_frequency: float,
    pointing: Pointing | None = None,
    frame: str = "lsrk",
    convention: str = "radio",
) -> Floats:
    """Compute the velocity of each channel in a standard of rest.

    Parameters
    ----------
    frequencies : ndarray, shape (C,)
        Sky frequencies at the telescope, ``signal_freqs`` of L1 [Hz].
    rest_frequency : float
        Rest frequency of the line [Hz].
    pointing : Pointing, optional
        Place, time and direction; not needed for the frame ``"topocent"``.
    frame : {"lsrk", "lsrd", "barycent", "topocent"}
        Standard of rest, by its name in FITS.
    convention : {"radio", "optical", "relativistic"}
        Definition of the velocity.

    Returns
    -------
    ndarray, shape (C,)
        Velocities [km/s]; they grow with recession.

    Raises
    ------
    ValueError
        If frame or convention is unknown, or the time outside the years 1900 to 2099.

    Notes
    -----
    The motion of the telescope is that of :mod:`cal_pipeline.heterodyne.physics.velocity`. No table of the Earth's
    rotation is read, and none is downloaded.

    Examples
    --------
    >>> from cal_pipeline.heterodyne.physics.velocity import find_direction
    >>> orion = Pointing(60310.0, (-67.74, -22.99, 5612.0), find_direction(83.82, -5.39))
    >>> frequency = np.array([461.0e9])
    >>> [find_velocities(frequency, 461.0e9, orion, to).round(1).item() for to in ("topocent", "barycent", "lsrk")]
    [0.0, -7.3, -25.4]
    """
    frame = check_name(frame, FRAMES, "frame")
    convention = check_name(convention, VELOCITY_CONVENTIONS, "convention")
    ratio = 1.0 if frame == "topocent" or pointing is None else pointing.find_ratio(frame)
    return convert_to_velocity(np.asarray(frequencies, np.float64) * ratio, rest_frequency, convention)


def find_rest_frequency(dataset: xarray.Dataset, given: float | None = None) -> float:
    """Return the rest frequency of the line of an L1 scan.

    Parameters
    ----------
    dataset : xarray.Dataset
        L1 scan.
    given : float, optional
        Rest frequency in place of the scan's own [Hz].

    Returns
    -------
    float
        Rest frequency [Hz].

    Raises
    ------
    MissingInputError
        If it is neither given nor known.
    """
    rest = dataset.attrs.get("rest_freq_hz") if given is None else given
    if rest is None or not _is_number(rest) or not rest > 0.0:
        raise MissingInputError(
            f"{_label(dataset)}: no velocity without the rest frequency of a line; attribute rest_freq_hz is "
            f"{make_printable(repr(rest))}, expected a positive number of Hz; give rest_frequency"
        )
    return float(rest)


def read_pointing(dataset: xarray.Dataset, attributes: Mapping[str, Any] | None = None) -> Pointing:
    """Read place, time and direction of an L1 scan.

    Parameters
    ----------
    dataset : xarray.Dataset
        L1 scan, or a part of one (of some pixels or subscans).
    attributes : mapping, optional
        Attributes of the scan where those of the dataset are not as recorded.

    Returns
    -------
    Pointing
        Mean time of the subscans; position of the source, moved by the mean of the map offsets and of the offsets of
        the pixels, where L1 has them.

    Raises
    ------
    MissingInputError
        If L1 lacks what it takes; the message names the attributes.
    ValueError
        If ``coord_frame`` is not known; the message suggests one.

    Examples
    --------
    >>> from cal_pipeline import CalibratedSession
    >>> read_pointing(CalibratedSession("l1.zarr").open_scan(1)).site
    (-67.740278, -22.985917, 5612.0)
    """
    recorded = dataset.attrs if attributes is None else attributes
    held = {**_mapping(recorded.get("scan_metadata")), **recorded}
    missing = [name for name in (*_SITE, *_SOURCE) if not _is_number(held.get(name))]
    missing += [] if held.get("coord_frame") else ["coord_frame"]
    if missing:
        raise MissingInputError(
            f"{_label(dataset)}: no velocity in a standard of rest without {', '.join(missing)}, absent from its "
            'attributes; frame="topocent" needs neither site nor pointing'
        )
    frame = check_name(str(held["coord_frame"]), SKY_FRAMES, f"{_label(dataset)}: attribute coord_frame")
    source = [float(held[name]) for name in _SOURCE]
    offsets = [sum(_mean_of(dataset, name) for name in names) for names in _OFFSETS.values()]
    direction = convert_to_icrs(find_direction(*source, *offsets), frame)
    lon, lat, alt = (float(held[name]) for name in _SITE)
    return Pointing(float(np.mean(read_mjd(dataset))), (lon, lat, alt), direction)


def read_mjd(dataset: xarray.Dataset) -> Floats:
    """Read the times of the subscans of an L1 scan.

    Parameters
    ----------
    dataset : xarray.Dataset
        L1 scan.

    Returns
    -------
    ndarray, shape (S,)
        Modified Julian dates, UTC [d].
    """
    times = dataset["mjd"].values
    if np.issubdtype(times.dtype, np.datetime64):
        return np.asarray((times - _MJD_EPOCH) / np.timedelta64(1, "ns") / 86_400e9, np.float64)
    return np.asarray(times, np.float64)


def _mean_of(dataset: xarray.Dataset, name: str) -> float:
    """Compute the mean of the known offsets; 0 where there are none."""
    values = np.asarray(dataset[name].values if name in dataset.variables else (), np.float64)
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else 0.0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _label(dataset: xarray.Dataset) -> str:
    return f"scan {dataset.attrs.get('scan_number')}"
