"""Conversion of recorded numbers to the units of L0."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache

from cal_pipeline.heterodyne.ingest.rows import Floats

_WHOLE = 1e-12

UNITS = {"mmHg": "133.322387415 Pa", "degC": "deg_C", "celsius": "deg_C"}
"""Further names of units."""


@dataclass(frozen=True)
class Conversion:
    """Conversion of numbers: times `factor`, over `divisor`, plus `offset`.

    A unit that is a whole fraction of another, as an arcsecond of a degree, is divided by, which
    rounds once.

    Parameters
    ----------
    factor, divisor, offset : float
        Numbers of the conversion.

    Examples
    --------
    >>> Conversion(divisor=3600.0).apply(27.0)
    0.0075
    """

    factor: float = 1.0
    divisor: float = 1.0
    offset: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Tell whether nothing is converted."""
        return self == Conversion()

    def apply(self, numbers: Floats) -> Floats:
        """Convert numbers."""
        if self.factor != 1.0:
            numbers = numbers * self.factor
        if self.divisor != 1.0:
            numbers = numbers / self.divisor
        return numbers + self.offset if self.offset else numbers


@lru_cache(maxsize=256)
def make_conversion(unit: str, to: str) -> Conversion:
    """Make the conversion from one unit to another.

    Parameters
    ----------
    unit, to : str
        Units by their names in astropy, such as ``"arcsec"``, ``"deg_C"``, ``"Torr"``; ``""`` for a number
        without a unit.

    Returns
    -------
    Conversion

    Raises
    ------
    ValueError
        If there is no such unit, or none that can be converted.

    Examples
    --------
    >>> make_conversion("deg_C", "K")
    Conversion(factor=1.0, divisor=1.0, offset=273.15)
    >>> make_conversion("arcsec", "deg")
    Conversion(factor=1.0, divisor=3600.0, offset=0.0)
    """
    from astropy import units

    try:
        source = units.Unit(UNITS.get(unit, unit))
    except (ValueError, TypeError):
        known = [*units.get_current_unit_registry().registry, *UNITS]
        near = difflib.get_close_matches(unit, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"there is no unit {unit!r}{hint}") from None
    try:
        low, high = (source.to(to or units.dimensionless_unscaled, x, units.temperature()) for x in (0.0, 1.0))
    except units.UnitConversionError:
        raise ValueError(f"{unit!r} cannot be converted to {to!r}") from None
    offset, factor = float(low), float(high) - float(low)
    if offset:
        factor = round(factor, 12)
    whole = round(1.0 / factor) if factor else 0
    if whole > 1 and abs(1.0 / factor / whole - 1.0) < _WHOLE:
        return Conversion(divisor=float(whole), offset=offset)
    return Conversion(factor, offset=offset)
