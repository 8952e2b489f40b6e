"""Conversion of recorded numbers to the units of L0."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache

from cal_pipeline.heterodyne.ingest.rows import Floats

UNITS = {"mmHg": "133.322387415 Pa", "degC": "deg_C", "celsius": "deg_C"}
"""Further names of units."""


@dataclass(frozen=True)
class Conversion:
    """Conversion of numbers: times `factor`, plus `offset`.

    Parameters
    ----------
    factor, offset : float
        Numbers of the conversion.

    Examples
    --------
    >>> Conversion(1.0, 273.15).apply(0.0)
    273.15
    """

    factor: float = 1.0
    offset: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Tell whether nothing is converted."""
        return self == IDENTITY

    def apply(self, numbers: Floats) -> Floats:
        """Convert numbers."""
        if self.factor != 1.0:
            numbers = numbers * self.factor
        return numbers + self.offset if self.offset else numbers


IDENTITY = Conversion()
"""Conversion that changes nothing."""


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
    Conversion(factor=1.0, offset=273.15)
    >>> make_conversion("MHz", "Hz")
    Conversion(factor=1000000.0, offset=0.0)
    """
    from astropy import units

    try:
        source, target = units.Unit(UNITS.get(unit, unit)), units.Unit(to)
    except (ValueError, TypeError):
        known = [*units.get_current_unit_registry().registry, *UNITS]
        # Symbols of units are short: another case of letters is nearer than another letter.
        near = [name for name in known if name.lower() == unit.lower()] or difflib.get_close_matches(unit, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"there is no unit {unit!r}{hint}") from None
    try:
        if source.physical_type == "temperature":
            low, high = (float(source.to(target, degrees, units.temperature())) for degrees in (0.0, 1.0))
            # The difference of two rounded temperatures is not quite the factor.
            return Conversion(round(high - low, 9), low)
        return Conversion(float(source.to(target)))
    except units.UnitConversionError:
        raise ValueError(f"{unit!r} cannot be converted to {to or 'a number'!r}") from None
