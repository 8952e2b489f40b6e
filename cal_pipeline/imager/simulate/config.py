"""Configuration of a simulated visit: detector, filters, stars and exposures; all frozen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.imager.simulate.errors import require

MAX_DEVIATION = 4.0
"""Largest deviation of a pixel's property from the mean, in units of its spread."""

_LARGEST_SPREAD = 0.2
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Detector:
    """Properties of the detector; setting a spread, fraction or noise to 0 switches that imperfection off.

    Parameters
    ----------
    size : int or tuple of int
        Rows and columns of the whole detector; one number for a square.
    border : int
        Width of the blind border of reference pixels.
    amplifiers : int
        Number of outputs, which read stripes of columns.
    gain, gain_spread : float
        Mean gain [e/adu] and relative spread of the pixels.
    read_noise, read_noise_spread : float
        Noise of one read [e rms] and relative spread of the pixels.
    reference_noise : float
        Noise of the zero level that an amplifier has in each read [adu rms].
    bias, bias_spread : float
        Mean zero level and spread of the pixels [adu].
    linearity : tuple of float
        Coefficients of the polynomial of a reading above the bias [adu] that is the charge over the
        gain, low order first.
    linearity_spread : float
        Relative spread of the coefficients above the first order.
    well, well_spread : float
        Mean reading above the bias where pixels clip [adu]; relative spread of the pixels.
    saturation_margin : float
        Fraction of the well by which the saturation reference lies below it.
    dark, dark_spread : float
        Mean dark current [e/s]; relative spread of the pixels.
    hot_fraction, hot_dark : float
        Fraction of hot pixels; their largest dark current [e/s].
    dead_fraction : float
        Fraction of pixels without response.
    flat_spread, flat_structure : float
        Relative spread of the response of pixels; depth of vignetting, gradient and dust.

    Examples
    --------
    A detector with noise of photons and reads only:

    >>> ideal = Detector(size=(32, 64), reference_noise=0.0, linearity=(0.0, 1.0), flat_spread=0.0)
    >>> ideal.shape
    (32, 64)
    """

    size: int | tuple[int, int] = 256
    border: int = 4
    amplifiers: int = 4
    gain: float = 2.0
    gain_spread: float = 0.02
    read_noise: float = 9.0
    read_noise_spread: float = 0.1
    reference_noise: float = 5.0
    bias: float = 8000.0
    bias_spread: float = 100.0
    linearity: tuple[float, ...] = (0.0, 1.0, 1.4e-6, 1.5e-11)
    linearity_spread: float = 0.05
    well: float = 35000.0
    well_spread: float = 0.01
    saturation_margin: float = 0.03
    dark: float = 0.05
    dark_spread: float = 0.3
    hot_fraction: float = 1e-3
    hot_dark: float = 200.0
    dead_fraction: float = 5e-4
    flat_spread: float = 0.02
    flat_structure: float = 0.05

    def __post_init__(self) -> None:
        require(min(self.shape) >= 1, f"size {self.shape} must be at least 1 pixel along each axis")
        narrow = min(self.shape)
        require(
            0 <= 2 * self.border < narrow,
            f"border {self.border} must be at least 0 and leave some of {narrow} pixels",
        )
        require(
            1 <= self.amplifiers <= self.shape[1],
            f"amplifiers {self.amplifiers} must be between 1 and the {self.shape[1]} columns",
        )
        for name in ("gain", "well"):
            require(getattr(self, name) > 0.0, f"{name} {getattr(self, name)} must be positive")
        for name in ("read_noise", "reference_noise", "bias", "bias_spread", "dark", "hot_dark"):
            require(getattr(self, name) >= 0.0, f"{name} {getattr(self, name)} must not be negative")
        for name in ("gain_spread", "read_noise_spread", "linearity_spread", "well_spread", "flat_spread"):
            spread = getattr(self, name)
            require(0.0 <= spread <= _LARGEST_SPREAD, f"{name} {spread} must be between 0 and {_LARGEST_SPREAD}")
        for name in ("saturation_margin", "hot_fraction", "dead_fraction", "flat_structure", "dark_spread"):
            fraction = getattr(self, name)
            require(0.0 <= fraction < 1.0, f"{name} {fraction} must be at least 0 and below 1")
        self._check_linearity()

    def _check_linearity(self) -> None:
        require(len(self.linearity) >= 2, f"linearity {self.linearity} must have at least two coefficients")
        readings = np.linspace(0.0, self.well * (1.0 + MAX_DEVIATION * self.well_spread), 1000)
        for sign in (-1.0, 1.0):
            curved = np.array(self.linearity)
            curved[2:] *= 1.0 + sign * MAX_DEVIATION * self.linearity_spread
            slope = np.polynomial.Polynomial(curved).deriv()(readings)
            require(
                bool(np.all(slope > 0.0)),
                f"linearity {self.linearity} must rise all the way to the well of {self.well} adu",
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


@dataclass(frozen=True)
class Filter:
    """A filter, with the brightness of sky and lamp through it.

    Parameters
    ----------
    name : str
        Its name.
    zero_point, zero_point_err : float
        AB magnitude of 1 e/s above the atmosphere, and its error.
    extinction : float
        Extinction [mag per airmass].
    sky, lamp : float
        Rates that the sky and the lamp of flat fields give in each pixel [e/s].

    Examples
    --------
    >>> Filter("H", zero_point=25.0, extinction=0.1).zero_point
    25.0
    """

    name: str
    zero_point: float = 26.0
    zero_point_err: float = 0.02
    extinction: float = 0.0
    sky: float = 5.0
    lamp: float = 400.0

    def __post_init__(self) -> None:
        require(
            _NAME.fullmatch(self.name) is not None,
            f"filter name {self.name!r} must have letters, digits, '.', '_' and '-' only",
        )
        for name in ("sky", "lamp", "extinction", "zero_point_err"):
            require(getattr(self, name) >= 0.0, f"{name} {getattr(self, name)} of {self.name} must not be negative")


@dataclass(frozen=True)
class Star:
    """A star, at a place on the sky.

    Parameters
    ----------
    x, y : float
        Distance from the centre of the whole detector in an exposure without offset [pixel].
    magnitude : float
        AB magnitude above the atmosphere, equal in all filters.

    Examples
    --------
    >>> Star(x=-10.25, y=3.5, magnitude=18.0).x
    -10.25
    """

    x: float
    y: float
    magnitude: float


class Subarray(NamedTuple):
    """Rectangle of the detector that is read out; its first pixel counts from 1.

    Examples
    --------
    >>> Subarray("SUB64", xstart=97, ystart=97, xsize=64, ysize=64).slices
    (slice(96, 160, None), slice(96, 160, None))
    """

    name: str
    xstart: int
    ystart: int
    xsize: int
    ysize: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns in the array of the whole detector."""
        return (
            slice(self.ystart - 1, self.ystart - 1 + self.ysize),
            slice(self.xstart - 1, self.xstart - 1 + self.xsize),
        )


@dataclass(frozen=True)
class ExposurePlan:
    """One exposure: its type, ramps, pointing and light.

    Parameters
    ----------
    exp_type : str
        Type; SCI, SKY, DARK and FLAT have light of their own.
    filter : str
        Name of a filter of the visit; free for DARK.
    n_groups, n_integrations : int
        Groups of a ramp (G) and ramps (I).
    nframes, groupgap : int
        Reads that a group averages, and reads skipped between groups.
    read_pattern : tuple of tuple of int, optional
        Reads of each group, counted from 1, instead of `nframes`, `groupgap` and `n_groups`.
    frame_time : float
        Time between reads, and from the reset to the first [s].
    rate : float or ndarray, shape (ny, nx), optional
        Uniform light or light of each pixel of the whole detector before the flat field [e/s]; by
        default none in DARK, the lamp of the filter in FLAT, its sky in others.
    stars : bool, optional
        Whether the stars of the visit are in the field; by default in SCI only.
    trail : float
        Peak of a straight trail across the field, as of a satellite [e/s].
    offset : tuple of float
        Offset of the pointing in x and y [pixel].
    hits : float
        Cosmic-ray hits [per pixel and second].
    hit_charge : tuple of float
        Smallest and largest charge of a hit [e]; its logarithm is uniform.
    airmass : float
        Airmass.
    tso : bool
        Whether this is a time series.
    target : str
        Name of the target.
    subarray : Subarray, optional
        Part of the detector that is read; all of it by default.

    Examples
    --------
    Two reads averaged, one skipped:

    >>> ExposurePlan(n_groups=3, nframes=2, groupgap=1).reads()
    ((1, 2), (4, 5), (7, 8))
    """

    exp_type: str = "SCI"
    filter: str = "H"
    n_groups: int = 10
    n_integrations: int = 1
    nframes: int = 1
    groupgap: int = 0
    read_pattern: tuple[tuple[int, ...], ...] | None = None
    frame_time: float = 5.0
    rate: float | NDArray[Any] | None = field(default=None, compare=False)
    stars: bool | None = None
    trail: float = 0.0
    offset: tuple[float, float] = (0.0, 0.0)
    hits: float = 1e-5
    hit_charge: tuple[float, float] = (100.0, 20000.0)
    airmass: float = 1.0
    tso: bool = False
    target: str = "FIELD"
    subarray: Subarray | None = None

    def __post_init__(self) -> None:
        for name in ("n_groups", "n_integrations", "nframes"):
            require(getattr(self, name) >= 1, f"{name} {getattr(self, name)} must be at least 1")
        require(self.groupgap >= 0, f"groupgap {self.groupgap} must not be negative")
        require(self.frame_time > 0.0, f"frame_time {self.frame_time} must be positive")
        require(self.hits >= 0.0, f"hits {self.hits} must not be negative")
        require(self.trail >= 0.0, f"trail {self.trail} must not be negative")
        low, high = self.hit_charge
        require(0.0 < low <= high, f"hit_charge {self.hit_charge} must be positive, the smallest first")
        require(self.airmass >= 1.0, f"airmass {self.airmass} must be at least 1")
        require(self.rate is None or bool(np.all(np.asarray(self.rate) >= 0.0)), "rate must be finite and not negative")
        flat = [read for group in self.reads() for read in group]
        growing = all(self.reads()) and flat[:1] >= [1] and all(a < b for a, b in pairwise(flat))
        require(growing, f"read_pattern {self.read_pattern} must be groups of growing reads, counted from 1")

    def reads(self) -> tuple[tuple[int, ...], ...]:
        """List the reads of each group, counted from 1."""
        if self.read_pattern is not None:
            return self.read_pattern
        step = self.nframes + self.groupgap
        return tuple(tuple(range(g * step + 1, g * step + self.nframes + 1)) for g in range(self.n_groups))

    @property
    def has_stars(self) -> bool:
        """Tell whether the stars of the visit are in the field."""
        return self.exp_type == "SCI" if self.stars is None else self.stars


@dataclass(frozen=True)
class VisitConfig:
    """A visit: exposures of one detector on one field.

    Parameters
    ----------
    exposures : sequence of ExposurePlan
        The exposures, numbered from 1.
    detector : Detector
        The detector.
    filters : sequence of Filter
        Filters that have flat fields and zero points.
    stars : sequence of Star
        Stars of the field.
    star_sigma : float
        Standard deviation of the image of a star [pixel].
    ra, dec : float
        Right ascension and declination of the centre of the field [deg].
    pixel_scale : float
        Side of a pixel [arcsec].
    position_angle : float
        Angle from north to the y axis, through east [deg].
    seed : int
        Seed of all random numbers.
    photon_noise : bool
        Whether charge arrives at random; if not, and without other noise, data are exact.
    dtype : {"uint16", "int32", "float32"}
        Type of the data; only integers are rounded and clipped to their range.
    instrument : str
        Name of the instrument.
    detector_name : str
        Name of the detector.
    date : str
        Start of the first exposure (ISO, UTC).

    Examples
    --------
    >>> config = VisitConfig([ExposurePlan("DARK"), ExposurePlan("SCI", rate=100.0)], Detector(size=64))
    >>> [plan.exp_type for plan in config.exposures]
    ['DARK', 'SCI']
    """

    exposures: Sequence[ExposurePlan]
    detector: Detector = field(default_factory=Detector)
    filters: Sequence[Filter] = field(default_factory=lambda: (Filter("H"),))
    stars: Sequence[Star] = ()
    star_sigma: float = 1.2
    ra: float = 150.1163
    dec: float = 2.2058
    pixel_scale: float = 0.05
    position_angle: float = 30.0
    seed: int = 1
    photon_noise: bool = True
    dtype: Literal["uint16", "int32", "float32"] = "uint16"
    instrument: str = "SIMCAM"
    detector_name: str = "SIM1"
    date: str = "2026-11-01T04:00:00"

    def __post_init__(self) -> None:
        require(len(self.exposures) > 0, "a visit needs at least one exposure")
        require(self.seed >= 0, f"seed {self.seed} must not be negative")
        require(self.star_sigma > 0.0, f"star_sigma {self.star_sigma} must be positive")
        require(self.pixel_scale > 0.0, f"pixel_scale {self.pixel_scale} must be positive")
        require(-90.0 <= self.dec <= 90.0, f"dec {self.dec} must be between -90 and 90")
        dtypes = ("uint16", "int32", "float32")
        require(self.dtype in dtypes, f"dtype {self.dtype!r}: choose from {', '.join(dtypes)}")
        names = [one.name for one in self.filters]
        require(len(set(names)) == len(names), f"filters {', '.join(names)} must have different names")
        for number, plan in enumerate(self.exposures, start=1):
            self._check_exposure(number, plan)

    def _check_exposure(self, number: int, plan: ExposurePlan) -> None:
        ny, nx = self.detector.shape
        names = [one.name for one in self.filters]
        require(
            plan.exp_type == "DARK" or plan.filter in names,
            f"exposure {number}: filter {plan.filter!r} is none of the visit: {', '.join(names)}",
        )
        if isinstance(plan.rate, np.ndarray):
            require(
                plan.rate.shape == (ny, nx), f"exposure {number}: rate has shape {plan.rate.shape}, expected {(ny, nx)}"
            )
        if plan.subarray is not None:
            rows, columns = plan.subarray.slices
            inside = 0 <= rows.start < rows.stop <= ny and 0 <= columns.start < columns.stop <= nx
            require(inside, f"exposure {number}: subarray {plan.subarray} must lie in {ny} rows and {nx} columns")
            require(
                self.detector.amplifiers <= plan.subarray.xsize,
                f"exposure {number}: {plan.subarray.xsize} columns of the subarray are fewer than the amplifiers",
            )

    def find_filter(self, name: str) -> Filter:
        """Look up a filter of the visit by its name."""
        return next(one for one in self.filters if one.name == name)

    def slices(self, plan: ExposurePlan) -> tuple[slice, slice]:
        """Return the rows and columns of the whole detector that an exposure reads."""
        ny, nx = self.detector.shape
        return (slice(0, ny), slice(0, nx)) if plan.subarray is None else plan.subarray.slices
