"""Zenith opacity of the atmosphere from tabulated coefficients, and what it leaves of a signal."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def airmass(elevation: ArrayLike) -> Floats:
    """Compute the airmass of a plane-parallel atmosphere.

    Parameters
    ----------
    elevation : array_like
        Elevation above the horizon [rad].

    Returns
    -------
    ndarray of float64
        1/sin(elevation), with the shape of `elevation`.

    Examples
    --------
    >>> airmass(np.deg2rad([90.0, 30.0])).round(6).tolist()
    [1.0, 2.0]
    """
    return np.asarray(1.0 / np.sin(np.asarray(elevation, np.float64)))


def zenith_opacity(b: ArrayLike, c: ArrayLike, pwv: ArrayLike) -> Floats:
    """Compute the zenith opacity of wet and dry air.

    Parameters
    ----------
    b : array_like
        Wet opacity per unit of precipitable water vapour [Np/mm].
    c : array_like
        Dry opacity [Np].
    pwv : array_like
        Precipitable water vapour [mm]; the three are broadcast against each other.

    Returns
    -------
    ndarray of float64
        tau0 = b·PWV + c [Np].

    References
    ----------
    Pardo, Cernicharo & Serabyn 2001, IEEE Trans. Antennas Propag. 49, 1683: the model that the shipped
    tables of b and c are made with.

    Examples
    --------
    >>> zenith_opacity(0.5, 0.25, [0.0, 1.0]).tolist()  # without water the dry air is left
    [0.25, 0.75]
    """
    wet = np.asarray(np.asarray(b, np.float64) * np.asarray(pwv, np.float64))
    dry = np.asarray(c, np.float64)
    whole = wet.shape == np.broadcast_shapes(wet.shape, dry.shape)
    return np.asarray(np.add(wet, dry, out=wet if whole else None))


def transmission(tau0: ArrayLike, airmass: ArrayLike) -> Floats:
    """Compute the share of a signal from outside the atmosphere that reaches the telescope.

    Parameters
    ----------
    tau0 : array_like
        Zenith opacity [Np].
    airmass : array_like
        Airmass, broadcast against `tau0`.

    Returns
    -------
    ndarray of float64
        t_r = exp(-airmass·tau0), between 0 and 1.

    Examples
    --------
    An opacity of ln 2 takes half of a signal at the zenith, and three quarters at 30° elevation:

    >>> transmission(np.log(2.0), airmass(np.deg2rad([90.0, 30.0]))).round(6).tolist()
    [0.5, 0.25]
    """
    return np.asarray(np.exp(-np.asarray(airmass, np.float64) * np.asarray(tau0, np.float64)))


def interpolate_coefficients(
    frequency: Floats,
    pressure: Floats,
    coefficients: NDArray[np.floating],
    nu: ArrayLike,
    p: float,
) -> Floats:
    """Interpolate an opacity coefficient in frequency and in pressure.

    At each of the two neighbouring pressures the coefficient is linear in frequency; between them
    its logarithm is linear in the logarithm of the pressure, or, where one of the two is 0, the
    coefficient itself is. That follows a power law in pressure exactly, and line wings and continua
    are close to one.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies of the table, ascending [Hz].
    pressure : ndarray, shape (P,)
        Pressures of the table, ascending, P >= 1 [Pa].
    coefficients : ndarray, shape (P, F)
        Coefficient, 0 or above; wet [Np/mm] or dry [Np].
    nu : array_like
        Frequencies asked for, of any shape [Hz]; the caller has checked that they lie within the
        table.
    p : float
        Pressure asked for [Pa], likewise.

    Returns
    -------
    ndarray of float64
        The coefficient at `nu` and `p`, with the shape of `nu` and the unit of `coefficients`.

    Examples
    --------
    >>> table = np.array([[1.0, 3.0], [4.0, 12.0]])  # linear in nu, proportional to p squared
    >>> interpolate_coefficients(np.array([1.0, 2.0]), np.array([1.0, 2.0]), table, [1.5], 1.5).round(6)
    array([4.5])
    """
    nu = np.asarray(nu, np.float64)
    if nu.size == 0:
        return np.empty(nu.shape)
    below, above, weight = find_pressures(pressure, p)
    low = interpolate_in_frequency(frequency, coefficients[below], nu)
    high = low if above == below else interpolate_in_frequency(frequency, coefficients[above], nu)
    return BetweenPressures(low, high).at(weight)


def find_pressures(pressure: Floats, p: float) -> tuple[int, int, float]:
    """Find the tabulated pressures on either side of a pressure.

    Parameters
    ----------
    pressure : ndarray, shape (P,)
        Pressures of the table, ascending, P >= 1 [Pa].
    p : float
        Pressure asked for, within the table [Pa].

    Returns
    -------
    below, above : int
        Their indices, twice the same one where `p` is tabulated.
    weight : float
        Way from the lower to the upper one, in the logarithm; 0 where `p` is tabulated.

    Examples
    --------
    >>> find_pressures(np.array([1.0, 4.0]), 2.0), find_pressures(np.array([1.0, 4.0]), 4.0)
    ((0, 1, 0.5), (1, 1, 0.0))
    """
    above = int(np.searchsorted(pressure, p))
    if above == 0 or above == len(pressure) or pressure[above] == p:
        at = min(above, len(pressure) - 1)
        return at, at, 0.0
    weight = float(np.log(p / pressure[above - 1]) / np.log(pressure[above] / pressure[above - 1]))
    return above - 1, above, weight


def interpolate_in_frequency(frequency: Floats, coefficient: NDArray[np.floating], nu: Floats) -> Floats:
    """Interpolate a coefficient at one pressure linearly in frequency.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies of the table, ascending [Hz].
    coefficient : ndarray, shape (F,)
        The coefficient there.
    nu : ndarray
        Frequencies asked for, within the table, at least one [Hz].

    Returns
    -------
    ndarray of float64, shape of `nu`

    Examples
    --------
    >>> interpolate_in_frequency(np.array([1.0, 2.0]), np.array([1.0, 3.0]), np.array([1.5])).tolist()
    [2.0]
    """
    first = max(int(np.searchsorted(frequency, nu.min(), side="right")) - 1, 0)
    last = int(np.searchsorted(frequency, nu.max(), side="left")) + 1
    return np.asarray(np.interp(nu, frequency[first:last], coefficient[first:last]))


class BetweenPressures:
    """Coefficients at two pressures, ready to be interpolated between them: geometric, or arithmetic if either is 0.

    Parameters
    ----------
    low, high : ndarray
        Coefficients at the lower and the upper pressure, 0 or above; the same array for one pressure.

    Examples
    --------
    >>> BetweenPressures(np.array([1.0, 0.0]), np.array([4.0, 4.0])).at(0.5).round(6).tolist()
    [2.0, 2.0]
    """

    def __init__(self, low: Floats, high: Floats) -> None:
        self._low, self._high = low, high
        self._positive = (low > 0.0) & (high > 0.0)
        with np.errstate(divide="ignore"):
            self._logarithms = np.log(low), np.log(high)

    def at(self, weight: float) -> Floats:
        """Interpolate from the lower to the upper pressure by `weight`, which is 0 for one pressure; a new array."""
        if self._low is self._high:
            return self._low.copy()
        low, high = self._logarithms
        with np.errstate(invalid="ignore"):
            geometric = np.exp((1.0 - weight) * low + weight * high)
        return np.where(self._positive, geometric, (1.0 - weight) * self._low + weight * self._high)
