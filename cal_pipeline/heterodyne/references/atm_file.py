"""Files of atmosphere tables in ASDF."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import asdf
import numpy as np

from cal_pipeline.core.files.asdf_file import open_asdf
from cal_pipeline.heterodyne.references.atm_grid import AtmGrid, AtmTableError, Floats

_MOST_FREQUENCIES = 2**24
"""Largest number of frequencies of a table; larger ones are no tables but mistakes."""


def read_tree(path: Path, only: Collection[str] = ()) -> dict[str, Any]:
    """Read the contents of a table's file, with the arrays in memory.

    Parameters
    ----------
    path : Path
        ASDF file.
    only : collection of str
        Keys to read; without any, all.

    Returns
    -------
    dict

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    AtmTableError
        If it is no ASDF file, or damaged.

    Examples
    --------
    >>> from cal_pipeline.heterodyne.references.shipped import shipped_atm_table
    >>> read_tree(shipped_atm_table("ccat"), only=["pressure"])
    {'pressure': array([48000., 50500., 53200., 56000.])}
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no atmosphere table at {path}; name an existing .asdf file or build one with 'atm-table build'"
        )
    try:
        with open_asdf(path, lazy_load=bool(only), memmap=False, validate_checksums=True) as file:
            return {
                key: np.asarray(value) if isinstance(value, asdf.tags.core.NDArrayType) else value
                for key, value in file.tree.items()
                if key in (only or file.tree) and key not in ("asdf_library", "history")
            }
    except Exception as error:  # asdf, yaml, zlib and struct all raise their own kinds
        raise AtmTableError(f"{path}: not a readable ASDF file: {error}") from error


def read_grid(path: str | PathLike[str]) -> AtmGrid:
    """Read the axes of a table, without its coefficients.

    Parameters
    ----------
    path : path
        ASDF file.

    Returns
    -------
    AtmGrid

    Raises
    ------
    FileNotFoundError, AtmTableError
        As `AtmTable.open` does, for the axes.

    Examples
    --------
    >>> from cal_pipeline.heterodyne.references.shipped import shipped_atm_table
    >>> read_grid(shipped_atm_table("gbt")).describe_range()
    '66-117 GHz at 880-950 hPa'
    """
    path = Path(path)
    tree = read_tree(path, only=("frequency", "pressure"))
    require_keys(tree, ("frequency", "pressure"), path)
    try:
        return AtmGrid(expand_frequency(tree["frequency"], path.name), tree["pressure"], name=path.name)
    except AtmTableError as error:
        raise AtmTableError(f"{path.parent}/{error}") from error


def require_keys(tree: Mapping[str, Any], keys: Collection[str], path: Path) -> None:
    """Make sure that a file has all keys of its format.

    Parameters
    ----------
    tree : dict
        Contents of the file.
    keys : collection of str
        Keys that the format asks for.
    path : Path
        The file.

    Raises
    ------
    AtmTableError
        If one is missing; names those that are expected and found.

    Examples
    --------
    >>> require_keys({"b": 1.0, "c": 2.0}, ["b", "c"], Path("my.asdf"))
    """
    missing = [key for key in keys if key not in tree]
    if missing:
        raise AtmTableError(
            f"{path}: missing {', '.join(missing)}; an atmosphere table holds {', '.join(keys)} "
            f"and meta, found {', '.join(sorted(tree)) or 'nothing'}"
        )


def expand_frequency(value: Any, name: str) -> Any:
    """Expand {start, step, n} of a file to frequencies; pass on anything else.

    Parameters
    ----------
    value : object
        Frequencies in a file [Hz].
    name : str
        Name of the file.

    Returns
    -------
    object
        Array with the shape (n,), or `value`.

    Raises
    ------
    AtmTableError
        If start, step or n is missing or makes no sense.

    Examples
    --------
    >>> expand_frequency({"start": 460e9, "step": 1e9, "n": 3}, "my.asdf") / 1e9
    array([460., 461., 462.])
    """
    if not isinstance(value, Mapping):
        return value
    missing = [key for key in ("start", "step", "n") if key not in value]
    if missing:
        raise AtmTableError(
            f"{name}: frequency lacks {', '.join(missing)}; expected {{start, step, n}} with start and step "
            "in Hz, or an array"
        )
    start, step, n = float(value["start"]), float(value["step"]), int(value["n"])
    if not (2 <= n <= _MOST_FREQUENCIES and n == value["n"] and step > 0.0):
        raise AtmTableError(
            f"{name}: frequency has step = {step:g} Hz, n = {value['n']}; expected a step above 0 and a whole n "
            f"from 2 to {_MOST_FREQUENCIES}"
        )
    return start + step * np.arange(n)


def compress_frequency(frequency: Floats) -> dict[str, float | int] | None:
    """Find the {start, step, n} of a regular grid.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, ascending [Hz].

    Returns
    -------
    dict or None
        It reproduces the grid to 1e-6 of its step; None if nothing does.

    Examples
    --------
    >>> compress_frequency(np.array([1.0, 1.5, 2.0]))
    {'start': 1.0, 'step': 0.5, 'n': 3}
    >>> compress_frequency(np.array([1.0, 1.5, 3.0])) is None
    True
    """
    n = len(frequency)
    start, step = float(frequency[0]), float((frequency[-1] - frequency[0]) / (n - 1))
    if np.max(np.abs(start + step * np.arange(n) - frequency)) > 1e-6 * step:
        return None
    return {"start": start, "step": step, "n": n}


def date_of_creation() -> str:
    """Return the date for a table's meta: today, or that of the environment variable SOURCE_DATE_EPOCH.

    Returns
    -------
    str
        Such as ``"2026-11-29"``, in UTC.

    Examples
    --------
    >>> year, month, day = date_of_creation().split("-")
    """
    now = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    return time.strftime("%Y-%m-%d", now)
