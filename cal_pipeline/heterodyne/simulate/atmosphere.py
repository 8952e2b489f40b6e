"""Zenith opacity from an atmosphere table."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import asdf
import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.simulate.errors import SimulationError

Array = NDArray[np.float64]

TOLERANCE = 1e-6
"""Largest excess of a frequency or pressure over the table, as a fraction of its range."""

GAP = 10.0
"""A frequency step this many times the table's median step is a gap between two windows."""


class Opacities(Protocol):
    """Whatever knows the zenith opacity b·PWV + c."""

    def coefficients(self, nu: Array, pressure: float) -> tuple[Array, Array]:
        """Return b [Np/mm] and c [Np] at frequencies `nu` [Hz] and a `pressure` [Pa]."""


@dataclass(frozen=True, eq=False)
class AtmosphereTable:
    """Zenith opacity tau0 = b·PWV + c on a grid of pressure and frequency.

    Parameters
    ----------
    name : str
        Source of the table, for messages.
    frequency : ndarray, shape (F,)
        [Hz], ascending.
    pressure : ndarray, shape (P,)
        [Pa], ascending.
    b, c : ndarray, shape (P, F)
        Wet [Np/mm] and dry [Np] zenith opacity.
    """

    name: str
    frequency: Array
    pressure: Array
    b: Array
    c: Array

    @classmethod
    def read(cls, path: str | Path) -> AtmosphereTable:
        """Read an ASDF table: `frequency` (an array or {start, step, n}), `pressure`, `b`, `c`.

        Of coefficients up to the top of each of several layers, (P, L, F), the last row counts: the
        whole atmosphere.
        """
        if not Path(path).is_file():
            raise SimulationError(f"atmosphere table {path} does not exist; name one with `table` (--atm)")
        try:
            with asdf.open(path, memmap=False, lazy_load=False) as tree:
                frequency = tree["frequency"]
                if isinstance(frequency, dict):
                    frequency = frequency["start"] + frequency["step"] * np.arange(int(frequency["n"]))
                names = ("pressure", "b", "c")
                pressure, b, c = (np.array(tree[name], dtype=np.float64) for name in names)
                frequency = np.array(frequency, dtype=np.float64)
        except KeyError as error:
            raise SimulationError(f"{path} is no atmosphere table: it has no {error}") from error
        except (ValueError, TypeError) as error:
            raise SimulationError(f"{path} cannot be read as an atmosphere table: {error}") from error
        b, c = (values[:, -1] if values.ndim == 3 else values for values in (b, c))
        if b.shape != (pressure.size, frequency.size) or c.shape != b.shape:
            raise SimulationError(
                f"atmosphere table {path}: b {b.shape} and c {c.shape} must be (pressure, frequency)"
                f" = ({pressure.size}, {frequency.size})"
            )
        return cls(str(path), frequency, pressure, b, c)

    def coefficients(self, nu: Array, pressure: float) -> tuple[Array, Array]:
        """Return b [Np/mm] and c [Np] at frequencies `nu` [Hz] and a `pressure` [Pa].

        Linear in frequency; between pressures the logarithms are linear in ln p, or the values
        themselves where one of them is 0.

        Raises
        ------
        SimulationError
            If a frequency or the pressure lies outside the table or in a gap between its
            windows.
        """
        self._check("frequency", float(nu.min()), float(nu.max()), self.frequency, 1e9, "GHz")
        self._check("pressure", pressure, pressure, self.pressure, 100.0, "hPa")
        self._check_gaps(nu)
        if self.pressure.size == 1:
            return np.interp(nu, self.frequency, self.b[0]), np.interp(nu, self.frequency, self.c[0])
        low = int(np.clip(np.searchsorted(self.pressure, pressure) - 1, 0, self.pressure.size - 2))
        ln_p = np.log(self.pressure[low : low + 2])
        fraction = float(np.clip((np.log(pressure) - ln_p[0]) / (ln_p[1] - ln_p[0]), 0.0, 1.0))
        return self._between(self.b, low, fraction, nu), self._between(self.c, low, fraction, nu)

    def _between(self, values: Array, low: int, fraction: float, nu: Array) -> Array:
        first, second = (np.interp(nu, self.frequency, values[row]) for row in (low, low + 1))
        positive = (first > 0.0) & (second > 0.0)
        linear = (1.0 - fraction) * first + fraction * second
        first, second = np.where(positive, first, 1.0), np.where(positive, second, 1.0)
        return np.where(positive, first ** (1.0 - fraction) * second**fraction, linear)

    def _check(self, what: str, low: float, high: float, axis: Array, scale: float, unit: str) -> None:
        margin = TOLERANCE * float(axis[-1] - axis[0])
        if low < axis[0] - margin or high > axis[-1] + margin:
            raise SimulationError(
                f"{what} {low / scale:.6g} to {high / scale:.6g} {unit} is outside the atmosphere table"
                f" {self.name}, {axis[0] / scale:.6g} to {axis[-1] / scale:.6g} {unit};"
                " change the set-up or name another table"
            )

    def _check_gaps(self, nu: Array) -> None:
        steps = np.diff(self.frequency)
        if steps.size == 0:
            return
        for index in np.flatnonzero(steps > GAP * np.median(steps)):
            low, high = self.frequency[index : index + 2]
            if np.any((nu > low) & (nu < high)):
                raise SimulationError(
                    f"frequency {nu.min() / 1e9:.6g} to {nu.max() / 1e9:.6g} GHz reaches into the gap"
                    f" {low / 1e9:.6g} to {high / 1e9:.6g} GHz of the atmosphere table {self.name}"
                )


def shipped_table(name: str) -> Path:
    """Return the path of the shipped table of a telescope (ccat, sofia, gbt)."""
    # Through the parent package: the data are wanted, not the code that lies beside them.
    path = Path(str(files("cal_pipeline").joinpath("heterodyne", "references", "data", f"atm_{name}.asdf")))
    if not path.is_file():
        raise SimulationError(f"no atmosphere table {path.name} comes with this installation; name one (--atm)")
    return path
