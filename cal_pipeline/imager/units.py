"""Units of stored arrays: those of counts, of rates and of calibrated images."""

from __future__ import annotations

from astropy import units

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.store.interface import ArrayReader
from cal_pipeline.imager.schema import RATE_UNITS

_COUNT_UNITS = ("adu", "dn", "ct", "count", "counts", "")
"""Units that raw data may name; compared in lower case."""


def check_count_units(reader: ArrayReader) -> None:
    """Refuse counts in another unit, or packed ones, which would be taken for plain ones.

    Raises
    ------
    LayoutError
        Names the attribute, what was found and expected.
    """
    found = reader.attributes.get("units", "adu")
    if not isinstance(found, str) or found.strip().lower() not in _COUNT_UNITS:
        raise LayoutError(f"{reader.name}: attribute units is {found!r:.80}, expected 'adu'")
    refuse_packed(reader, "counts")


def read_image_units(reader: ArrayReader, are_rates: bool) -> str:
    """Read the unit of the values of an image.

    Parameters
    ----------
    reader : ArrayReader
        The values.
    are_rates : bool
        Whether they must be rates; else any unit that astropy knows is accepted.

    Returns
    -------
    str
        As astropy writes it, however it is spelled in the store; electron / s without the attribute.

    Raises
    ------
    LayoutError
        Names the attribute, what was found and expected.
    """
    found = reader.attributes.get("units", RATE_UNITS)
    expected = repr(RATE_UNITS) if are_rates else f"a unit, such as {RATE_UNITS!r} or 'uJy'"
    try:
        is_known = isinstance(found, str) and (not are_rates or units.Unit(found) == units.Unit(RATE_UNITS))
        unit = RATE_UNITS if units.Unit(found) == units.Unit(RATE_UNITS) else str(units.Unit(found).to_string())
    except (ValueError, TypeError):
        is_known = False
    if not is_known:
        raise LayoutError(f"{reader.name}: attribute units is {found!r:.80}, expected {expected}")
    return unit


def refuse_packed(reader: ArrayReader, noun: str) -> None:
    """Refuse packed values, which would be taken for plain ones.

    Raises
    ------
    LayoutError
        Names the attribute.
    """
    for name, neutral in (("scale_factor", 1), ("add_offset", 0)):
        value = reader.attributes.get(name, neutral)
        if value != neutral:
            raise LayoutError(f"{reader.name}: attribute {name} is {value!r:.80}, expected none: {noun} as they are")
