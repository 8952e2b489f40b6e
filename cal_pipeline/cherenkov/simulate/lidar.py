"""Returns of an elastic LIDAR from air with layers of aerosols, whose extinction is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from cal_pipeline.cherenkov.simulate.air import AirColumn, compute_cross_section

Floats = NDArray[np.float64]

STEP = 0.5
"""Spacing of the grid on which optical depths are integrated [m]."""

MOLECULAR_PHASE = 3.0 / (8.0 * np.pi)
"""Part of the light scattered by molecules that goes back, per solid angle [1/sr]."""


@dataclass(frozen=True)
class AerosolLayer:
    """Layer of aerosols: full within its thickness, with smooth ends.

    Attributes
    ----------
    centre : float
        Altitude of the middle [km].
    thickness : float
        Full width at half maximum [km].
    extinction : float
        Extinction coefficient within [1/km].
    edge : float
        Length over which it fades [km].

    Examples
    --------
    >>> layer = AerosolLayer(centre=5.0, thickness=1.0, extinction=0.04)
    >>> layer.extinction_at([4.5, 5.0, 9.0]).round(3)
    array([0.02, 0.04, 0.  ])
    """

    centre: float
    thickness: float
    extinction: float
    edge: float = 0.1

    def extinction_at(self, altitude: ArrayLike) -> Floats:
        """Compute the extinction coefficient [1/km] at an altitude [km]."""
        distance = np.asarray(altitude, dtype=float) - self.centre
        rise, fall = (np.tanh((self.thickness / 2 + side * distance) / self.edge) for side in (1, -1))
        extinction: Floats = self.extinction * (rise + fall) / 2
        return extinction


HAZE = (
    AerosolLayer(centre=2.0, thickness=2.2, extinction=0.03, edge=0.35),
    AerosolLayer(centre=4.6, thickness=1.1, extinction=0.05, edge=0.15),
)
"""Haze at the ground and a layer of desert dust."""


@dataclass(frozen=True)
class LidarScene:
    """Air along the beam of a LIDAR.

    Attributes
    ----------
    column : AirColumn
        Molecules.
    layers : tuple of AerosolLayer
        Aerosols.
    station_altitude : float
        Altitude of the station [km].
    zenith_angle : float
        Zenith angle of the beam [deg].
    wavelength : float
        Wavelength [nm].
    lidar_ratio : float
        Ratio of extinction and backscatter of the aerosols [sr].
    cross_section : callable
        Cross section of a molecule [cm2] as a function of the wavelength [nm].
    """

    column: AirColumn
    layers: tuple[AerosolLayer, ...] = HAZE
    station_altitude: float = 2.2
    zenith_angle: float = 0.0
    wavelength: float = 355.0
    lidar_ratio: float = 50.0
    cross_section: Callable[[float], Floats] = compute_cross_section

    def altitude(self, distance: ArrayLike) -> Floats:
        """Compute the altitude [km] at a distance [m]."""
        altitude: Floats = self.station_altitude + np.asarray(distance) / 1e3 * np.cos(np.radians(self.zenith_angle))
        return altitude

    def aerosol_extinction(self, altitude: ArrayLike) -> Floats:
        """Compute the extinction coefficient of the aerosols [1/km] at an altitude [km]."""
        extinction: Floats = np.sum([layer.extinction_at(altitude) for layer in self.layers], axis=0)
        return extinction

    def molecular_extinction(self, altitude: ArrayLike) -> Floats:
        """Compute the extinction coefficient of the molecules [1/km] at an altitude [km]."""
        extinction: Floats = self.column.number_density(altitude) * self.cross_section(self.wavelength) * 1e5
        return extinction

    def returns(self, distance: ArrayLike) -> Floats:
        """Compute the returns from distances [m], in an arbitrary unit, without noise and background."""
        distance = np.asarray(distance, dtype=float)
        path = np.arange(0.0, distance.max() + 2 * STEP, STEP)
        altitude = self.altitude(path)
        extinction = (self.aerosol_extinction(altitude) + self.molecular_extinction(altitude)) / 1e3
        # The integral of a spline: no trapezia, which the inversion uses.
        depth = CubicSpline(path, extinction).antiderivative()(distance)
        there = self.altitude(distance)
        backscatter = self.aerosol_extinction(there) / self.lidar_ratio
        backscatter = (backscatter + self.molecular_extinction(there) * MOLECULAR_PHASE) / 1e3
        signal: Floats = backscatter * np.exp(-2 * depth) / distance**2
        return signal


def make_signal_table(
    scene: LidarScene, distance: ArrayLike, photons: float | None = None, generator: np.random.Generator | None = None
) -> Table:
    """Make the table of a signal, as the inversion reads it.

    Parameters
    ----------
    scene : LidarScene
        The air.
    distance : array_like
        Distances, ascending [m].
    photons : float, optional
        Number of photons counted at the first distance; None: no noise.
    generator : Generator, optional
        Source of the noise.

    Returns
    -------
    Table
        `range` [m], `signal`.

    Examples
    --------
    >>> from cal_pipeline.cherenkov.simulate.air import Climate
    >>> table = make_signal_table(LidarScene(AirColumn(Climate(), 28.9)), [500.0, 1000.0], photons=1e6)
    >>> table["signal"].round(-3).tolist()
    [1000000.0, 211000.0]
    """
    distance = np.asarray(distance, dtype=float)
    signal = scene.returns(distance)
    if photons is not None:
        signal = signal * (photons / signal[0])
        if generator is not None:
            signal = generator.poisson(signal).astype(float)
    return Table({"range": distance * u.m, "signal": signal}, copy=False)
