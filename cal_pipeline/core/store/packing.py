"""Attributes that define stored numbers: missing markers, packing, valid ranges, units."""

from __future__ import annotations

import base64
import functools
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import LayoutError

Floats = NDArray[np.float64]

FILL_COUNT = -(2**31)
"""Count that marks missing ones, the minimum of 32-bit integers."""

_MEANINGFUL = ("_FillValue", "missing_value", "valid_min", "valid_max", "valid_range", "_Unsigned")
_PACKING = {"scale_factor": 1.0, "add_offset": 0.0}

_OTHER_SPELLINGS = {
    "bscale": "scale_factor",
    "scale": "scale_factor",
    "scalefactor": "scale_factor",
    "tscal": "scale_factor",
    "bzero": "add_offset",
    "offset": "add_offset",
    "addoffset": "add_offset",
    "tzero": "add_offset",
    "blank": "_FillValue",
    "fillvalue": "_FillValue",
    "nodata": "_FillValue",
    "tnull": "_FillValue",
    "missingvalue": "missing_value",
    "validmin": "valid_min",
    "validmax": "valid_max",
    "validrange": "valid_range",
    "unsigned": "_Unsigned",
}
"""Spellings of FITS and of other conventions, without underscores and in lower case."""

_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_SECONDS_PER_DAY = 86400.0
_LONGEST_STEP = 14.0
"""Days in the longest unit of CF times; months and years are not of one length."""
_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
_UNIT_NAMES = {
    **dict.fromkeys(("degC", "celsius", "degree_C", "degree_Celsius", "degrees_C", "degrees_Celsius"), "deg_C"),
    **dict.fromkeys(("degrees_north", "degrees_east", "degree_north", "degree_east"), "deg"),
    "mmHg": "Torr",
}
"""Names that astropy does not know, or takes for others: C is coulomb."""


@dataclass(frozen=True)
class Packing:
    """Decoding of an array: stored number·scale + offset, NaN for missing values.

    Parameters
    ----------
    stored : numpy.dtype
        Type of the stored numbers, once ``_Unsigned`` is applied.
    markers : tuple of int or float
        Stored numbers that stand for a missing value.
    lowest, highest : int, float or None
        Valid range of the stored numbers.
    scale, offset : float
        Linear decoding, units included.

    Examples
    --------
    >>> packing = Packing.from_attributes("tamb", {"scale_factor": 0.5, "_FillValue": -1}, np.dtype("int16"))
    >>> packing.decode(np.array([-1, 500], np.int16))
    array([ nan, 250.])
    """

    stored: np.dtype[Any]
    markers: tuple[int | float, ...] = ()
    lowest: int | float | None = None
    highest: int | float | None = None
    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def from_attributes(
        cls, name: str, attributes: Mapping[str, Any], dtype: np.dtype[Any], unit: str | None = None
    ) -> Packing:
        """Work out how an array of numbers is decoded.

        Parameters
        ----------
        name : str
            Name of the array, for messages.
        attributes : mapping
            Attributes of the array, as JSON holds them.
        dtype : numpy.dtype
            Type of the stored numbers: integer or float.
        unit : str, optional
            Unit of the decoded numbers, as astropy spells it; ``"d"`` stands for a modified Julian
            date. An attribute ``units`` is converted to that unit. Any ``units`` passes if not
            given.

        Returns
        -------
        Packing

        Raises
        ------
        LayoutError
            For an attribute that cannot be applied; names array, attribute, value and what was
            expected.
        """
        if not attributes:
            return cls(dtype)
        _refuse_other_spellings(name, attributes)
        reader = _AttributeReader(name, attributes, dtype)
        scale, offset = reader.packing_number("scale_factor"), reader.packing_number("add_offset")
        packed = scale != 1.0 or offset != 0.0
        lowest, highest = reader.valid_range(packed)
        if unit is not None and attributes.get("units") is not None:
            factor, shift = _conversion(name, attributes, unit)
            scale, offset = scale * factor, offset * factor + shift
        return cls(reader.stored, reader.markers(), lowest, highest, scale, offset)

    @classmethod
    def for_counts(cls, name: str, attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> Packing:
        """Make the decoding of counts; the minimum of a signed type marks missing counts too.

        Wider integers and floats that hold the minimum of 32-bit integers were made of such counts:
        those are missing as well. So is the maximum of an integer type, at which a counter stops.
        Logarithmic units are refused; linear ones cancel in the calibration.

        Raises
        ------
        LayoutError
            For an attribute that cannot be applied.
        """
        packing = cls.from_attributes(name, attributes, dtype)
        units = str(attributes.get("units") or "")
        if units.lower().startswith(("db", "lg(", "log")):
            raise LayoutError(f"{name}: attribute units is {units!r}, expected counts on a linear scale")
        stored, lowest, highest = packing.stored, packing.lowest, packing.highest
        own = [int(np.iinfo(stored).min)] if stored.kind == "i" else []
        if stored.kind in "if" and stored.itemsize >= 4:
            own.append(FILL_COUNT)
        if stored.kind == "f":
            # Infinite counts are missing.
            largest = float(np.finfo(stored).max)
            lowest = -largest if lowest is None else max(lowest, -largest)
        else:
            largest = int(np.iinfo(stored).max) - 1
        if stored.kind in "iuf":
            highest = largest if highest is None else min(highest, largest)
        markers = tuple(dict.fromkeys((*own, *packing.markers)))
        return cls(stored, markers, lowest, highest, packing.scale, packing.offset)

    @property
    def is_identity(self) -> bool:
        """Tell whether unpacking leaves valid numbers unchanged (scale 1, offset 0)."""
        return self.scale == 1.0 and self.offset == 0.0

    def reinterpret(self, raw: NDArray[Any]) -> NDArray[Any]:
        """View stored numbers as signed or unsigned, as the attribute ``_Unsigned`` says."""
        if raw.dtype.kind == self.stored.kind:
            return raw
        return raw.view(self.stored.newbyteorder(raw.dtype.byteorder))

    def find_missing(self, stored: NDArray[Any], extremes: tuple[int, int] | None = None) -> NDArray[np.bool_] | None:
        """Find stored numbers that mark missing values; None if there are none.

        Parameters
        ----------
        stored : ndarray
            Stored numbers, once reinterpreted.
        extremes : tuple of int, optional
            Smallest and largest of them, if known; saves two passes.
        """
        if stored.size == 0:
            return None
        # Markers are mostly beyond all counts: the extremes tell without memory for a mask. Those of floats pass
        # over NaN.
        smallest, largest = np.fmin.reduce, np.fmax.reduce
        if stored.dtype.kind != "f":
            smallest, largest = np.minimum.reduce, np.maximum.reduce
        masks = []
        if self.markers or self.lowest is not None:
            lowest = smallest(stored, axis=None) if extremes is None else extremes[0]
            masks = [stored == stored.dtype.type(marker) for marker in self.markers if not lowest > marker]
            if self.lowest is not None and not lowest >= self.lowest:
                masks.append(stored < self.lowest)
        if self.highest is not None:
            highest = largest(stored, axis=None) if extremes is None else extremes[1]
            if not highest <= self.highest:
                masks.append(stored > self.highest)
        return functools.reduce(np.logical_or, masks) if masks else None

    def saturated_at(self, limit: float) -> Packing:
        """Return the decoding in which values at or above a limit are missing too.

        Parameters
        ----------
        limit : float
            Lowest decoded value that is missing.

        Examples
        --------
        >>> Packing(np.dtype("int16"), scale=0.5).saturated_at(100.0).decode(np.array([199, 200], np.int16))
        array([99.5,  nan])
        """
        own = np.iinfo(self.stored) if self.stored.kind != "f" else np.finfo(self.stored)
        bound = (limit - self.offset) / self.scale
        # Of the numbers next to the bound the decoding itself tells which are below the limit.
        if self.scale > 0.0:
            if bound > own.max:
                return self
            highest = self._first_below(limit, bound, -1)
            return replace(self, highest=highest if self.highest is None else min(self.highest, highest))
        if bound < own.min:
            return self
        lowest = self._first_below(limit, bound, 1)
        return replace(self, lowest=lowest if self.lowest is None else max(self.lowest, lowest))

    def _first_below(self, limit: float, bound: float, direction: int) -> int | float:
        """Find the first stored number from a bound on, in a direction, whose value is below a limit."""
        if self.stored.kind != "f":
            number = math.floor(bound) - direction
            while number * self.scale + self.offset >= limit:
                number += direction
            return number
        away, onward = (self.stored.type(sign * direction * math.inf) for sign in (-1, 1))
        close = np.nextafter(self.stored.type(bound), away)
        while float(close) * self.scale + self.offset >= limit:
            close = np.nextafter(close, onward)
        return float(close)

    def decode(self, raw: NDArray[Any]) -> Floats:
        """Decode stored numbers.

        Parameters
        ----------
        raw : ndarray
            Stored numbers, of any shape.

        Returns
        -------
        ndarray
            Decoded values as float64, NaN if missing.
        """
        stored = self.reinterpret(raw)
        return self.unpack(stored, self.find_missing(stored))

    def unpack(self, stored: NDArray[Any], missing: NDArray[np.bool_] | None) -> Floats:
        """Apply scale and offset to stored numbers.

        Parameters
        ----------
        stored : ndarray
            Stored numbers, once reinterpreted.
        missing : ndarray of bool, or None
            True for missing values.
        """
        values = np.array(stored, np.float64)
        if missing is not None:
            values[missing] = np.nan
        with np.errstate(over="ignore"):
            if self.scale != 1.0:
                values *= self.scale
            if self.offset != 0.0:
                values += self.offset
        return values


def _refuse_other_spellings(name: str, attributes: Mapping[str, Any]) -> None:
    """Refuse FITS keywords and misspelt CF attributes, unless they change nothing."""
    for attribute, value in attributes.items():
        if attribute in _PACKING or attribute in _MEANINGFUL:
            continue
        plain = attribute.lower().replace("_", "")
        meant = _OTHER_SPELLINGS.get(plain)
        neutral = _PACKING.get(meant or "")
        if meant and (neutral is None or isinstance(value, bool) or value != neutral):
            raise LayoutError(
                f"{name}: attribute {attribute} is {value!r}, which would change what the numbers mean; "
                f"expected {meant} if that is meant, else another name"
            )


class _AttributeReader:
    """Reads attributes of one array, with messages that name it.

    Parameters
    ----------
    name : str
        Name of the array.
    attributes : mapping
        Its attributes.
    dtype : numpy.dtype
        Type of its stored numbers.
    """

    def __init__(self, name: str, attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> None:
        self._name, self._attributes, self._dtype = name, attributes, dtype
        self.stored = self._signedness()

    def _refusal(self, attribute: str, expected: str) -> LayoutError:
        found = self._attributes[attribute]
        return LayoutError(f"{self._name}: attribute {attribute} is {found!r}, expected {expected}")

    def _signedness(self) -> np.dtype[Any]:
        """Type of the stored numbers, signed or not as ``_Unsigned`` says."""
        if "_Unsigned" not in self._attributes:
            return self._dtype
        wanted = {"true": "u", "false": "i"}.get(str(self._attributes["_Unsigned"]).lower())
        if wanted is None or self._dtype.kind not in "iu":
            raise self._refusal("_Unsigned", f"'true' or 'false', and integers (they are {self._dtype.name})")
        return np.dtype(f"{wanted}{self._dtype.itemsize}")

    def packing_number(self, attribute: str) -> float:
        """Value of ``scale_factor`` or ``add_offset``; what changes nothing if absent."""
        if attribute not in self._attributes:
            return _PACKING[attribute]
        value = _single(self._attributes[attribute])
        number = _as_float(value) if isinstance(value, (int, float)) else float("nan")
        if not np.isfinite(number) or (attribute == "scale_factor" and number == 0.0):
            raise self._refusal(attribute, "one finite number" + " other than 0" * (attribute == "scale_factor"))
        return number

    def markers(self) -> tuple[int | float, ...]:
        """Return the missing markers in ``_FillValue`` and ``missing_value``; NaN needs none."""
        found: list[int | float] = []
        for attribute in ("_FillValue", "missing_value"):
            values = self._attributes.get(attribute)
            values = values if isinstance(values, list) else [values]
            found += [self._marker(attribute, value) for value in values if value is not None]
        return tuple(dict.fromkeys(marker for marker in found if marker == marker))

    def _marker(self, attribute: str, value: Any) -> int | float:
        """Convert a marker to a stored number."""
        if self.stored.kind == "f":
            number = _float_from_json(value)
            if number is None:
                raise self._refusal(attribute, f"a number of type {self.stored.name} (or its base64, as xarray writes)")
            with np.errstate(over="ignore"):
                return float(self.stored.type(number))
        number = self._integer(value)
        if number is None:
            raise self._refusal(attribute, f"a whole number that {self._dtype.name} can hold")
        return number

    def _integer(self, value: Any) -> int | None:
        """Convert a value to a stored integer; None if the value is no such integer.

        With ``_Unsigned``, integers of the signed and of the unsigned type count.
        """
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or value % 1 != 0:
            return None
        number, own, limits = int(value), np.iinfo(self._dtype), np.iinfo(self.stored)
        if own.min <= number <= own.max:
            # Written in the type of the array: -1 of int8 is 255 unsigned.
            return int(np.array(number, self._dtype.newbyteorder("=")).view(self.stored))
        return number if limits.min <= number <= limits.max else None

    def valid_range(self, packed: bool) -> tuple[int | float | None, int | float | None]:
        """Read the valid range of the stored numbers; None for no limit."""
        lowest, highest = self._limit("valid_min", packed), self._limit("valid_max", packed)
        if "valid_range" not in self._attributes:
            return lowest, highest
        both = self._attributes["valid_range"]
        if not isinstance(both, list) or len(both) != 2 or lowest is not None or highest is not None:
            raise self._refusal("valid_range", "two numbers, and neither valid_min nor valid_max beside them")
        low, high = (self._limit("valid_range", packed, number) for number in both)
        return low, high

    def _limit(self, attribute: str, packed: bool, value: Any = None) -> int | float | None:
        """Read a limit, which applies to stored numbers."""
        if attribute not in self._attributes:
            return None
        found = _single(self._attributes[attribute]) if value is None else value
        if isinstance(found, bool) or not isinstance(found, (int, float)) or found != found:
            raise self._refusal(attribute, "a number")
        if packed and self.stored.kind != "f" and not isinstance(found, int):
            # By the convention a limit of a wider type counts decoded numbers, but JSON does not tell types.
            raise self._refusal(attribute, f"a whole number, as stored ({self.stored.name}, packed)")
        return _as_float(found) if self.stored.kind == "f" else found


def _single(value: Any) -> Any:
    """Unwrap an attribute that is a list of one number; leave longer lists unchanged."""
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    return None if isinstance(value, bool) else value


def _as_float(value: int | float) -> float:
    """Convert a number of JSON to float; infinite beyond its range."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _float_from_json(value: Any) -> float | None:
    """Parse a float in Zarr or xarray JSON: a number, a name, or 8 bytes in base64."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _as_float(value)
    if not isinstance(value, str):
        return None
    named = {"nan": float("nan"), "infinity": float("inf"), "-infinity": float("-inf")}.get(value.lower())
    if named is not None:
        return named
    try:
        return float(struct.unpack("<d", base64.b64decode(value, validate=True))[0])
    except (ValueError, struct.error):
        return None


def _conversion(name: str, attributes: Mapping[str, Any], unit: str) -> tuple[float, float]:
    """Factor and shift that turn numbers of the attribute ``units`` into those of `unit`."""
    text = str(attributes["units"]).strip()
    if unit == "d" and " since " in text:
        return _conversion_of_times(name, attributes, text)
    if text == unit or (unit == "d" and text.lower() in ("mjd", "mjd_utc")):
        return 1.0, 0.0
    if not unit and text.lower() in ("1", "channel", "channels", "none", "dimensionless", "-"):
        return 1.0, 0.0
    # Imported where it is needed: few arrays carry units, and the import takes longer than a small observation.
    from astropy import units

    try:
        found, wanted = _parse_unit(text), units.Unit(unit)
        start, one = (float(found.to(wanted, x, equivalencies=units.temperature())) for x in (0.0, 1.0))
    except ValueError as error:
        expected = f"{unit} or a unit that converts to it" if unit else "no unit"
        raise LayoutError(f"{name}: attribute units is {text!r}, expected {expected}") from error
    return one - start, start


def _parse_unit(text: str) -> Any:
    """A unit by its symbol, or by its name in singular or plural."""
    from astropy import units

    text = _UNIT_NAMES.get(text, text)
    singular = text.lower().removesuffix("s")
    # Symbols depend on their case, mHz is not MHz; names, which are longer, do not.
    names = (text.lower(), singular, singular.capitalize()) if len(text) > 3 else ()
    for spelling in (text, *names):
        try:
            return units.Unit(spelling, parse_strict="raise")
        except (ValueError, TypeError):
            continue
    raise ValueError(f"{text!r} is no unit")


def _conversion_of_times(name: str, attributes: Mapping[str, Any], text: str) -> tuple[float, float]:
    """Factor and shift that turn CF times into modified Julian dates."""
    step, _, start = (part.strip() for part in text.partition(" since "))
    calendar = str(attributes.get("calendar", "standard")).lower()
    try:
        if calendar not in _CALENDARS:
            raise ValueError(f"calendar {calendar}")
        from astropy import units

        factor = float(_parse_unit(step).to(units.day))
        if factor > _LONGEST_STEP:
            raise ValueError(f"{step} differ in length")
        epoch = datetime.fromisoformat(start.removesuffix("UTC").strip().replace("Z", "+00:00"))
    except ValueError as error:
        raise LayoutError(
            f"{name}: attribute units is {text!r} (calendar {calendar}), expected days (or a unit of time) since "
            "a date, such as 'days since 1858-11-17', in the Gregorian calendar"
        ) from error
    elapsed = (epoch if epoch.tzinfo else epoch.replace(tzinfo=UTC)) - _EPOCH
    return factor, elapsed.days + (elapsed.seconds + elapsed.microseconds * 1e-6) / _SECONDS_PER_DAY
