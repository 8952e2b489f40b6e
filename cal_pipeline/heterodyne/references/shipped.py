"""The atmosphere tables that come with the package, and which of them suits a scan."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from cal_pipeline.heterodyne.references.atm_file import read_grid
from cal_pipeline.heterodyne.references.atm_grid import AtmGrid, AtmRangeError, describe_request
from cal_pipeline.heterodyne.references.atm_table import AtmTable

DATA = Path(__file__).parent / "data"
"""Directory of the tables that come with the package."""


def shipped_atm_tables() -> list[Path]:
    """List the paths of the shipped atmosphere tables, in alphabetical order.

    Examples
    --------
    >>> [path.name for path in shipped_atm_tables()]
    ['atm_ccat.asdf', 'atm_gbt.asdf', 'atm_sofia.asdf']
    """
    return sorted(DATA.glob("atm_*.asdf"))


def shipped_atm_table(name: str) -> Path:
    """Return the path of a shipped table by its short name.

    Parameters
    ----------
    name : str
        Such as ``ccat`` for ``atm_ccat.asdf``.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        If there is no such table; names those there are.

    Examples
    --------
    >>> shipped_atm_table("sofia").name
    'atm_sofia.asdf'
    """
    path = DATA / f"atm_{name}.asdf"
    if not path.is_file():
        names = ", ".join(table.stem.removeprefix("atm_") for table in shipped_atm_tables())
        raise FileNotFoundError(f"no shipped atmosphere table {name!r}; there are: {names or 'none'}")
    return path


def open_atm_table(path: str | PathLike[str]) -> AtmTable:
    """Open an atmosphere table, reading each file once per process as long as it does not change.

    Parameters
    ----------
    path : path
        ASDF file.

    Returns
    -------
    AtmTable
        Shared between callers; its arrays are read-only.

    Raises
    ------
    FileNotFoundError, AtmTableError
        As `AtmTable.open` does.

    Examples
    --------
    Air with 0.5 mm of water leaves two thirds of a signal at 461 GHz:

    >>> table = open_atm_table(shipped_atm_table("ccat"))
    >>> b, c = table.coefficients(461e9, 51500.0)
    >>> f"{np.exp(-(0.5 * b + c)):.2f}"
    '0.68'
    """
    path = Path(path).absolute()
    if not path.is_file():
        return AtmTable.open(path)  # raises, with the remedy
    return _open_cached(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _open_cached(path: Path, mtime_ns: int) -> AtmTable:
    return AtmTable.open(path)


@lru_cache(maxsize=16)
def _read_grid_cached(path: Path, mtime_ns: int) -> AtmGrid:
    return read_grid(path)


def find_atm_table(frequencies: ArrayLike | Iterable[ArrayLike], pressure: float) -> Path:
    """Pick the shipped table that holds all frequencies and the pressure of a scan.

    Parameters
    ----------
    frequencies : array_like or iterable of array_like
        Sky frequencies, such as those of the signal and of the image sideband [Hz].
    pressure : float
        Pressure at the telescope [Pa].

    Returns
    -------
    Path
        Where several tables hold them, the one with the finest frequency grid there.

    Raises
    ------
    AtmRangeError
        If no shipped table holds them; says what each offers.

    Examples
    --------
    >>> find_atm_table([461e9, 473e9], 51500.0).name, find_atm_table([1900e9], 17900.0).name
    ('atm_ccat.asdf', 'atm_sofia.asdf')
    """
    nu = _flatten(frequencies)
    suited = []
    grids = []
    for path in shipped_atm_tables():
        grid = _read_grid_cached(path, path.stat().st_mtime_ns)
        grids.append(grid)
        step = _step_at(grid, nu.tobytes())
        if step is not None and grid.holds_pressure(pressure):
            suited.append((step, path))
    if not suited:
        offers = [f"{grid.name}: {grid.describe_range()}" for grid in grids]
        raise AtmRangeError(
            f"no shipped atmosphere table covers {describe_request(nu, pressure)}; they offer "
            f"{'; '.join(offers) or 'nothing'}. "
            "Build one with 'atm-table build' and name it with override_atm"
        )
    return min(suited)[1]


@lru_cache(maxsize=16)
def _step_at(grid: AtmGrid, nu: bytes) -> float | None:
    """Find the widest step of a grid [Hz] at frequencies that scans of a session share; None if it lacks any."""
    frequencies = np.frombuffer(nu, np.float64)
    _, inside = grid.clip_frequencies(frequencies)
    return grid.step_at(frequencies) if np.all(inside) else None


def _flatten(frequencies: ArrayLike | Iterable[ArrayLike]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Flatten frequencies to one array; arrays of an iterable may differ in length."""
    if isinstance(frequencies, np.ndarray) or not isinstance(frequencies, Iterable):
        return np.asarray(frequencies, np.float64).ravel()
    parts = [np.asarray(part, np.float64).ravel() for part in frequencies]
    return np.concatenate(parts) if parts else np.empty(0)
