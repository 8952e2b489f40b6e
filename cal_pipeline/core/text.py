"""Text for messages: counts with their nouns, and names from data made safe to print."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

_ELLIPSIS = "..."
_MOST_DECIMALS = 6


def format_count(number: int, noun: str, plural: str | None = None) -> str:
    """Write a number with its noun in the singular or the plural.

    Parameters
    ----------
    number : int
        Number of things.
    noun : str
        Noun in the singular.
    plural : str, optional
        Its plural where that is not the singular and an s.

    Returns
    -------
    str

    Examples
    --------
    >>> format_count(1, "scan")
    '1 scan'
    >>> format_count(0, "scan")
    '0 scans'
    >>> format_count(2, "spectrum", "spectra")
    '2 spectra'
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def make_printable(text: object) -> str:
    r"""Escape control characters, line ends, surrogates and changes of text direction.

    Letters of every script stay as they are; replacing those that a terminal cannot encode is up to
    the stream.

    Parameters
    ----------
    text : object
        Name from the data; anything but text is converted with `str`.

    Returns
    -------
    str
        One line.

    Examples
    --------
    >>> make_printable("Orion\n\x1b[31mKL")
    'Orion\\n\\x1b[31mKL'
    >>> make_printable("η Carinae")
    'η Carinae'
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if _is_harmless(c) else c.encode("unicode_escape").decode() for c in shown)


def escape_lines(text: str) -> str:
    r"""Escape each line of a text as :func:`make_printable` does; line feeds stay.

    Parameters
    ----------
    text : str
        Text for a terminal.

    Returns
    -------
    str

    Examples
    --------
    >>> print(escape_lines("scan 1:\nOrion\x1b[2J"))
    scan 1:
    Orion\x1b[2J
    """
    return "\n".join(map(make_printable, text.split("\n")))


def _is_harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def format_with_error(value: float, error: float) -> str:
    """Format a value and its standard error, both to two significant digits of the error.

    Parameters
    ----------
    value, error : float
        In the same unit.

    Returns
    -------
    str
        The value alone, with five significant digits, if the error is 0, NaN or infinite.

    Examples
    --------
    >>> format_with_error(0.49999, 0.0157)
    '0.500 ± 0.016'
    >>> format_with_error(9.9994, 0.42)
    '10.00 ± 0.42'
    >>> format_with_error(1234.5, 61.0)
    '1234 ± 61'
    >>> format_with_error(0.5, 0.0)
    '0.5'
    """
    if not (math.isfinite(value) and math.isfinite(error) and error > 0.0):
        return f"{value:.5g}"
    # The exponent after rounding: 0.0996 has the digits of 0.10.
    exponent = int(f"{error:.1e}".partition("e")[2])
    decimals = max(1 - exponent, 0)
    if decimals > _MOST_DECIMALS:
        return f"{value:.5g} ± {error:.2g}"
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def elide_middle(text: str, width: int) -> str:
    """Shorten text to a width by leaving out its middle.

    Parameters
    ----------
    text : str
        One line.
    width : int
        Longest result [characters], at least 5.

    Returns
    -------
    str

    Examples
    --------
    >>> elide_middle("scan_000001/spectra", 12)
    'scan_...ctra'
    """
    if len(text) <= width:
        return text
    kept = width - len(_ELLIPSIS)
    return text[: kept - kept // 2] + _ELLIPSIS + text[len(text) - kept // 2 :]


def list_few(names: Sequence[str], most: int = 5) -> str:
    """List names, escaped, with commas between them; only the first of many.

    Parameters
    ----------
    names : sequence of str
        Names from the data.
    most : int
        Number of names to list.

    Returns
    -------
    str

    Examples
    --------
    >>> list_few(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    listed = ", ".join(map(make_printable, names[:most]))
    return f"{listed} and {len(names) - most} more" if len(names) > most else listed


def add_article(noun: str) -> str:
    """Put the indefinite article before a noun.

    Examples
    --------
    >>> add_article("L1 store"), add_article("rate store")
    ('an L1 store', 'a rate store')
    """
    return f"{'an' if re.match('[AEIOUaeiou]|L[0-9]', noun) else 'a'} {noun}"


def format_ranges(numbers: Sequence[int | str]) -> str:
    """Write ascending numbers in short: three or more in a row as a range, first:last; names as they are.

    Parameters
    ----------
    numbers : sequence of int, or of str
        Ascending numbers, such as those of scans; or names.

    Returns
    -------
    str

    Examples
    --------
    >>> format_ranges([1, 2, 3, 7, 8])
    '1:3, 7, 8'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if isinstance(number, str):
            return ", ".join(map(make_printable, map(str, numbers)))
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}:{b}" if b - a > 1 else ", ".join(map(str, range(a, b + 1))) for a, b in runs)
