"""Vertical structure of a layered sky: temperature and share of the opacity of each layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.simulate.errors import require

Array = NDArray[np.float64]

TROPOPAUSE_PA = 22632.0
"""Pressure at the tropopause of the US Standard Atmosphere 1976 [Pa]."""

GRAVITY_OVER_GAS_CONSTANT = 34.1632
"""g M/R of dry air, US Standard Atmosphere 1976 [K/km]."""


@dataclass(frozen=True, eq=False)
class Profile:
    """Layers from the ground up (N), each with one temperature.

    Parameters
    ----------
    temperature : ndarray, shape (N,)
        [K].
    wet, dry : ndarray, shape (N,) or (N, C)
        Share of each layer in the wet and in the dry opacity, at all frequencies or at each; they
        sum to 1.
    cloud : ndarray, shape (N,)
        The same of clouds.
    """

    temperature: Array
    wet: Array
    dry: Array
    cloud: Array

    @classmethod
    def isothermal(cls, temperature: float) -> Profile:
        """Return a single layer at `temperature` [K]."""
        return cls(np.array([temperature]), np.ones(1), np.ones(1), np.ones(1))

    def channels(self, low: int, high: int) -> Profile:
        """Return the same layers for the channels from `low` up to `high`."""
        wet, dry = (share if share.ndim == 1 else share[:, low:high] for share in (self.wet, self.dry))
        return Profile(self.temperature, wet, dry, self.cloud)

    def opacity(self, wet: Array, dry: Array, grey: float) -> Array:
        """Return the zenith opacity of each layer [Np], (N, C).

        Parameters
        ----------
        wet, dry : ndarray, shape (C,)
            Wet and dry zenith opacity of all layers together [Np].
        grey : float
            That of clouds [Np].
        """
        shares = (share if share.ndim == 2 else share[:, np.newaxis] for share in (self.wet, self.dry, self.cloud))
        of_wet, of_dry, of_cloud = shares
        return np.asarray(of_wet * wet + of_dry * dry + of_cloud * grey)


@dataclass(frozen=True)
class Layers:
    """A sky whose temperature falls with height; heights are above the telescope.

    The zenith opacities b·PWV + c of the table are the totals. The wet part falls with height as
    exp(-z/wet_scale_km), the dry part as exp(-z/dry_scale_km), except for a share in an ozone layer
    with a Gaussian profile. Layer edges lie at top_km·(j/number)², close together near the ground.

    Parameters
    ----------
    t_ground : float or None
        Temperature of the air at the telescope [K]; None: ambient as L0 records it.
    lapse_rate : float
        Decrease of the temperature up to the tropopause [K/km]; 6.5 in the US Standard Atmosphere
        1976. Negative: an inversion.
    tropopause_km : float or None
        Height above which the temperature stays [km]; None: where the pressure has fallen to 226.32
        hPa, as in the US Standard Atmosphere 1976 (0 for a telescope above it).
    wet_scale_km, dry_scale_km : float
        Scale heights of the opacities [km]. Between lines, wet opacity goes with vapour density
        times pressure: 1.6 for vapour with 2 km in air with 8 km. Dry opacity goes with the square of
        the pressure.
    ozone_fraction : float
        Share of the dry opacity that lies in the ozone layer.
    ozone_km, ozone_width_km : float
        Height and standard deviation of the ozone layer [km].
    cloud_km : float
        Height of the grey opacity of clouds [km].
    top_km : float
        Top of the highest layer [km].
    number : int
        Number of layers (N).

    Notes
    -----
    COESA 1976, U.S. Standard Atmosphere 1976, NOAA-S/T 76-1562.

    Examples
    --------
    >>> profile = Layers(number=3, top_km=9.0, tropopause_km=4.5).profile(268.0, 51500.0)
    >>> profile.temperature
    array([264.75, 251.75, 238.75])
    >>> profile.wet.round(3)
    array([0.466, 0.455, 0.079])
    """

    t_ground: float | None = None
    lapse_rate: float = 6.5
    tropopause_km: float | None = None
    wet_scale_km: float = 1.6
    dry_scale_km: float = 4.0
    ozone_fraction: float = 0.0
    ozone_km: float = 16.0
    ozone_width_km: float = 4.0
    cloud_km: float = 1.0
    top_km: float = 30.0
    number: int = 60

    def __post_init__(self) -> None:
        for name in ("wet_scale_km", "dry_scale_km", "ozone_width_km", "top_km"):
            value = getattr(self, name)
            require(0.0 < value < math.inf, f"{name} {value} must be positive and finite")
        require(math.isfinite(self.lapse_rate), f"lapse_rate {self.lapse_rate} must be finite")
        require(self.number >= 1, f"number {self.number} of layers must be at least 1")
        require(0.0 <= self.ozone_fraction <= 1.0, f"ozone_fraction {self.ozone_fraction} must be between 0 and 1")
        for name in ("ozone_km", "cloud_km") if self.ozone_fraction > 0.0 else ("cloud_km",):
            value = getattr(self, name)
            require(0.0 <= value <= self.top_km, f"{name} {value} must be between 0 and top_km {self.top_km}")
        lowest = self.tropopause_km is None or self.tropopause_km >= 0.0
        require(lowest, f"tropopause_km {self.tropopause_km} must not be negative")

    def temperature(self, height_km: Array, t_ambient: float, pressure_pa: float) -> Array:
        """Return the temperature [K] at heights above the telescope [km], of the same shape.

        Parameters
        ----------
        height_km : ndarray
            [km].
        t_ambient : float
            Temperature at the telescope unless `t_ground` is given [K].
        pressure_pa : float
            Pressure at the telescope [Pa].

        Raises
        ------
        SimulationError
            If the temperature falls to 20 K or less.
        """
        t_ground = t_ambient if self.t_ground is None else self.t_ground
        tropopause = self._tropopause(t_ground, pressure_pa) if self.tropopause_km is None else self.tropopause_km
        result = np.asarray(t_ground - self.lapse_rate * np.minimum(height_km, tropopause))
        require(
            bool(result.min() > 20.0),
            f"lapse_rate {self.lapse_rate} K/km up to {tropopause:.3g} km makes {result.min():.3g} K of "
            f"{t_ground:g} K at the ground; temperatures must stay above 20 K",
        )
        return result

    def profile(self, t_ambient: float, pressure_pa: float) -> Profile:
        """Return the layers over a telescope at a temperature [K] and a pressure [Pa]."""
        edges = self.top_km * (np.arange(self.number + 1) / self.number) ** 2
        middles = (edges[1:] + edges[:-1]) / 2.0
        cloud = np.zeros(self.number)
        cloud[min(int(np.searchsorted(edges, self.cloud_km, side="right")) - 1, self.number - 1)] = 1.0
        dry = (1.0 - self.ozone_fraction) * _exponential(edges, self.dry_scale_km)
        if self.ozone_fraction > 0.0:
            dry += self.ozone_fraction * _gaussian(edges, self.ozone_km, self.ozone_width_km)
        wet = _exponential(edges, self.wet_scale_km)
        return Profile(self.temperature(middles, t_ambient, pressure_pa), wet, dry, cloud)

    def _tropopause(self, t_ground: float, pressure_pa: float) -> float:
        """Return the height [km] at which the pressure has fallen to that of the tropopause."""
        depth = math.log(pressure_pa / TROPOPAUSE_PA)
        if depth <= 0.0:
            return 0.0
        if self.lapse_rate == 0.0:
            return depth * t_ground / GRAVITY_OVER_GAS_CONSTANT
        # Hydrostatic equation with a linear temperature: p = p0·(T/T0)^(g M/(R·lapse rate)).
        exponent = -depth * self.lapse_rate / GRAVITY_OVER_GAS_CONSTANT
        return -t_ground * math.expm1(exponent) / self.lapse_rate


@dataclass(frozen=True, eq=False)
class AirColumn:
    """Layers with their own opacities, such as another package computes.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        [Hz], ascending; opacities are linear in between.
    wet, dry : ndarray, shape (N, F)
        Zenith opacity of each layer from the ground up, of 1 mm of water vapour in all layers
        together [Np/mm] and of everything else [Np].
    temperature : ndarray, shape (N,)
        [K].
    cloud_layer : int
        The layer in which clouds add their grey opacity.

    Examples
    --------
    Warm water below cold ozone:

    >>> nu = np.array([455e9, 480e9])
    >>> column = AirColumn(nu, np.array([[0.6, 0.6], [0, 0]]), np.array([[0, 0], [0.1, 0.1]]), np.array([265, 220]))
    >>> from cal_pipeline.simulate import Atmosphere, preset, read_truth, simulate
    >>> sky = Atmosphere(pwv_mm=0.5, layers=column)
    >>> written = simulate(preset("ccat_chai", channels=8, pixels=1, atmosphere=sky), "column.zarr")
    >>> read_truth("column.zarr", scan=1).tau_signal[0].round(6).item()
    0.4
    """

    frequency: Array
    wet: Array
    dry: Array
    temperature: Array
    cloud_layer: int = 0

    def __post_init__(self) -> None:
        shape = (np.size(self.temperature), np.size(self.frequency))
        for name in ("wet", "dry"):
            values = np.asarray(getattr(self, name))
            require(values.shape == shape, f"{name} {values.shape} must be (layer, frequency) = {shape}")
            require(bool(np.all(values >= 0.0)), f"{name} opacity of layers must not be negative")
        require(bool(np.all(np.diff(self.frequency) > 0.0)), "frequencies of layers must ascend")
        require(bool(np.all(np.asarray(self.temperature) > 0.0)), "temperatures of layers must be positive")
        known = 0 <= self.cloud_layer < shape[0]
        require(known, f"cloud_layer {self.cloud_layer} of {shape[0]} layers")

    @property
    def number(self) -> int:
        """Number of layers (N)."""
        return int(np.size(self.temperature))

    def coefficients(self, nu: Array, pressure: float) -> tuple[Array, Array]:
        """Return b [Np/mm] and c [Np] of all layers together, each (C,), whatever the `pressure`.

        Raises
        ------
        SimulationError
            If a frequency in `nu` [Hz] lies outside `frequency`.
        """
        low, high = float(self.frequency[0]), float(self.frequency[-1])
        require(
            low <= float(nu.min()) and float(nu.max()) <= high,
            f"frequency {nu.min() / 1e9:.6g} to {nu.max() / 1e9:.6g} GHz is outside that of the layers,"
            f" {low / 1e9:.6g} to {high / 1e9:.6g} GHz",
        )
        return _at(self.frequency, self.wet, nu).sum(axis=0), _at(self.frequency, self.dry, nu).sum(axis=0)

    def profile(self, nu: Array) -> Profile:
        """Return the shares of the layers at frequencies `nu` [Hz]."""
        wet, dry = (_share(_at(self.frequency, values, nu)) for values in (self.wet, self.dry))
        cloud = np.zeros(np.size(self.temperature))
        cloud[self.cloud_layer] = 1.0
        return Profile(np.asarray(self.temperature, np.float64), wet, dry, cloud)


def _at(frequency: Array, values: Array, nu: Array) -> Array:
    """Return opacities (N, F) at frequencies `nu`, (N, C)."""
    return np.array([np.interp(nu, frequency, row) for row in np.asarray(values, np.float64)])


def _share(opacity: Array) -> Array:
    """Return the share of each layer in an opacity (N, C); equal shares of none."""
    total = opacity.sum(axis=0)
    equal = np.full(opacity.shape, 1.0 / len(opacity))
    return np.asarray(np.divide(opacity, total, out=equal, where=total > 0.0))


def _exponential(edges: Array, scale: float) -> Array:
    """Return the share of each layer in an exponential atmosphere cut at the highest edge."""
    above = np.exp(-edges / scale)
    return np.asarray((above[:-1] - above[1:]) / (above[0] - above[-1]))


def _gaussian(edges: Array, centre: float, width: float) -> Array:
    """Return the share of each layer in a Gaussian layer cut at the lowest and highest edge."""
    below = np.array([math.erf((edge - centre) / (math.sqrt(2.0) * width)) for edge in edges])
    return np.asarray(np.diff(below) / (below[-1] - below[0]))
