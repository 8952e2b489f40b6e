"""Every array of the L0 and L1 formats: name, axes, type, unit and meaning, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cal_pipeline.physics.flags import Flag

L1_SCHEMA_VERSION = "1.0"

CHANNEL, DUMP, RECEIVER, ARRAY, SUBSCAN = "channel", "dump", "receiver", "array", "subscan"
C, D, R, A, S = CHANNEL, DUMP, RECEIVER, ARRAY, SUBSCAN

FILL_COUNT = -(2**31)
"""Count that stands for a missing dump."""


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
    """

    dims: tuple[tuple[str, ...], ...]
    kind: str
    unit: str
    required: bool


def _per_subscan(unit: str, kind: str = "number", required: bool = True) -> Coordinate:
    return Coordinate(((S,),), kind, unit, required)


_FREQUENCY_AXIS = {
    "signal_freq": _per_subscan("Hz"),
    "image_freq": _per_subscan("Hz"),
    "freq_res": _per_subscan("Hz"),
    "freq_off": _per_subscan("Hz"),
    "ref_channel": _per_subscan(""),
}

SOURCE_COORDINATES = {
    "sobsmode": _per_subscan("", kind="text"),
    "mjd": _per_subscan("d"),
    "exptime": _per_subscan("s"),
    "elevation": _per_subscan("rad"),
    "pamb": _per_subscan("Torr"),
    "tamb": _per_subscan("K"),
    **_FREQUENCY_AXIS,
    "frontend_backends": Coordinate((("pixel",), (S,)), "text", "", True),
    "lloadsn": _per_subscan("", required=False),
    "otf_lon": Coordinate(((S,), (D, S)), "number", "deg", False),
    "otf_lat": Coordinate(((S,), (D, S)), "number", "deg", False),
}
"""Arrays of the ``source`` group that calibration reads."""

CALIBRATION_COORDINATES = {
    "sobsmode": _per_subscan("", kind="text"),
    "mjd": _per_subscan("d"),
    "exptime": _per_subscan("s"),
    "thot": _per_subscan("K"),
    "tcold": _per_subscan("K"),
    "frontend_backends": Coordinate((("pixel",), (S,)), "text", "", True),
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


@dataclass(frozen=True)
class ProductArray:
    """An array of an L1 scan.

    Parameters
    ----------
    dims : tuple of tuple of str
        The axes it may have.
    dtype : str
        NumPy type, or ``"str"``.
    units : str
        Unit that astropy parses in its default, FITS and VOUnit formats, or CF time.
    long_name : str
        What it is.
    """

    dims: tuple[tuple[str, ...], ...]
    dtype: str
    units: str
    long_name: str

    def dims_of(self, ndim: int) -> tuple[str, ...]:
        """Axes of an array with `ndim` of them."""
        for dims in self.dims:
            if len(dims) == ndim:
                return dims
        raise ValueError(f"{self.long_name}: {ndim} axes, expected one of {self.dims}")


_PER_FIT = ((), (R, A), (R, A, S))
_TAU = ((C,), (C, R, A), (C, R, A, S))
_CRA = ((C, R, A),)
_CRAS = ((C, R, A, S),)
_CDRAS = ((C, D, R, A, S),)

L1_ARRAYS = {
    "spectra": ProductArray(_CDRAS, "float64", "K", "antenna temperature T_A*"),
    "flags": ProductArray(_CDRAS, "uint16", "", "what is wrong with a sample; 0 is good data"),
    "t_sys": ProductArray(_CRAS, "float64", "K", "system temperature, double sideband"),
    "sigma": ProductArray(_CRAS, "float32", "K", "expected 1-sigma noise of one dump of T_A*"),
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


def product_array(name: str) -> ProductArray:
    """What an L1 array is, by its name or, in the group of a diagnostic, its path."""
    group, _, array = name.partition("/")
    if array.startswith("spectrum_"):
        return L1_DIAGNOSTICS[group]
    return L1_ARRAYS[array or group]


def array_attributes(name: str, dims: tuple[str, ...], present: set[str]) -> dict[str, Any]:
    """CF attributes of an L1 array.

    Parameters
    ----------
    name : str
        Name of the array; its path in the scan where it is part of a diagnostic.
    dims : tuple of str
        Its axes.
    present : set of str
        Names of all arrays of the group.

    Returns
    -------
    dict
        ``long_name``, ``units``, ``coordinates`` (of a data variable) and what else CF wants for it.
    """
    spec = product_array(name)
    attributes: dict[str, Any] = {"long_name": spec.long_name, "units": spec.units}
    if name.rpartition("/")[2] not in L1_COORDINATES:
        coordinates = [c for c, axes in L1_COORDINATES.items() if c in present and set(axes) <= set(dims)]
        if coordinates:
            attributes["coordinates"] = " ".join(coordinates)
    return attributes | EXTRA_ATTRIBUTES.get(name, {})
