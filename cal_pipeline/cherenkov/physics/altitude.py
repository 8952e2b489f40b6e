"""Altitude above sea level from geopotential, and number density of air."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

STANDARD_GRAVITY = 9.80665
"""Standard gravity [m/s2]."""

_N_STANDARD, _P_STANDARD, _T_STANDARD = 2.546899e19, 1013.25, 288.15


def convert_geopotential(geopotential: ArrayLike) -> Array:
    """Convert geopotential to geopotential height.

    Parameters
    ----------
    geopotential : array_like
        Geopotential [m2/s2].

    Returns
    -------
    ndarray
        Geopotential height [m].

    Examples
    --------
    >>> float(convert_geopotential(98066.5))
    10000.0
    """
    return np.asarray(geopotential, dtype=float) / STANDARD_GRAVITY


def compute_altitude(height: ArrayLike, latitude: ArrayLike) -> Array:
    """Compute the altitude above sea level of a geopotential height.

    Gravity falls with altitude and rises towards the poles; the expansion to second order in height is that of
    Mahoney (2005), after the series of the Smithsonian Meteorological Tables (List 1951).

    Parameters
    ----------
    height : array_like
        Geopotential height [m].
    latitude : array_like
        Geographic latitude [deg].

    Returns
    -------
    ndarray
        Altitude [m].

    Examples
    --------
    >>> compute_altitude([0.0, 10_000.0], 45.0).round(1)
    array([    0., 10016.])
    """
    height = np.asarray(height, dtype=float)
    double = np.cos(2.0 * np.deg2rad(latitude))
    altitude: Array = (1.0 + 0.002644 * double) * height + (1.0 + 0.0089 * double) * height**2 / 6.245e6
    return altitude


def compute_number_density(pressure: ArrayLike, temperature: ArrayLike) -> Array:
    """Compute the number density of molecules of air, as an ideal gas.

    Parameters
    ----------
    pressure : array_like
        Pressure [hPa].
    temperature : array_like
        Temperature [K].

    Returns
    -------
    ndarray
        Number density [1/cm3].

    Notes
    -----
    Density at 1013.25 hPa and 288.15 K from the U.S. Standard Atmosphere (1976).

    Examples
    --------
    >>> print(f"{compute_number_density(1013.25, 288.15):.6e}")
    2.546899e+19
    """
    pressure, temperature = np.asarray(pressure, dtype=float), np.asarray(temperature, dtype=float)
    density: Array = _N_STANDARD * (pressure / _P_STANDARD) * (_T_STANDARD / temperature)
    return density
