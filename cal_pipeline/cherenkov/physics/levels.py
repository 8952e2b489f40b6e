"""Mean profile of the air over pressure levels, and its values between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError

Array = NDArray[np.float64]

_FEWEST = 4
"""Levels that a not-a-knot cubic spline needs."""

RULES = ("cubic", "log")
"""Rules of interpolation between levels."""

_LOGARITHMIC = frozenset({"pressure", "density"})
"""Quantities whose logarithm is interpolated by the rule ``log``."""


@dataclass(frozen=True)
class LevelProfile:
    """Mean profile over pressure levels, from the lowest level up.

    Attributes
    ----------
    altitude : ndarray, shape (levels,)
        Mean altitude above sea level [m], ascending.
    pressure : ndarray, shape (levels,)
        Pressure [hPa].
    density : ndarray, shape (levels,)
        Number density [1/cm3].
    temperature : ndarray, shape (levels,)
        Temperature [K].
    humidity : ndarray, shape (levels,)
        Relative humidity (a fraction).
    rule : str
        Interpolation: ``"cubic"`` for all quantities, or ``"log"`` for the logarithms of pressure and density.

    Raises
    ------
    ConfigurationError
        If there is no such rule.
    CorruptedInputError
        If there are fewer than four levels, a value is not finite, or altitudes do not rise.

    Examples
    --------
    >>> z = np.array([0.0, 2e3, 4e3, 6e3, 8e3])
    >>> p = 1000.0 * np.exp(-z / 8e3)
    >>> profile = LevelProfile(z, p, 2.5e16 * p, 280.0 - 6e-3 * z, 0.0 * z, rule="log")
    >>> profile.interpolate("temperature", [3e3, 9e3])
    array([262.,  nan])
    """

    altitude: Array
    pressure: Array
    density: Array
    temperature: Array
    humidity: Array
    rule: str = "cubic"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ConfigurationError(f"interpolation {self.rule!r}; expected {' or '.join(RULES)}")
        if self.altitude.size < _FEWEST:
            raise CorruptedInputError(f"{self.altitude.size} pressure levels; expected {_FEWEST} or more")
        for name in ("altitude", "pressure", "density", "temperature", "humidity"):
            values = getattr(self, name)
            if not np.isfinite(values).all():
                level = self.pressure[~np.isfinite(values)][0]
                raise CorruptedInputError(f"mean {name} at the level of {level:g} hPa is not finite")
        rises = np.diff(self.altitude) > 0.0
        if not rises.all():
            lower = int(np.argmin(rises))
            raise CorruptedInputError(
                f"mean altitude falls from {self.altitude[lower]:.1f} m at {self.pressure[lower]:g} hPa to "
                f"{self.altitude[lower + 1]:.1f} m at {self.pressure[lower + 1]:g} hPa; expected it to rise"
            )

    @cached_property
    def _splines(self) -> dict[str, CubicSpline]:
        splines = {}
        for name in ("pressure", "density", "temperature", "humidity"):
            values = getattr(self, name)
            splines[name] = CubicSpline(self.altitude, np.log(values) if self._is_log(name) else values)
        return splines

    def _is_log(self, name: str) -> bool:
        return self.rule == "log" and name in _LOGARITHMIC

    def covers(self, altitude: ArrayLike) -> NDArray[np.bool_]:
        """Tell which altitudes lie within the mean altitudes of the levels.

        Parameters
        ----------
        altitude : array_like
            Altitude [m].
        """
        altitude = np.asarray(altitude, dtype=float)
        inside: NDArray[np.bool_] = (altitude >= self.altitude[0]) & (altitude <= self.altitude[-1])
        return inside

    def interpolate(self, quantity: str, altitude: ArrayLike) -> Array:
        """Interpolate a quantity by a not-a-knot cubic spline.

        Parameters
        ----------
        quantity : str
            ``"pressure"``, ``"density"``, ``"temperature"`` or ``"humidity"``.
        altitude : array_like
            Altitude [m].

        Returns
        -------
        ndarray
            NaN outside of the levels: nothing is extrapolated.
        """
        altitude = np.asarray(altitude, dtype=float)
        values = self._splines[quantity](np.where(self.covers(altitude), altitude, self.altitude[0]))
        if self._is_log(quantity):
            values = np.exp(values)
        result: Array = np.where(self.covers(altitude), values, np.nan)
        return result
