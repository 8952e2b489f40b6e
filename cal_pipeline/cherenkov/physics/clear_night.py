"""Assessment of a night by the aerosol optical depth towards stars (FRAM photometry)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

Assessment = Literal["Clear Night", "Undefined"]


def scale_depth(depth: float, wavelength: float, exponent: float, other: float) -> float:
    """Scale an optical depth to another wavelength by the power law of Ångström.

    Parameters
    ----------
    depth : float
        Optical depth.
    wavelength : float
        Its wavelength [nm].
    exponent : float
        Ångström exponent.
    other : float
        The other wavelength [nm].

    References
    ----------
    Ångström A., 1929, Geogr. Ann. 11, 156.

    Examples
    --------
    >>> scale_depth(0.005, 420.0, 2.0, 840.0)
    0.00125
    """
    return float(depth * (wavelength / other) ** exponent)


def compute_vertical_depth(depth: ArrayLike, zenith_angle: ArrayLike, stratosphere: float) -> Array:
    """Compute the vertical optical depth of the aerosols below the stratosphere.

    Parameters
    ----------
    depth : array_like, shape (stars,)
        Aerosol optical depth along the lines of sight.
    zenith_angle : array_like, shape (stars,)
        Zenith angles of the stars [deg].
    stratosphere : float
        Vertical optical depth of the stratospheric aerosols.

    Returns
    -------
    ndarray, shape (stars,)
        Vertical aerosol optical depth (VAOD), for plane-parallel air.

    Examples
    --------
    >>> compute_vertical_depth([0.05, 0.1], [0.0, 60.0], 0.005).round(4)
    array([0.045, 0.045])
    """
    vertical: Array = np.asarray(depth, dtype=float) * np.cos(np.radians(zenith_angle)) - stratosphere
    return vertical


def compute_fractional_variability(values: ArrayLike, errors: ArrayLike) -> float:
    """Compute the fractional root mean square variability amplitude, which the errors do not explain.

    Parameters
    ----------
    values : array_like, shape (stars,)
        Values, at least two.
    errors : array_like, shape (stars,)
        Errors (1 sigma) of the values.

    Returns
    -------
    float
        Square root of the excess variance over the mean; 0 if the errors explain the whole scatter.

    References
    ----------
    Vaughan S. et al., 2003, MNRAS 345, 1271, eqs. 8 and 10.

    Examples
    --------
    >>> round(compute_fractional_variability([0.9, 1.0, 1.1, 1.0, 1.0], [0.05] * 5), 6)
    0.05
    >>> compute_fractional_variability([0.9, 1.0, 1.1, 1.0, 1.0], [0.2] * 5)
    0.0
    """
    values, errors = np.asarray(values, dtype=float), np.asarray(errors, dtype=float)
    excess = max(0.0, float(values.var(ddof=1) - np.mean(errors**2)))
    return float(np.sqrt(excess) / values.mean())


def fit_angstrom_exponent(wavelength: ArrayLike, depth: ArrayLike, error: ArrayLike) -> tuple[float, float]:
    """Fit a power law of the wavelength to optical depths, as a weighted line of the logarithms.

    Parameters
    ----------
    wavelength : array_like, shape (wavelengths,)
        Wavelengths, all different [nm].
    depth : array_like, shape (wavelengths,)
        Optical depths above 0.
    error : array_like, shape (wavelengths,)
        Errors (1 sigma) of the depths.

    Returns
    -------
    exponent, error : float
        Exponent with the sign reversed, so that depths that fall with the wavelength have a positive
        one, and its error (1 sigma) as propagated from those of the depths. NaN for a single
        wavelength. If an error is 0, all depths count alike and the error of the exponent is NaN.

    References
    ----------
    Ångström A., 1929, Geogr. Ann. 11, 156.

    Examples
    --------
    >>> exponent, error = fit_angstrom_exponent([400.0, 800.0], [0.04, 0.02], [0.002, 0.001])
    >>> round(exponent, 3), round(error, 3)
    (1.0, 0.102)
    """
    x, y = np.log(np.asarray(wavelength, dtype=float)), np.log(np.asarray(depth, dtype=float))
    sigma = np.asarray(error, dtype=float) / np.asarray(depth, dtype=float)
    if x.size < 2:
        return np.nan, np.nan
    known = bool(np.all(sigma > 0))
    weight = sigma**-2 if known else np.ones_like(sigma)
    centred = x - np.average(x, weights=weight)
    spread = np.sum(weight * centred**2)
    return float(-np.sum(weight * centred * y) / spread), float(spread**-0.5) if known else np.nan


def assess_night(variability: ArrayLike, depth: ArrayLike, most_variability: float, most_depth: float) -> Assessment:
    """Assess a night by its variability and aerosol content.

    Parameters
    ----------
    variability : array_like, shape (wavelengths,)
        Fractional variability amplitudes; NaN where unknown.
    depth : array_like, shape (wavelengths,)
        Mean vertical aerosol optical depths; NaN where unknown.
    most_variability : float
        Largest variability of a clear night, itself allowed.
    most_depth : float
        Depth that a clear night stays below.

    Returns
    -------
    str
        ``"Clear Night"`` if all wavelengths tell so, else ``"Undefined"``.

    Examples
    --------
    >>> assess_night([0.0, 0.008], [0.02, 0.015], 0.01, 0.04)
    'Clear Night'
    """
    steady, thin = np.asarray(variability) <= most_variability, np.asarray(depth) < most_depth
    return "Clear Night" if bool(np.all(steady & thin)) else "Undefined"
