"""Every array of the L0 and L1 formats: name, axes, type, unit and meaning, once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.store.schema import ProductArray, ProductSchema
from cal_pipeline.heterodyne.physics.flags import Flag

L1_SCHEMA_VERSION = "1.2"

CHANNEL, DUMP, RECEIVER, ARRAY, SUBSCAN, TERM = "channel", "dump", "receiver", "array", "subscan", "term"
OFF = "off"
C, D, R, A, S = CHANNEL, DUMP, RECEIVER, ARRAY, SUBSCAN


LARGEST_AXES = {CHANNEL: 2**22, DUMP: 2**20, RECEIVER: 2**12, ARRAY: 2**12, SUBSCAN: 2**20}
"""Largest length of each axis of the counts; a longer one is damage."""

MOST_SPECTRAL_SAMPLES = 2**32
"""Largest number of channels x receivers x arrays x subscans, of which several arrays are held in memory."""

MOST_COORDINATES = 2**24
"""Largest number of values of an array beside the counts."""


@dataclass(frozen=True)
class Lookalike:
    """A range of numbers that tells of another unit.

    Parameters
    ----------
    low, high : float
        The range, limits included.
    name : str
        Unit or convention that such numbers look like.
    """

    low: float
    high: float
    name: str


@dataclass(frozen=True)
class Coordinate:
    """An array of an L0 group beside the counts.

    Parameters
    ----------
    dims : tuple of tuple of str
        The axes it may have.
    kind : str
        ``"number"`` or ``"text"``.
    unit : str
        Unit.
    required : bool
        Whether a group without it cannot be calibrated.
    needed : str
        Subscans whose values are checked at reading: those of a key of
        :data:`~cal_pipeline.heterodyne.coordinates.NEEDED`; ``""`` if the steps check them.
    low, high : float
        Limits, not included, of the numbers; with `magnitude` those of their absolute values.
    magnitude : bool
        Whether the sign is free.
    unknown : str
        Numbers that stand for an unknown value and pass: ``""``, ``"NaN"`` or ``"NaN or 0"``.
    whole : bool
        Whether only whole numbers make sense.
    from_fill : bool
        Whether the array is its fill value where none of its chunks is stored.
    lookalikes : tuple of Lookalike
        Units that numbers beyond the limits are recognised by.
    """

    dims: tuple[tuple[str, ...], ...]
    kind: str
    unit: str
    required: bool = True
    needed: str = ""
    low: float = -math.inf
    high: float = math.inf
    magnitude: bool = False
    unknown: str = ""
    whole: bool = False
    from_fill: bool = False
    lookalikes: tuple[Lookalike, ...] = ()

    def takes_fill(self, fill: Any) -> bool:
        """Tell whether the fill value may stand for an array without any stored chunk.

        Arrays with 0 as a mark for unknown take only a fill value of 0 or NaN.
        """
        return self.from_fill and (self.unknown != "NaN or 0" or fill != fill or fill == 0)

    def is_sound(self, values: NDArray[np.float64]) -> bool:
        """Tell whether all numbers are within the limits or marked as unknown."""
        # Mostly the extremes tell: comparisons with NaN are false.
        if not self.magnitude and not self.whole and values.min() > self.low and values.max() < self.high:
            return True
        return not self.find_unsound(values).any()

    def find_unsound(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Find numbers that are neither within the limits nor marked as unknown."""
        size = np.abs(values) if self.magnitude else values
        unsound = ~((size > self.low) & (size < self.high))
        if self.whole:
            unsound |= values != np.floor(values)
        if self.unknown:
            unsound &= ~np.isnan(values)
        if self.unknown == "NaN or 0":
            unsound &= values != 0.0
        return unsound

    @property
    def expected(self) -> str:
        """The limits in words, with their unit."""
        noun = "temperatures" if self.unit == "K" else "whole numbers" if self.whole else "finite numbers"
        limits = [
            f"{word} {_in_words(limit)}{self._unit}"
            for word, limit in (("above", self.low), ("below", self.high))
            if math.isfinite(limit)
        ]
        words = noun + (" in size" if self.magnitude else "") + (f" {' and '.join(limits)}" if limits else "")
        return words + (f" ({self.unknown} where unknown)" if self.unknown else "")

    def describe(self, values: NDArray[np.float64]) -> str:
        """Show some numbers with their unit, the first ones of many."""
        flat = values.ravel()
        shown = ", ".join(
            f"{value:.9g}" if value % 1 or abs(value) > _PLAIN else f"{value:.1f}" for value in flat[:_SHOWN].tolist()
        )
        rest = f", ... ({flat.size} values)" if flat.size > _SHOWN else ""
        return f"[{shown}{rest}]{self._unit}"

    def guess_unit(self, values: NDArray[np.float64]) -> str:
        """Hint at the unit that unsound numbers seem to have; empty if none is recognised."""
        finite = values[np.isfinite(values)]
        size = np.abs(finite) if self.magnitude else finite
        for other in self.lookalikes if finite.size else ():
            if (size >= other.low).all() and (size <= other.high).all():
                return f"; they look like {other.name}: convert them{f' to {self.unit}' if self.unit else ''}"
        return ""

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""


_PLAIN = 1e16
"""Whole numbers up to which a message shows every digit."""

_SHOWN = 6
"""Numbers of an array that a message shows."""


def _in_words(limit: float) -> str:
    return "pi" if limit == math.pi else f"{limit:g}"


_HZ = (Lookalike(5.0, 1e4, "GHz"), Lookalike(1e4, 1e7, "MHz"), Lookalike(1e7, 5e9, "kHz"))
_CELSIUS = "degrees Celsius"


def _per_subscan(unit: str, needed: str = "", **settings: Any) -> Coordinate:
    return Coordinate(((S,),), "number", unit, needed=needed, **settings)


_SOBSMODE = Coordinate(((S,),), "text", "")
_PIXELS = Coordinate((("pixel",), (S,)), "text", "")

MJD = _per_subscan(
    "d",
    "observed",
    low=30_000.0,
    high=200_000.0,
    lookalikes=(
        Lookalike(15_000.0, 30_000.0, "truncated Julian dates (MJD = TJD + 40000)"),
        Lookalike(2.3e6, 2.6e6, "Julian dates (JD = MJD + 2400000.5)"),
        Lookalike(3e8, 4e9, "Unix time in seconds (MJD = seconds/86400 + 40587)"),
        Lookalike(4e9, 7e9, "MJD in seconds (divide by 86400)"),
        Lookalike(3e11, 4e12, "Unix time in milliseconds (MJD = ms/86400000 + 40587)"),
        Lookalike(3e14, 4e15, "Unix time in microseconds"),
        Lookalike(3e17, 4e18, "Unix time in nanoseconds"),
    ),
)
"""Times, which must be stored with 64 bits: modified Julian dates."""

TAMB = _per_subscan("K", low=100.0, high=400.0, lookalikes=(Lookalike(-100.0, 60.0, _CELSIUS),))
"""Ambient temperature; the step ``atmosphere`` checks OFFs, unless parameters replace it."""

_EXPTIME = _per_subscan("s", "observed", low=0.0, high=1000.0, lookalikes=(Lookalike(10.0, 1e7, "milliseconds"),))
_OFFSET_AXES = ((S,), (D, S))
_LONGITUDE = Coordinate(
    _OFFSET_AXES,
    "number",
    "deg",
    required=False,
    needed="on",
    high=360.0,
    magnitude=True,
    unknown="NaN",
    from_fill=True,
    lookalikes=(Lookalike(0.0, 1.3e6, "arcseconds"),),
)
_LATITUDE = replace(_LONGITUDE, high=90.0)

SOURCE_COORDINATES = {
    "sobsmode": _SOBSMODE,
    "mjd": MJD,
    "exptime": _EXPTIME,
    "elevation": _per_subscan(
        "rad", "observed", low=0.0, high=math.pi, lookalikes=(Lookalike(math.pi, 180.0, "degrees"),)
    ),
    "pamb": _per_subscan(
        "Torr",
        "observed",
        low=0.0,
        high=825.0,
        lookalikes=(Lookalike(825.0, 1100.0, "hPa (mbar)"), Lookalike(2e3, 1.1e5, "Pa")),
    ),
    "tamb": TAMB,
    "signal_freq": _per_subscan("Hz", "on", low=5e9, high=1e14, lookalikes=_HZ),
    "image_freq": _per_subscan("Hz", "on", low=5e9, high=1e14, unknown="NaN or 0", lookalikes=_HZ),
    "freq_res": _per_subscan(
        "Hz",
        "on",
        low=10.0,
        high=1e10,
        magnitude=True,
        lookalikes=(Lookalike(1e-3, 10.0, "MHz"), Lookalike(1e-7, 1e-3, "GHz")),
    ),
    "freq_off": _per_subscan("Hz", "on", from_fill=True),
    "ref_channel": _per_subscan("", "on", from_fill=True),
    "frontend_backends": _PIXELS,
    "lloadsn": _per_subscan("", "on", high=2.0**31, required=False, unknown="NaN", whole=True, from_fill=True),
    "otf_lon": _LONGITUDE,
    "otf_lat": _LATITUDE,
    "pixel_offset_lon": replace(_LONGITUDE, dims=((R, A, S),)),
    "pixel_offset_lat": replace(_LATITUDE, dims=((R, A, S),)),
}
"""Arrays of the ``source`` group that calibration reads."""

CALIBRATION_COORDINATES = {
    "sobsmode": _SOBSMODE,
    "mjd": replace(MJD, needed="loads", unknown="NaN"),
    "exptime": replace(_EXPTIME, needed="loads", high=3600.0, unknown="NaN or 0", from_fill=True),
    "thot": _per_subscan("K", low=80.0, high=1000.0, unknown="NaN", lookalikes=(Lookalike(-100.0, 80.0, _CELSIUS),)),
    "tcold": _per_subscan(
        "K", low=0.0, high=400.0, unknown="NaN or 0", lookalikes=(Lookalike(-273.15, 0.0, _CELSIUS),)
    ),
    "frontend_backends": _PIXELS,
}
"""Arrays of the ``calibration`` group that calibration reads."""

SCAN_ATTRIBUTES = (
    "scan_number",
    "source",
    "instmode",
    "telescope",
    "line",
    "rest_freq_hz",
    "velocity_source_kms",
    "date_obs",
)
"""Attributes of an L0 scan that the format names; all others are carried along as they are."""

TEXT_ATTRIBUTES = ("instmode", "telescope", "frontend")
"""Text attributes (null if unknown) of an L0 scan or band with an effect on its calibration."""

NUMBER_ATTRIBUTES = {"rest_freq_hz": "Hz", "velocity_source_kms": "km/s"}
"""Attributes of an L0 scan or band that are numbers, or null where unknown, and their units."""


_PER_FIT = ((), (R, A), (R, A, S))
_TAU = ((C,), (C, R, A), (C, R, A, S))
_CRA = ((C, R, A),)
_CRAS = ((C, R, A, S),)
_CDRAS = ((C, D, R, A, S),)

L1_ARRAYS = {
    "spectra": ProductArray(_CDRAS, "float64", "K", "antenna temperature T_A*", ("float32",)),
    "flags": ProductArray(_CDRAS, "uint16", "", "what is wrong with a sample; 0 is good data"),
    "t_sys": ProductArray(_CRAS, "float64", "K", "system temperature, double sideband"),
    "sigma": ProductArray(_CRAS, "float32", "K", "expected 1-sigma noise of one dump of T_A*"),
    "ref_share": ProductArray(
        ((OFF, R, A, S),), "float32", "", "part of sigma squared that is due to each OFF of the reference"
    ),
    "ref_off": ProductArray(((OFF, R, A, S),), "int32", "", "place in time of each OFF of the reference, -1: none"),
    "scale_error": ProductArray(_CRA, "float32", "", "relative 1-sigma error of the scale of T_A*"),
    "scale_error_terms": ProductArray(
        ((TERM, R, A),),
        "float32",
        "",
        "part of each term in scale_error, median over the channels",
    ),
    "t_int": ProductArray(((S,),), "float64", "s", "integration time on source"),
    "t_rec_ssb": ProductArray(_CRA, "float64", "K", "receiver temperature, single sideband"),
    "gamma": ProductArray(_CRA, "float64", "ct/K", "receiver gain, double sideband"),
    "t_cal": ProductArray(_CRA, "float64", "K", "calibration temperature"),
    "t_sky": ProductArray(_CRA, "float64", "K", "input temperature of the sky, mean over the OFFs"),
    "tau_signal": ProductArray(_TAU, "float64", "", "zenith opacity (Np), signal sideband"),
    "tau_image": ProductArray(_TAU, "float64", "", "zenith opacity (Np), image sideband"),
    "pwv": ProductArray(_PER_FIT, "float64", "mm", "precipitable water vapour"),
    "pwv_err": ProductArray(_PER_FIT, "float64", "mm", "statistical 1-sigma error of pwv"),
    "pwv_err_model": ProductArray(_PER_FIT, "float64", "mm", "1-sigma error of pwv from the opacity model"),
    "pwv_chi2": ProductArray(_PER_FIT, "float64", "", "reduced chi-squared of the pwv fit"),
    "sky_residual": ProductArray(_CRA, "float32", "K", "sky observed minus fitted, mean over the OFFs"),
    "signal_freqs": ProductArray(((C,),), "float64", "Hz", "sky frequency, signal sideband"),
    "image_freqs": ProductArray(((C,),), "float64", "Hz", "sky frequency, image sideband"),
    "mjd": ProductArray(((S,),), "float64", "days since 1858-11-17 00:00:00", "middle of the subscan"),
    "elevation": ProductArray(((S,),), "float64", "rad", "elevation"),
    "otf_lon": ProductArray(((D, S),), "float64", "deg", "longitude offset, true angle"),
    "otf_lat": ProductArray(((D, S),), "float64", "deg", "latitude offset"),
    "pixel_offset_lon": ProductArray(((R, A, S),), "float64", "deg", "longitude offset of the pixel, true angle"),
    "pixel_offset_lat": ProductArray(((R, A, S),), "float64", "deg", "latitude offset of the pixel"),
    "otf_airmass": ProductArray(((D, S),), "float64", "", "airmass"),
    "pixel": ProductArray(((R, A),), "str", "", "pixel id"),
}
"""Arrays of an L1 scan by name."""

L1_DIAGNOSTICS = {
    "skydiff": ProductArray(_CRA, "float64", "K", "empty sky minus that of an earlier scan, seen against the hot load"),
    "skychopdiff": ProductArray(
        _CRA, "float64", "K", "empty sky, first minus another chop phase, on the scale of T_A*"
    ),
}
"""Arrays ``spectrum_…`` of the groups below an L1 scan, by the group."""

L1_COORDINATES = {
    "signal_freqs": (C,),
    "image_freqs": (C,),
    "mjd": (S,),
    "elevation": (S,),
    "pixel": (R, A),
    "otf_lon": (D, S),
    "otf_lat": (D, S),
    "otf_airmass": (D, S),
    "pixel_offset_lon": (R, A, S),
    "pixel_offset_lat": (R, A, S),
}
"""Arrays that are coordinates of the others, and their axes."""

EXTRA_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "flags": {
        "flag_masks": [int(flag) for flag in Flag],
        "flag_meanings": " ".join(str(flag.name) for flag in Flag),
    },
    "mjd": {"calendar": "proleptic_gregorian", "standard_name": "time"},
}
"""Further attributes of some L1 arrays."""

L1 = ProductSchema(L1_ARRAYS, L1_COORDINATES, L1_DIAGNOSTICS, CHANNEL, EXTRA_ATTRIBUTES)
"""All arrays of an L1 scan."""


class Described(NamedTuple):
    """Array of a scan with attributes that only the step which makes it knows.

    Parameters
    ----------
    values : ndarray or callable
        The array, or a function that makes it.
    attributes : dict
        Attributes besides those of the schema, ready for JSON.
    """

    values: NDArray[Any] | Callable[[], NDArray[Any]]
    attributes: dict[str, Any]


L1Arrays = dict[str, NDArray[Any] | Callable[[], NDArray[Any]] | Described]
"""Arrays by their L1 names, functions that make them, or either with attributes; converted to the types of L1."""
