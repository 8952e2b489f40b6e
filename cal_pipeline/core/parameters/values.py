"""Conversion of parameter values given by users to plain values, before validation."""

from __future__ import annotations

import math
import numbers
import os
import re
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from cal_pipeline.core.store.locations import normalize_location

_PATHS = frozenset({"output_file", "output_dir", "input_dir", "config_file"})
_LISTS = frozenset({"list", "force_list", "tuple", "int_list", "float_list", "string_list"})
_LONGEST = 60


def is_path(name: str) -> bool:
    """Tell whether a parameter is a path, of an output, input, parameter or reference file."""
    return name in _PATHS or name.startswith("override_")


def show_value(value: Any) -> str:
    """Describe a value in one short line, with its type.

    Examples
    --------
    >>> show_value(1j)
    '1j (complex)'
    """
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    shown = " ".join((repr(text) if isinstance(text, (str, int, float, complex)) else reprlib.repr(text)).split())
    return f"{shown if len(shown) <= _LONGEST else shown[: _LONGEST - 3] + '...'} ({name})"


def plain_value(name: str, check: str, value: Any) -> Any:
    """Turn the value of a parameter into what the validation of stpipe takes.

    Parameters
    ----------
    name : str
        Name of the parameter.
    check : str
        Its specification, such as ``float(min=0.0, default=None)``.
    value : object
        Text, a number of any kind (Python, NumPy, `numbers`), a path, an iterable.

    Returns
    -------
    object
        Plain text, number, list or path. A value that is no such thing comes back as it is.

    Raises
    ------
    ValueError
        If a value of this type cannot be meant; says what is expected.

    Examples
    --------
    >>> import numpy as np
    >>> plain_value("level", "float(default=None)", np.float32(0.5))
    0.5
    """
    if value is None:
        return None
    kind = re.split(r"\W", check.strip(), maxsplit=1)[0]
    if is_path(name):
        return _plain_path(name, value)
    if kind in _LISTS:
        return _plain_list(value)
    return _plain_scalar(kind, value)


def refuse_infinite(value: Any) -> None:
    """Raise ValueError for NaN and infinity, which no parameter takes."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a finite number")


def require_positive(value: float) -> float:
    """Return a number above 0; raise ValueError for any other."""
    if not value > 0.0:
        raise ValueError("a number above 0")
    return value


def _unwrapped(value: Any) -> Any:
    """Return the Python object in a NumPy scalar or an array without axes."""
    if isinstance(value, str):
        # Of a subclass (NumPy's, an enumeration's) what it holds, not how it prints.
        return str.__str__(value)
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return value
    if isinstance(value, np.generic) or (type(value) is np.ndarray and value.ndim == 0):
        item = value.item()
        # Long doubles have no counterpart and stay as they are.
        return float(item) if isinstance(item, np.floating) else item
    return value


def _plain_scalar(kind: str, value: Any) -> Any:
    value = _unwrapped(value)
    if isinstance(value, str):
        return value
    if kind == "integer":
        return _integer(value)
    if kind == "float":
        return _float(value)
    if kind == "boolean" and not isinstance(value, numbers.Real):
        raise ValueError("true or false")
    if kind == "boolean" and value in (0, 1):
        return bool(value)
    if kind in ("string", "option"):
        raise ValueError("text")
    return value


def _integer(value: Any) -> int:
    # NumPy's time differences are whole numbers to `numbers`.
    if isinstance(value, (bool, np.generic)) or not isinstance(value, numbers.Integral):
        raise ValueError("a whole number")
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Number):
        raise ValueError("a number")
    try:
        # Of a decimal and a fraction too; a complex number raises.
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError("a number") from error


def _plain_path(name: str, value: Any) -> Any:
    if not isinstance(value, (str, bytes, os.PathLike)):
        if name.startswith("override_"):
            # stpipe takes models of reference files as well.
            return value
        raise ValueError("a path")
    text = normalize_location(os.fsdecode(value) if isinstance(value, bytes) else value)
    if name == "output_file" and not text.strip():
        raise ValueError("the name of an output; this one is empty")
    return text


def _members(value: Any) -> list[Any]:
    """Return the members of an iterable that is no text and no mapping, those of a set in order."""
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        raise ValueError("a list")
    members = [_unwrapped(item) for item in value]
    return sorted(members, key=lambda item: (str(type(item)), item)) if isinstance(value, (set, frozenset)) else members


def _plain_list(value: Any) -> Any:
    value = _unwrapped(value)
    return value if isinstance(value, (str, int, float)) else _members(value)


def plain_numbers(value: Any, noun: str = "observation") -> Any:
    """Flatten numbers, texts such as ``25660:25670`` and iterables of them.

    Parameters
    ----------
    value : object
        The numbers.
    noun : str
        Word for what they count, for the message.

    Raises
    ------
    ValueError
        If the value is none of these; says what is expected.

    Examples
    --------
    >>> plain_numbers([7, range(101, 104)])
    [7, '101:103']
    """
    return value if type(value) is str else _flat_numbers(value, noun)


def _flat_numbers(value: Any, noun: str) -> list[Any]:
    value = _unwrapped(value)
    if isinstance(value, str):
        return [value]
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    if isinstance(value, range) and value.step == 1 and len(value) > 1 and value[0] >= 0:
        return [f"{value[0]}:{value[-1]}"]
    try:
        members = _members(value)
    except ValueError:
        raise ValueError(f"{noun} numbers, ranges such as 25660:25670, or a list of them") from None
    return [item for member in members for item in _flat_numbers(member, noun)]
