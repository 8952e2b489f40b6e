"""Atmosphere tables: wet and dry zenith opacity against frequency and pressure, in ASDF."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import asdf
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.heterodyne.physics.opacity import interpolate_coefficients

Floats = NDArray[np.float64]

GAP_FACTOR = 10.0
"""An interval above this multiple of the median step is a gap between two windows."""

EDGE_TOLERANCE = 1e-6
"""Largest excess of a value over a range, as a fraction of the range."""


class AtmTableError(CalibrationError, ValueError):
    """An atmosphere table that violates the format."""


class AtmRangeError(CalibrationError, ValueError):
    """Frequencies or a pressure that an atmosphere table does not hold."""


@dataclass(frozen=True, eq=False)
class AtmTable:
    """Opacity coefficients of an atmosphere: tau0 = b·PWV + c.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, ascending, F >= 2 [Hz]. Intervals more than 10 times the median step separate
        windows.
    pressure : ndarray, shape (P,)
        Pressures at the telescope, ascending [Pa].
    b : ndarray of float32, shape (P, F)
        Wet zenith opacity per mm of precipitable water vapour [Np/mm].
    c : ndarray of float32, shape (P, F)
        Dry zenith opacity [Np].
    meta : dict
        Source of the numbers: model, version, site, altitude_m, temperature_profile, created.
    name : str
        File name.
    sha256 : str or None
        Checksum of the file; None for a table made in memory.

    Raises
    ------
    AtmTableError
        If a shape is wrong, an axis does not ascend, or a value is negative or not finite.

    Examples
    --------
    Halfway between two frequencies a coefficient is their mean:

    >>> table = AtmTable(np.array([460e9, 462e9]), np.array([51500.0]), b=[[0.25, 0.75]], c=[[0.125, 0.125]])
    >>> b, c = table.coefficients(461e9, 51500.0)
    >>> float(b), float(c)
    (0.5, 0.125)
    """

    frequency: Floats
    pressure: Floats
    b: NDArray[np.float32]
    c: NDArray[np.float32]
    meta: dict[str, Any] = field(default_factory=dict)
    name: str = "(in memory)"
    sha256: str | None = None

    def __post_init__(self) -> None:
        frequency = _axis(self.frequency, "frequency", self.name, minimum=2)
        pressure = _axis(self.pressure, "pressure", self.name, minimum=1)
        shape = (len(pressure), len(frequency))
        object.__setattr__(self, "frequency", frequency)
        object.__setattr__(self, "pressure", pressure)
        for key in ("b", "c"):
            object.__setattr__(self, key, _coefficients(getattr(self, key), key, self.name, shape))

    @classmethod
    def open(cls, path: str | PathLike[str]) -> AtmTable:
        """Read and check a table.

        Parameters
        ----------
        path : path
            ASDF file with `frequency` ({start, step, n} or an array), `pressure`, `b`, `c` and
            `meta`.

        Returns
        -------
        AtmTable

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        AtmTableError
            If it is no ASDF file, or a key, shape or value is not what the format asks for.

        Examples
        --------
        >>> from cal_pipeline.heterodyne.references.shipped import shipped_atm_table
        >>> AtmTable.open(shipped_atm_table("ccat")).describe_range()
        '453-497, 778-822 GHz at 480-560 hPa'
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"no atmosphere table at {path}; name an existing .asdf file or build one with 'atm-table build'"
            )
        tree = _read_tree(path)
        missing = [key for key in ("frequency", "pressure", "b", "c") if key not in tree]
        if missing:
            raise AtmTableError(
                f"{path}: missing {', '.join(missing)}; an atmosphere table holds frequency, pressure, b, c "
                f"and meta, found {', '.join(sorted(tree)) or 'nothing'}"
            )
        meta = tree.get("meta", {})
        if not isinstance(meta, Mapping):
            raise AtmTableError(f"{path}: meta is {type(meta).__name__}, expected a mapping")
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        try:
            return cls(
                frequency=_frequency_axis(tree["frequency"], path.name),
                pressure=tree["pressure"],
                b=tree["b"],
                c=tree["c"],
                meta=dict(meta),
                name=path.name,
                sha256=checksum,
            )
        except AtmTableError as error:
            raise AtmTableError(f"{path.parent}/{error}") from error

    def write(self, path: str | PathLike[str], compression: str = "zlib") -> None:
        """Write the table as ASDF.

        Parameters
        ----------
        path : path
            File to write; an existing one is replaced.
        compression : {"zlib", "bzp2"}
            Codec of the arrays; every asdf installation reads both.
        """
        tree = {
            "frequency": _regular_grid(self.frequency) or self.frequency,
            "pressure": self.pressure,
            "b": self.b,
            "c": self.c,
            "meta": dict(self.meta),
        }
        with asdf.AsdfFile(tree) as file:
            file.write_to(Path(path), all_array_compression=compression)

    @cached_property
    def windows(self) -> list[tuple[float, float]]:
        """Ranges [Hz] that the table holds without a gap, ascending."""
        return [(float(start), float(stop)) for start, stop in zip(*self._window_edges, strict=True)]

    @cached_property
    def _window_edges(self) -> tuple[Floats, Floats]:
        steps = np.diff(self.frequency)
        gaps = np.flatnonzero(steps > GAP_FACTOR * np.median(steps))
        starts = self.frequency[np.concatenate([[0], gaps + 1])]
        stops = self.frequency[np.concatenate([gaps, [len(self.frequency) - 1]])]
        return starts, stops

    def covers(self, nu: ArrayLike, pressure: float) -> bool:
        """Tell whether the table covers `nu` [Hz] and `pressure` [Pa], to 1e-6 of its ranges."""
        _, inside = self._clip_to_windows(np.asarray(nu, np.float64))
        return bool(np.all(inside)) and self._holds_pressure(pressure)

    def coefficients(self, nu: ArrayLike, pressure: float) -> tuple[Floats, Floats]:
        """Interpolate opacity coefficients at frequencies and a pressure within the table.

        Parameters
        ----------
        nu : array_like
            Sky frequencies, of any shape [Hz].
        pressure : float
            Pressure at the telescope [Pa].

        Returns
        -------
        b, c : ndarray of float64
            Wet [Np/mm] and dry [Np] zenith opacity coefficients, with the shape of `nu`.

        Raises
        ------
        AtmRangeError
            If any frequency or the pressure lies outside the table; nothing is extrapolated.

        Examples
        --------
        The line of water at 557 GHz is not in the table of a site that cannot see through it:

        >>> from cal_pipeline.heterodyne.references.shipped import open_atm_table, shipped_atm_table
        >>> open_atm_table(shipped_atm_table("ccat")).coefficients(557e9, 51500.0)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        cal_pipeline.heterodyne.references.atm_table.AtmRangeError: atmosphere table atm_ccat.asdf does not cover ...
        """
        nu = np.asarray(nu, np.float64)
        clipped, inside = self._clip_to_windows(nu)
        if not np.all(inside) or not self._holds_pressure(pressure):
            raise AtmRangeError(
                f"atmosphere table {self.name} does not cover what was asked for: "
                f"{describe_request(nu, pressure)}; it offers {self.describe_range()}. "
                "Name another table with override_atm, or build one with 'atm-table build'"
            )
        p = float(np.clip(pressure, self.pressure[0], self.pressure[-1]))
        b = interpolate_coefficients(self.frequency, self.pressure, self.b, clipped, p)
        c = interpolate_coefficients(self.frequency, self.pressure, self.c, clipped, p)
        return b, c

    def step_at(self, nu: ArrayLike) -> float:
        """Find the widest grid step [Hz] of the table at any of the frequencies `nu` [Hz]."""
        after = np.searchsorted(self.frequency, np.asarray(nu, np.float64), side="right")
        after = np.clip(after, 1, len(self.frequency) - 1)
        starts, _ = self._window_edges
        at_stop = np.isin(self.frequency[after], starts[1:])  # never the width of a gap
        after = np.where(at_stop, after - 1, after)
        return float(np.max(self.frequency[after] - self.frequency[after - 1]))

    def describe_range(self) -> str:
        """Describe windows and pressures of the table in GHz and hPa."""
        windows = ", ".join(f"{start / 1e9:.6g}-{stop / 1e9:.6g}" for start, stop in self.windows)
        return f"{windows} GHz at {_pressure_range(self.pressure[0], self.pressure[-1])}"

    def _clip_to_windows(self, nu: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Clip frequencies to the nearest window; tell which are within its tolerance."""
        starts, stops = self._window_edges
        tolerance = EDGE_TOLERANCE * (stops - starts)
        window = np.clip(np.searchsorted(starts - tolerance, nu, side="right") - 1, 0, None)
        clipped = np.clip(nu, starts[window], stops[window])
        return clipped, np.abs(nu - clipped) <= tolerance[window]

    def _holds_pressure(self, pressure: float) -> bool:
        low, high = self.pressure[0], self.pressure[-1]
        tolerance = EDGE_TOLERANCE * (high - low if high > low else high)
        return bool(low - tolerance <= pressure <= high + tolerance)


def describe_request(nu: ArrayLike, pressure: float) -> str:
    """Describe a range of frequencies and a pressure in words, in GHz and hPa.

    Parameters
    ----------
    nu : array_like
        Frequencies [Hz].
    pressure : float
        Pressure [Pa].

    Returns
    -------
    str

    Examples
    --------
    >>> describe_request([460e9, 462e9], 51500.0)
    '460.000000-462.000000 GHz at 515 hPa'
    """
    nu = np.asarray(nu, np.float64)
    if nu.size == 0:
        return f"no frequencies at {pressure / 100:.5g} hPa"
    return f"{np.min(nu) / 1e9:.6f}-{np.max(nu) / 1e9:.6f} GHz at {pressure / 100:.5g} hPa"


def _pressure_range(low: float, high: float) -> str:
    return f"{low / 100:.5g} hPa only" if low == high else f"{low / 100:.5g}-{high / 100:.5g} hPa"


def _read_tree(path: Path) -> dict[str, Any]:
    """Read the contents of an ASDF file, with the arrays in memory."""
    try:
        with asdf.open(path, lazy_load=False, memmap=False, validate_checksums=True) as file:
            return {
                key: np.asarray(value) if isinstance(value, asdf.tags.core.NDArrayType) else value
                for key, value in file.tree.items()
                if key not in ("asdf_library", "history")
            }
    except Exception as error:  # asdf, yaml, zlib and struct all raise their own kinds
        raise AtmTableError(f"{path}: not a readable ASDF file: {error}") from error


def _frequency_axis(value: Any, name: str) -> Any:
    """Expand {start, step, n} of a file to frequencies; pass on anything else."""
    if not isinstance(value, Mapping):
        return value
    missing = [key for key in ("start", "step", "n") if key not in value]
    if missing:
        raise AtmTableError(
            f"{name}: frequency lacks {', '.join(missing)}; expected {{start, step, n}} with start and step "
            "in Hz, or an array"
        )
    start, step, n = float(value["start"]), float(value["step"]), int(value["n"])
    if not (n >= 2 and n == value["n"] and step > 0.0):
        raise AtmTableError(
            f"{name}: frequency has step = {step:g} Hz, n = {value['n']}; expected a step above 0 and a whole n >= 2"
        )
    return start + step * np.arange(n)


def _regular_grid(frequency: Floats) -> dict[str, float | int] | None:
    """Find the {start, step, n} that reproduces a grid to 1e-6 of its step; None without one."""
    n = len(frequency)
    start, step = float(frequency[0]), float((frequency[-1] - frequency[0]) / (n - 1))
    if np.max(np.abs(start + step * np.arange(n) - frequency)) > 1e-6 * step:
        return None
    return {"start": start, "step": step, "n": n}


def _axis(value: Any, key: str, name: str, minimum: int) -> Floats:
    """Check an axis of the table: one-dimensional, finite, above zero, ascending."""
    try:
        axis = np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise AtmTableError(f"{name}: {key} is not numeric: {error}") from error
    if axis.ndim != 1 or len(axis) < minimum:
        raise AtmTableError(
            f"{name}: {key} has shape {axis.shape}, expected one dimension with {minimum} or more values"
        )
    if not np.all(np.isfinite(axis)) or np.any(axis <= 0.0):
        raise AtmTableError(f"{name}: {key} holds values that are not finite or not above 0")
    descents = np.flatnonzero(np.diff(axis) <= 0.0)
    if descents.size:
        i = int(descents[0])
        raise AtmTableError(f"{name}: {key} must ascend, found {axis[i]:.10g} before {axis[i + 1]:.10g} at index {i}")
    axis.flags.writeable = False
    return axis


def _coefficients(value: Any, key: str, name: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Check coefficients: shape [P, F], finite, not negative."""
    try:
        array = np.array(value, np.float32)
    except (TypeError, ValueError) as error:
        raise AtmTableError(f"{name}: {key} is not numeric: {error}") from error
    if array.shape != shape:
        raise AtmTableError(f"{name}: {key} has shape {array.shape}, expected [pressure, frequency] = {shape}")
    if not np.all(np.isfinite(array)):
        raise AtmTableError(f"{name}: {key} holds values that are not finite")
    if np.any(array < 0.0):
        raise AtmTableError(f"{name}: {key} holds negative values (least {array.min():g}); an opacity is 0 or above")
    array.flags.writeable = False
    return array
