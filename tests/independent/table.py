"""The atmosphere table, interpolated in frequency and pressure (section 3)."""

from __future__ import annotations

from typing import Any

import asdf
import numpy as np


def read_atmosphere(path: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    with asdf.open(path, memmap=False) as file:
        frequency = file["frequency"]
        if isinstance(frequency, dict) or hasattr(frequency, "keys"):
            grid = float(frequency["start"]) + float(frequency["step"]) * np.arange(int(frequency["n"]))
        else:
            grid = np.array(frequency, dtype=np.float64)
        pressure = np.array(file["pressure"], dtype=np.float64)
        b = np.array(file["b"]).astype(np.float64)
        c = np.array(file["c"]).astype(np.float64)
    return grid, pressure, b, c


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
