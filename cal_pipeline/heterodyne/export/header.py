"""Facts that all spectra of a band share, read from an L1 scan for an export."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.parameters.messages import suggest
from cal_pipeline.core.text import make_printable
from cal_pipeline.heterodyne.physics.velocity import SKY_FRAMES

if TYPE_CHECKING:
    import xarray

Floats = NDArray[np.float64]

NEEDED = ("spectra", "flags", "t_sys", "sigma", "t_int", "signal_freqs", "mjd", "elevation", "pixel")
"""Arrays without which no spectrum is exported."""

_LINEAR = 1e-3
"""Largest distance of a channel from the linear frequency axis, in channels."""


@dataclass(frozen=True)
class FrequencyAxis:
    """Linear axis of topocentric frequencies.

    Parameters
    ----------
    n_channels : int
        Number of channels.
    channel : float
        Reference channel, counted from 1 as in FITS.
    frequency : float
        Frequency there [Hz].
    step : float
        Frequency from one channel to the next [Hz]; NaN for a single channel.

    Examples
    --------
    >>> FrequencyAxis.fit(np.array([1.0e9, 1.1e9, 1.2e9, 1.3e9]), "scan 1")
    FrequencyAxis(n_channels=4, channel=3.0, frequency=1200000000.0, step=100000000.0)
    """

    n_channels: int
    channel: float
    frequency: float
    step: float

    @classmethod
    def fit(cls, frequencies: Floats, name: str) -> FrequencyAxis:
        """Describe frequencies by reference and step.

        Parameters
        ----------
        frequencies : ndarray, shape (C,)
            Frequencies [Hz].
        name : str
            Name of the scan, for messages.

        Raises
        ------
        LayoutError
            If they are not finite or not linear in the channel.
        """
        n = frequencies.size
        middle = n // 2
        value = float(frequencies[middle])
        step = float(frequencies[-1] - frequencies[0]) / (n - 1) if n > 1 else math.nan
        off = np.abs(value + (np.arange(n) - middle) * step - frequencies).max() if n > 1 else 0.0
        if not math.isfinite(value) or not off <= _LINEAR * abs(step if n > 1 else 1.0):
            raise LayoutError(
                f"{name}: signal_freqs are up to {off:.6g} Hz from a linear axis, expected {_LINEAR:g} channels or less"
            )
        return cls(n, middle + 1.0, value, step)


@dataclass(frozen=True)
class Sky:
    """Centre of the map of a scan.

    Parameters
    ----------
    frame : str
        Frame of its coordinates, a key of :data:`~cal_pipeline.heterodyne.physics.velocity.SKY_FRAMES`.
    longitude, latitude : float
        Coordinates [deg].
    """

    frame: str
    longitude: float
    latitude: float

    @property
    def is_galactic(self) -> bool:
        """Tell galactic coordinates from equatorial ones."""
        return self.frame == "galactic"

    @property
    def system(self) -> tuple[str, float]:
        """Name of the frame in FITS (RADESYS), and its equinox, of absolute positions: ICRS for galactic ones."""
        return _SYSTEMS.get(self.frame, ("ICRS", 2000.0))


_SYSTEMS = {"fk5": ("FK5", 2000.0), "j2000": ("FK5", 2000.0), "fk4": ("FK4", 1950.0), "b1950": ("FK4", 1950.0)}

ICRS = Sky("icrs", math.nan, math.nan)
"""Frame of positions that are not known."""


@dataclass(frozen=True)
class Header:
    """Facts that all spectra of a band share; numbers are NaN and texts empty where they are not known.

    Parameters
    ----------
    name : str
        Name of scan and band, for messages.
    scan, band : int
        Numbers of both.
    text : dict
        ``object``, ``line``, ``telescope``, ``frontend``, ``project``, ``mode`` and ``instmode``.
    axis : FrequencyAxis
        Topocentric frequencies of the signal sideband.
    image_frequency : float
        Frequency of the image sideband at the reference channel [Hz].
    rest_frequency, source_velocity : float
        Rest frequency of the line [Hz], velocity of the source [m/s].
    site : tuple of float
        East longitude [deg], latitude [deg] and altitude [m] of the telescope.
    sky : Sky or None
        Centre of the map.
    forward_efficiency : tuple of float
        One a array, or one for all.
    notes : tuple of str
        What is not known, and what becomes of it.
    """

    name: str
    scan: int
    band: int
    text: dict[str, str]
    axis: FrequencyAxis
    image_frequency: float
    rest_frequency: float
    source_velocity: float
    site: tuple[float, float, float]
    sky: Sky | None
    forward_efficiency: tuple[float, ...]
    notes: tuple[str, ...]

    @property
    def has_frame(self) -> bool:
        """Tell whether site and direction are finite, as velocities in the local standard of rest require."""
        return self.sky is not None and all(map(math.isfinite, self.site))


def read_header(dataset: xarray.Dataset, scan: int, group: str, rest_frequency: float | None = None) -> Header:
    """Read the facts that all spectra of a band share.

    Parameters
    ----------
    dataset : xarray.Dataset
        L1 scan or band.
    scan : int
        Scan number.
    group : str
        Path of the group: ``scan_000001`` or ``scan_000001/band_0``.
    rest_frequency : float, optional
        Rest frequency in place of the recorded one [Hz].

    Returns
    -------
    Header

    Raises
    ------
    LayoutError
        If an array is missing or the frequencies are not linear.
    """
    name = f"scan {scan}" + (f", {group.partition('/')[2]}" if "/" in group else "")
    missing = [array for array in NEEDED if array not in dataset.variables]
    if missing:
        raise LayoutError(f"{name} lacks {', '.join(missing)}, expected the arrays of an L1 scan; calibrate it again")
    held = {**_mapping(dataset.attrs.get("scan_metadata")), **dataset.attrs}
    notes: list[str] = []
    axis = FrequencyAxis.fit(np.asarray(dataset["signal_freqs"].values, np.float64), name)
    rest = _number(held.get("rest_freq_hz") if rest_frequency is None else rest_frequency)
    if not rest > 0.0:
        rest = math.nan
        notes.append(f"{name}: the rest frequency is not known (attribute rest_freq_hz); give rest_frequency")
    header = Header(
        name=name,
        scan=scan,
        band=int(group.rpartition("_")[2]) if "/" in group else 0,
        text={key: _text(held.get(source)) for key, source in _TEXTS.items()},
        axis=axis,
        image_frequency=_image_frequency(dataset, axis),
        rest_frequency=rest,
        source_velocity=_number(held.get("velocity_source_kms")) * 1e3,
        site=(_number(held.get("site_lon_deg")), _number(held.get("site_lat_deg")), _number(held.get("site_alt_m"))),
        sky=_read_sky(held, name, notes),
        forward_efficiency=_efficiencies(dataset),
        notes=(),
    )
    if not header.has_frame:
        notes.append(f"{name}: site or direction is not known, so velocities in the local standard of rest are blank")
    if math.isnan(header.source_velocity):
        notes.append(f"{name}: the velocity of the source is not known (velocity_source_kms); 0 is written")
    return Header(**{**vars(header), "notes": tuple(notes)})


_TEXTS = {
    "object": "source",
    "line": "line",
    "telescope": "telescope",
    "frontend": "frontend",
    "project": "project",
    "mode": "mode",
    "instmode": "instmode",
}
"""Attributes of L1 by their names in a header."""


def _read_sky(held: Mapping[str, Any], name: str, notes: list[str]) -> Sky | None:
    """Read the centre of the map; None, with a note, if it is not known."""
    lon, lat, frame = (held.get(key) for key in ("source_lon_deg", "source_lat_deg", "coord_frame"))
    known = str(frame).lower() if frame else ""
    if known in SKY_FRAMES and math.isfinite(_number(lon)) and abs(_number(lat)) <= _POLE:
        return Sky(known, _number(lon) % 360.0, _number(lat))
    what = "source_lon_deg, source_lat_deg, coord_frame"
    odd = f"; coord_frame is {make_printable(frame)!r:.80}{suggest(known, list(SKY_FRAMES))}" if known else ""
    notes.append(f"{name}: positions are blank, as the centre of the map is not known ({what}{odd})")
    return None


_POLE = 90.0


def _image_frequency(dataset: xarray.Dataset, axis: FrequencyAxis) -> float:
    if "image_freqs" not in dataset.variables:
        return math.nan
    return _number(dataset["image_freqs"].values[int(axis.channel) - 1])


def _efficiencies(dataset: xarray.Dataset) -> tuple[float, ...]:
    found = _mapping(dataset.attrs.get("provenance")).get("forward_efficiency")
    values = found if isinstance(found, list) else [found]
    return tuple(map(_number, values)) or (math.nan,)


def _number(value: Any) -> float:
    """Return a finite number; NaN for anything else."""
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else math.nan


def _text(value: Any) -> str:
    return "" if value is None else make_printable(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
