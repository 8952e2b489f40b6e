"""The atmosphere table, interpolated in frequency and pressure (section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asdf
import numpy as np


@dataclass
class Table:
    """An atmosphere table; version 1 is one layer at the temperature of the ground."""

    grid: np.ndarray  # Hz, [F]
    pressures: np.ndarray  # Pa, [P]
    b: np.ndarray  # Np/mm up to the top of each layer, [P, L, F]
    c: np.ndarray  # Np, likewise
    offset: np.ndarray  # K above the ground, [P, L]

    def layers(self, nu: np.ndarray, p: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coefficients b and c [L, C] at frequencies and a pressure, and offsets [L]."""
        L = self.b.shape[1]
        b = [look_up(self.b[:, j], self.grid, self.pressures, nu, p) for j in range(L)]
        c = [look_up(self.c[:, j], self.grid, self.pressures, nu, p) for j in range(L)]
        p = float(inside(p, self.pressures, "pressure [Pa]"))
        offset = [np.interp(np.log(p), np.log(self.pressures), self.offset[:, j]) for j in range(L)]
        return np.array(b), np.array(c), np.array(offset)


def read_atmosphere(path: Any) -> Table:
    with asdf.open(path, memmap=False) as file:
        frequency = file["frequency"]
        if isinstance(frequency, dict) or hasattr(frequency, "keys"):
            grid = float(frequency["start"]) + float(frequency["step"]) * np.arange(int(frequency["n"]))
        else:
            grid = np.array(frequency, dtype=np.float64)
        pressure = np.array(file["pressure"], dtype=np.float64)
        b = np.array(file["b"]).astype(np.float64)
        c = np.array(file["c"]).astype(np.float64)
        if file.tree.get("version", 1) == 1:
            return Table(grid, pressure, b[:, None], c[:, None], np.zeros((len(pressure), 1)))
        return Table(grid, pressure, b, c, np.array(file["layer_offset"], dtype=np.float64))


def inside(values: Any, grid: np.ndarray, what: str) -> np.ndarray:
    # CHOICE: the tolerance is 1e-6 of the range's end; what lies within it is set to that end.
    low, high = grid.min(), grid.max()
    values = np.asarray(values, dtype=np.float64)
    if values.min() < low * (1 - 1e-6) or values.max() > high * (1 + 1e-6):
        raise ValueError(f"{what} {values.min()} to {values.max()} outside the table's {low} to {high}")
    return np.clip(values, low, high)


def look_up(table: np.ndarray, grid: np.ndarray, pressures: np.ndarray, nu: np.ndarray, p: float) -> np.ndarray:
    nu = inside(nu, grid, "frequency [Hz]")
    p = float(inside(p, pressures, "pressure [Pa]"))
    at_nu = [np.interp(nu, grid, row) for row in table]
    if len(pressures) == 1:
        return at_nu[0]
    k = min(int(np.searchsorted(pressures, p, side="right")) - 1, len(pressures) - 2)
    x = np.log(p / pressures[k]) / np.log(pressures[k + 1] / pressures[k])
    result = np.empty(len(nu))
    for i, (lower, upper) in enumerate(zip(at_nu[k], at_nu[k + 1], strict=True)):
        if lower > 0 and upper > 0:
            result[i] = np.exp((1 - x) * np.log(lower) + x * np.log(upper))
        else:
            result[i] = (1 - x) * lower + x * upper
    return result
