"""Ranges in which the formulas of air hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cal_pipeline.cherenkov.errors import CorruptedInputError

RANGES = {
    "wavelength": (200.0, 4000.0, "nm"),
    "pressure": (0.0, 1400.0, "hPa"),
    "temperature": (150.0, 400.0, "K"),
    "CO2 concentration": (200.0, 1000.0, "ppm"),
}
"""Lowest and highest values, with the unit, by quantity."""


def check_range(quantity: str, values: ArrayLike) -> None:
    """Refuse values outside of the range in which the formulas of air hold.

    Parameters
    ----------
    quantity : str
        A key of :data:`RANGES`.
    values : array_like
        Values in its unit; NaN is outside.

    Raises
    ------
    CorruptedInputError
        Names the first value outside.

    Examples
    --------
    >>> check_range("temperature", [180.0, 300.0])
    """
    low, high, unit = RANGES[quantity]
    flat = np.asarray(values, dtype=float).ravel()
    is_outside = ~((flat >= low) & (flat <= high))
    if is_outside.any():
        raise CorruptedInputError(
            f"{quantity} {flat[is_outside][0]:g} {unit} is outside of {low:g} to {high:g} {unit}, "
            "for which the refractive index of air is known"
        )
