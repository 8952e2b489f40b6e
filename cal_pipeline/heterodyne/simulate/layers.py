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
    wet, dry, cloud : ndarray, shape (N,)
        Share of each layer in the wet opacity, in the dry opacity and in that of clouds; each sums
        to 1.
    """

    temperature: Array
    wet: Array
    dry: Array
    cloud: Array

    @classmethod
    def isothermal(cls, temperature: float) -> Profile:
        """Return a single layer at `temperature` [K]."""
        return cls(np.array([temperature]), np.ones(1), np.ones(1), np.ones(1))


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


def _exponential(edges: Array, scale: float) -> Array:
    """Return the share of each layer in an exponential atmosphere cut at the highest edge."""
    above = np.exp(-edges / scale)
    return np.asarray((above[:-1] - above[1:]) / (above[0] - above[-1]))


def _gaussian(edges: Array, centre: float, width: float) -> Array:
    """Return the share of each layer in a Gaussian layer cut at the lowest and highest edge."""
    below = np.array([math.erf((edge - centre) / (math.sqrt(2.0) * width)) for edge in edges])
    return np.asarray(np.diff(below) / (below[-1] - below[0]))
