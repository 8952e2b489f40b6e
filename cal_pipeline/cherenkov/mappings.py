"""Parameters that have a value for each telescope type: ``LST:125,MST:125``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from cal_pipeline.cherenkov.errors import ConfigurationError

T = TypeVar("T")

ANY = "*"
"""Key of all telescopes."""


def convert_mapping(value: Any) -> list[str]:
    """Convert a mapping, in any of the accepted forms, to a list of ``"key:value"``.

    Parameters
    ----------
    value : mapping, list, str or number
        A mapping of telescope types (or telescope numbers) to values; a list of ``"key:value"``, or one string with
        these joined by commas; the published form, a list of ``[type, pattern, value]`` and ``[id, number, value]``; a
        single value for all telescopes. A pattern such as ``"LST*"`` stands for the types that begin so.

    Returns
    -------
    list of str
        Entries ``"key:value"``; the key is the beginning of a type, a telescope number, or ``"*"``.

    Raises
    ------
    ConfigurationError
        If it is none of these.

    Examples
    --------
    >>> convert_mapping([["type", "LST*", 125.0], ["id", 5, 100.0]])
    ['LST:125.0', '5:100.0']
    >>> convert_mapping({"LST": 1, "MST": 5})
    ['LST:1', 'MST:5']
    >>> convert_mapping(0.05)
    ['*:0.05']
    """
    if isinstance(value, Mapping):
        return [_join_entry(key, item, value) for key, item in value.items()]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [_join_entry(ANY, value, value)]
    if isinstance(value, str):
        value = [part for part in (part.strip() for part in value.split(",")) if part]
    if not isinstance(value, Iterable):
        raise _refusal(value, value)
    return [_convert_entry(entry, value) for entry in value]


def read_mapping(entries: Iterable[str]) -> dict[str, str]:
    """Read the list form of a mapping.

    Parameters
    ----------
    entries : iterable of str
        Entries ``"key:value"``, from :func:`convert_mapping`.

    Returns
    -------
    dict of str to str
        Values by key, in the order of their last mention.

    Examples
    --------
    >>> read_mapping(["LST:125.0", "5:100.0"])
    {'LST': '125.0', '5': '100.0'}
    """
    mapping: dict[str, str] = {}
    for entry in convert_mapping(list(entries)):
        key, _, value = entry.partition(":")
        # Later entries win over earlier ones that match too: the order matters.
        mapping.pop(key, None)
        mapping[key] = value
    return mapping


def read_numbers(entries: Iterable[str], noun: str) -> dict[str, float]:
    """Read the list form of a mapping to finite numbers.

    Parameters
    ----------
    entries : iterable of str
        Entries ``"key:value"``.
    noun : str
        Name of the parameter, for messages.

    Raises
    ------
    ConfigurationError
        If a value is no finite number.

    Examples
    --------
    >>> read_numbers(["LST:125"], "max_impact_distance")
    {'LST': 125.0}
    """
    return {key: _read_number(value, f"{noun} of {key}") for key, value in read_mapping(entries).items()}


def find_value(mapping: Mapping[str, T], tel_type: str, tel_id: int) -> T | None:
    """Find the value of a telescope: that of the last key that matches its type or number.

    Parameters
    ----------
    mapping : mapping of str to object
        Values by the beginning of a type, by telescope number, or for all (``"*"``).
    tel_type : str
        Type of the telescope.
    tel_id : int
        Number of the telescope.

    Returns
    -------
    object or None
        The value; None if no key matches.

    Examples
    --------
    >>> find_value({"MST": 125.0, "LST": 100.0}, "MST_MST_NectarCam", 5)
    125.0
    >>> find_value({"*": 125.0, "5": 100.0}, "MST", 5)
    100.0
    """
    found = None
    for key, value in mapping.items():
        if key == ANY or key == str(tel_id) or (not key.isdigit() and tel_type.startswith(key)):
            found = value
    return found


def _convert_entry(entry: Any, whole: Any) -> str:
    if isinstance(entry, str):
        key, colon, value = entry.partition(":")
        if not colon:
            raise _refusal(entry, whole)
        return _join_entry(key, value.strip(), whole)
    if not isinstance(entry, Sequence) or len(entry) != 3 or entry[0] not in ("type", "id"):
        raise _refusal(entry, whole)
    kind, key, value = entry
    if (kind == "id") != str(key).strip().isdigit():
        raise _refusal(entry, whole)
    return _join_entry(key, value, whole)


def _join_entry(key: Any, value: Any, whole: Any) -> str:
    """Join a key and its value; a pattern ends in one asterisk at most."""
    plain, text = str(key).strip(), str(value).strip()
    plain = plain if plain == ANY else plain.removesuffix(ANY)
    pattern = plain != ANY and any(letter in plain for letter in "*?[]")
    nested = isinstance(value, Mapping | Sequence) and not isinstance(value, str)
    if pattern or not plain or not text or nested:
        raise _refusal(key if pattern or not plain else value, whole)
    if any(letter in plain + text for letter in ":,"):
        raise _refusal(f"{plain}:{text}", whole)
    return f"{plain}:{text}"


def _read_number(text: str, noun: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigurationError(f"{noun} is {text!r}; expected a number")
    return number


def _refusal(entry: Any, whole: Any) -> ConfigurationError:
    return ConfigurationError(
        f"{entry!r} in {whole!r}: expected values by telescope type, such as LST:1,MST:5, {{LST: 1, MST: 5}} or "
        "[[type, 'LST*', 1], [id, 5, 2]]"
    )
