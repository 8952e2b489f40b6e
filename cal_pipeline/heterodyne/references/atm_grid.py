"""Frequencies and pressures of atmosphere tables, and errors of tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cal_pipeline.core.errors import CalibrationError

Floats = NDArray[np.float64]

GAP_FACTOR = 10.0
"""An interval above this multiple of the median step is a gap between two windows."""

EDGE_TOLERANCE = 1e-6
"""Largest excess of a value over a range, as a fraction of the range."""


class AtmTableError(CalibrationError, ValueError):
    """An atmosphere table that violates the format."""


class AtmRangeError(CalibrationError, ValueError):
    """Frequencies or a pressure that an atmosphere table does not hold."""


@dataclass(frozen=True, eq=False)
class AtmGrid:
    """Frequencies and pressures that an atmosphere table covers.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, ascending, F >= 2 [Hz]. Intervals more than 10 times the median step separate
        windows.
    pressure : ndarray, shape (P,)
        Pressures at the telescope, ascending [Pa].
    name : str
        File name.

    Raises
    ------
    AtmTableError
        If a shape is wrong, or an axis does not ascend from above 0.

    Examples
    --------
    A wide interval separates two windows:

    >>> grid = AtmGrid(np.array([460e9, 461e9, 462e9, 800e9, 801e9]), np.array([51500.0]))
    >>> grid.describe_range()
    '460-462, 800-801 GHz at 515 hPa only'
    >>> grid.covers(461.5e9, 51500.0), grid.covers(700e9, 51500.0)
    (True, False)
    """

    frequency: Floats
    pressure: Floats
    name: str = field(default="(in memory)", kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "frequency", ascending(self.frequency, "frequency", self.name, minimum=2))
        object.__setattr__(self, "pressure", ascending(self.pressure, "pressure", self.name))

    @cached_property
    def windows(self) -> list[tuple[float, float]]:
        """Ranges [Hz] that the table holds without a gap, ascending."""
        return [(float(start), float(stop)) for start, stop in zip(*self._window_edges, strict=True)]

    @cached_property
    def _window_edges(self) -> tuple[Floats, Floats]:
        steps = np.diff(self.frequency)
        gaps = np.flatnonzero(steps > GAP_FACTOR * np.median(steps))
        starts = self.frequency[np.concatenate([[0], gaps + 1])]
        stops = self.frequency[np.concatenate([gaps, [len(self.frequency) - 1]])]
        return starts, stops

    def covers(self, nu: ArrayLike, pressure: float) -> bool:
        """Tell whether the table covers `nu` [Hz] and `pressure` [Pa], to 1e-6 of its ranges."""
        _, inside = self.clip_frequencies(np.asarray(nu, np.float64))
        return bool(np.all(inside)) and self.holds_pressure(pressure)

    def clip(self, nu: Floats, pressure: float) -> tuple[Floats, float]:
        """Clip frequencies [Hz] and a pressure [Pa] that exceed the table within its tolerance.

        Raises
        ------
        AtmRangeError
            If any of them lies outside the table; nothing is extrapolated.
        """
        clipped, inside = self.clip_frequencies(nu)
        if not np.all(inside) or not self.holds_pressure(pressure):
            raise AtmRangeError(
                f"atmosphere table {self.name} does not cover what was asked for: "
                f"{describe_request(nu, pressure)}; it offers {self.describe_range()}. "
                "Name another table with override_atm, or build one with 'atm-table build'"
            )
        return clipped, self.clip_pressure(pressure)

    def clip_pressure(self, pressure: float) -> float:
        """Clip a pressure to those of the table [Pa]."""
        return float(np.clip(pressure, self.pressure[0], self.pressure[-1]))

    def step_at(self, nu: ArrayLike) -> float:
        """Find the widest grid step [Hz] of the table at any of the frequencies `nu` [Hz]."""
        after = np.searchsorted(self.frequency, np.asarray(nu, np.float64), side="right")
        after = np.clip(after, 1, len(self.frequency) - 1)
        starts, _ = self._window_edges
        at_stop = np.isin(self.frequency[after], starts[1:])  # never the width of a gap
        after = np.where(at_stop, after - 1, after)
        return float(np.max(self.frequency[after] - self.frequency[after - 1]))

    def describe_range(self) -> str:
        """Describe windows and pressures of the table in GHz and hPa."""
        windows = ", ".join(f"{start / 1e9:.6g}-{stop / 1e9:.6g}" for start, stop in self.windows)
        return f"{windows} GHz at {_pressure_range(self.pressure[0], self.pressure[-1])}"

    def clip_frequencies(self, nu: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Clip frequencies to the nearest window; tell which are within its tolerance."""
        starts, stops = self._window_edges
        tolerance = EDGE_TOLERANCE * (stops - starts)
        window = np.clip(np.searchsorted(starts - tolerance, nu, side="right") - 1, 0, None)
        clipped = np.clip(nu, starts[window], stops[window])
        return clipped, np.abs(nu - clipped) <= tolerance[window]

    def holds_pressure(self, pressure: float) -> bool:
        """Tell whether the table covers a pressure [Pa], to 1e-6 of its range."""
        low, high = self.pressure[0], self.pressure[-1]
        tolerance = EDGE_TOLERANCE * (high - low if high > low else high)
        return bool(low - tolerance <= pressure <= high + tolerance)


def describe_request(nu: ArrayLike, pressure: float) -> str:
    """Describe a range of frequencies and a pressure in words, in GHz and hPa.

    Parameters
    ----------
    nu : array_like
        Frequencies [Hz].
    pressure : float
        Pressure [Pa].

    Returns
    -------
    str

    Examples
    --------
    >>> describe_request([460e9, 462e9], 51500.0)
    '460.000000-462.000000 GHz at 515 hPa'
    """
    nu = np.asarray(nu, np.float64)
    if nu.size == 0:
        return f"no frequencies at {pressure / 100:.5g} hPa"
    return f"{np.min(nu) / 1e9:.6f}-{np.max(nu) / 1e9:.6f} GHz at {pressure / 100:.5g} hPa"


def _pressure_range(low: float, high: float) -> str:
    return f"{low / 100:.5g} hPa only" if low == high else f"{low / 100:.5g}-{high / 100:.5g} hPa"


def ascending(value: Any, key: str, name: str, minimum: int = 1) -> Floats:
    """Check that an array of a table is one-dimensional, finite, above 0 and ascending.

    Parameters
    ----------
    value : array_like
        Array.
    key : str
        Key of the array in the file.
    name : str
        Name of the file.
    minimum : int
        Least number of values.

    Returns
    -------
    ndarray, shape (N,)
        Read-only copy.

    Raises
    ------
    AtmTableError
        If it is not; names file, key, and what was found and expected.

    Examples
    --------
    >>> ascending([500.0, 600.0], "pressure", "my.asdf").tolist()
    [500.0, 600.0]
    """
    try:
        axis = np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise AtmTableError(f"{name}: {key} is not numeric: {error}") from error
    if axis.ndim != 1 or len(axis) < minimum:
        raise AtmTableError(
            f"{name}: {key} has shape {axis.shape}, expected one dimension with {minimum} or more values"
        )
    if not np.all(np.isfinite(axis)) or np.any(axis <= 0.0):
        raise AtmTableError(f"{name}: {key} holds values that are not finite or not above 0")
    descents = np.flatnonzero(np.diff(axis) <= 0.0)
    if descents.size:
        i = int(descents[0])
        raise AtmTableError(f"{name}: {key} must ascend, found {axis[i]:.10g} before {axis[i + 1]:.10g} at index {i}")
    axis.flags.writeable = False
    return axis
