"""Cards of FITS headers with all digits of a number, and numbers that a unit conversion takes to a given one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from cal_pipeline.heterodyne.simulate.errors import require

BLOCK = 2880
"""Length of which header and data of a FITS file are multiples [bytes]."""

CARD = 80
_TEXT = 68
"""Longest text of a card, between its quotes and with each quote in it doubled."""

CardValue = bool | int | float | str


def format_card(key: str, value: CardValue, comment: str = "") -> str:
    """Format one card of a FITS header.

    Parameters
    ----------
    key : str
        Keyword of at most 8 characters.
    value : bool, int, float or str
        Value. A float keeps all of its digits, if need be beyond the 20 columns of the fixed format.
    comment : str
        Comment, cut at the end of the card.

    Returns
    -------
    str
        80 characters.

    Raises
    ------
    SimulationError
        For a number that is not finite, and text that no card holds: other than ASCII, longer than 68
        characters, or with blanks at its ends.

    References
    ----------
    FITS Standard 4.0 (2018), section 4.2; `astropy.io.fits` would cut a float to 20 characters.

    Examples
    --------
    >>> format_card("OTFSLAM", -1.2345678901234567e-08, "[arcsec]").rstrip()
    'OTFSLAM = -1.2345678901234567E-08 / [arcsec]'
    >>> format_card("OBJECT", "Barnard's Star").rstrip()
    "OBJECT  = 'Barnard''s Star'"
    """
    return f"{key:<8}= {_format_value(key, value)} / {comment}".removesuffix(" / ").ljust(CARD)[:CARD]


def _format_value(key: str, value: CardValue) -> str:
    if isinstance(value, bool):
        return f"{'T' if value else 'F':>20}"
    if isinstance(value, int):
        return f"{value:>20}"
    if isinstance(value, float):
        require(math.isfinite(value), f"{key} = {value}: a FITS header holds finite numbers only")
        return f"{repr(float(value)).upper():>20}"
    quoted = value.replace("'", "''")
    require(
        value.isascii() and value.isprintable() and value == value.strip() and len(quoted) <= _TEXT,
        f"{key} = {value!r}: a card of a FITS header holds at most {_TEXT} characters of ASCII without blanks "
        "at the ends",
    )
    return f"{chr(39)}{quoted:<8}{chr(39)}".ljust(20)


def join_cards(cards: Iterable[str]) -> bytes:
    """Join cards to a header: `END` and blanks up to a multiple of 2880 bytes are added.

    Parameters
    ----------
    cards : iterable of str
        Cards of 80 characters.

    Returns
    -------
    bytes

    Examples
    --------
    >>> len(join_cards([format_card("SIMPLE", True)]))
    2880
    """
    text = "".join(cards) + "END".ljust(CARD)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")


def around(number: float, reach: int) -> Iterator[float]:
    """Yield a number, then its neighbours among the numbers of 64 bits.

    Parameters
    ----------
    number : float
        The number.
    reach : int
        Neighbours to either side.

    Yields
    ------
    float

    Examples
    --------
    >>> list(around(1.0, 1))
    [1.0, 1.0000000000000002, 0.9999999999999999]
    """
    yield number
    above = below = number
    for _ in range(reach):
        above, below = math.nextafter(above, math.inf), math.nextafter(below, -math.inf)
        yield from (above, below)


def _shortened(number: float) -> Iterator[float]:
    """Yield a number rounded to 1, 2 … 17 digits: the last is the number itself."""
    return (float(f"{number:.{digits}g}") for digits in range(1, 18))


def divide_exactly(target: float, factor: float) -> float:
    """Find the number that gives `target` when it is multiplied by `factor`.

    Parameters
    ----------
    target : float
        Number in one unit.
    factor : float
        Factor that takes a number from another unit to that of `target`.

    Returns
    -------
    float
        Number in the other unit. Some targets are the product of no number: the result is then the
        one whose product is nearest.

    Examples
    --------
    >>> divide_exactly(461.0407682e9, 1e6)  # Hz in MHz
    461040.7682
    >>> number = divide_exactly(-0.0105, 1 / 3600)  # deg in arcsec
    >>> number, number * (1 / 3600) == -0.0105, -37.8 * (1 / 3600) == -0.0105
    (-37.800000000000004, True, False)
    """
    quotient = target / factor
    exact = (number for number in _shortened(quotient) if number * factor == target)
    return next(exact, min(around(quotient, 2), key=lambda number: abs(number * factor - target)))


def split_exactly(target: float, factor: float) -> tuple[float, float]:
    """Find two numbers whose products with `factor` add up to `target`.

    Parameters
    ----------
    target, factor : float
        As in :func:`divide_exactly`.

    Returns
    -------
    number, rest : float
        The rest is 0 where the product of the first is the target.

    Examples
    --------
    >>> number, rest = split_exactly(0.007621023553303061, 1 / 3600)
    >>> rest != 0.0, number * (1 / 3600) + rest * (1 / 3600) == 0.007621023553303061
    (True, True)
    """
    number = divide_exactly(target, factor)
    return number, (target - number * factor) / factor


def divide_rounded(target: float, factor: float) -> float:
    """Find the shortest decimal number whose product with `factor` rounds to `target` in 32 bits.

    Parameters
    ----------
    target : float
        Number that 32 bits hold.
    factor : float
        Factor that takes a number from another unit to that of `target`.

    Returns
    -------
    float

    Examples
    --------
    >>> divide_rounded(float(np.float32(0.1)), 1.0)
    0.1
    """
    quotient = float(target) / factor
    rounded = (number for number in _shortened(quotient) if np.float32(number * factor) == np.float32(target))
    return next(rounded, quotient)


def find_start(middle: float, half: float) -> float:
    """Find the time to which `half` is added to get `middle` exactly.

    Parameters
    ----------
    middle : float
        Time of the middle (MJD).
    half : float
        Half of the length [d].

    Returns
    -------
    float

    Examples
    --------
    >>> find_start(60310.25, 2.0 / 86400.0) + 2.0 / 86400.0
    60310.25
    """
    return min(around(middle - half, 2), key=lambda start: abs(start + half - middle))
