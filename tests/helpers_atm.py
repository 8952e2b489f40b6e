"""A made-up atmosphere table whose opacities are known in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import asdf
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

PRESSURES = (10000.0, 17900.0, 40000.0, 55000.0, 100000.0)
LINES_HZ = (455.0e9, 487.2e9, 797.8e9, 806.7e9, 1897.4e9, 1903.0e9, 4745.8e9, 4748.5e9)
HALF_WIDTH_HZ = 3.0e9
REFERENCE_PA = 50000.0
LAYER_TOPS_KM = (1.0, 3.0, 42.0)
LAYER_SHARES_B = (0.5, 0.9, 1.0)
LAYER_SHARES_C = (0.25, 0.5, 1.0)


def b_at(nu: ArrayLike, pressure: float) -> Array:
    """Wet zenith opacity per mm [Np/mm]: a continuum ~ nu² and Lorentz lines, proportional to p^0.5."""
    nu = np.asarray(nu, dtype=np.float64)
    continuum = 0.2 * (nu / 1.0e12) ** 2
    lines = sum(0.5 / (1.0 + ((nu - line) / HALF_WIDTH_HZ) ** 2) for line in LINES_HZ[::2])
    return np.asarray((continuum + lines) * (pressure / REFERENCE_PA) ** 0.5)


def c_at(nu: ArrayLike, pressure: float) -> Array:
    """Dry zenith opacity [Np]: a slope and Lorentz lines, proportional to p^1.5."""
    nu = np.asarray(nu, dtype=np.float64)
    slope = 0.02 + 0.01 * nu / 1.0e12
    lines = sum(0.1 / (1.0 + ((nu - line) / HALF_WIDTH_HZ) ** 2) for line in LINES_HZ[1::2])
    return np.asarray((slope + lines) * (pressure / REFERENCE_PA) ** 1.5)


def layer_b_at(nu: ArrayLike, pressure: float) -> Array:
    """Wet zenith opacity per mm up to the top of each layer [Np/mm]: fixed shares of the whole."""
    return np.multiply.outer(np.array(LAYER_SHARES_B), b_at(nu, pressure))


def layer_c_at(nu: ArrayLike, pressure: float) -> Array:
    """Dry zenith opacity up to the top of each layer [Np]: fixed shares of the whole."""
    return np.multiply.outer(np.array(LAYER_SHARES_C), c_at(nu, pressure))


def layer_offset_at(pressure: float) -> Array:
    """Temperature of each layer minus that of the ground [K], linear in the logarithm of the pressure."""
    return np.array([-3.0, -12.0, -45.0]) + np.array([1.0, -2.0, 4.0]) * np.log(pressure / REFERENCE_PA)


def under_one_layer(config: Any) -> Any:
    """Return a simulated session whose sky is one layer at ambient temperature, like a table without layers."""
    return replace(config, atmosphere=replace(config.atmosphere, layers=None))


def write_test_atm_table(
    path: str | Path,
    *,
    pressures: Sequence[float] = PRESSURES,
    start_hz: float = 450.0e9,
    stop_hz: float = 500.0e9,
    step_hz: float = 10.0e6,
    windows: Sequence[tuple[float, float]] | None = None,
    explicit: bool = False,
    lines: Sequence[tuple[float, float, float]] = (),
    altitude_m: float = 5612.0,
    site: str = "made up",
    layered: bool = False,
) -> Path:
    """Write a table in the `atm` format.

    Between pressures both opacities are power laws, so the ln-ln interpolation of the format is exact at the
    table's frequencies (up to the f32 of b and c).

    Parameters
    ----------
    path : str or Path
        File to write (.asdf).
    pressures : sequence of float
        [Pa], ascending.
    start_hz, stop_hz, step_hz : float
        Frequency grid, both ends included; ignored when `windows` is given.
    windows : sequence of (float, float), optional
        Several ranges [Hz] with gaps between them: the frequency is then an explicit array.
    explicit : bool
        Write the frequencies as an array even for one range.
    lines : sequence of (float, float, float)
        Further lines of the dry opacity at all pressures: frequency and full width [Hz], depth [Np].
    altitude_m, site
        Only recorded.
    layered : bool
        Write version 2 of the format, with three layers; their last is the atmosphere of version 1.
    """
    ranges = [(start_hz, stop_hz)] if windows is None else list(windows)
    grids = [low + step_hz * np.arange(round((high - low) / step_hz) + 1) for low, high in ranges]
    nu = np.concatenate(grids)
    narrow = sum((depth / (1.0 + (2.0 * (nu - centre) / width) ** 2) for centre, width, depth in lines), 0.0 * nu)
    frequency: object = nu
    if windows is None and not explicit:
        frequency = {"start": float(start_hz), "step": float(step_hz), "n": int(nu.size)}
    tree: dict[str, object] = {
        "frequency": frequency,
        "pressure": np.array(pressures, dtype=np.float64),
        "b": np.array([b_at(nu, p) for p in pressures], dtype=np.float32),
        "c": np.array([c_at(nu, p) + narrow for p in pressures], dtype=np.float32),
        "meta": {
            "model": "analytic test table",
            "version": "1",
            "site": site,
            "altitude_m": float(altitude_m),
            "temperature_profile": "none",
            "created": "2024-01-01T00:00:00",
        },
    }
    if layered:
        share_c = np.array(LAYER_SHARES_C)[:, None]
        tree |= {
            "version": 2,
            "b": np.array([layer_b_at(nu, p) for p in pressures], dtype=np.float32),
            "c": np.array([layer_c_at(nu, p) + share_c * narrow for p in pressures], dtype=np.float32),
            "layer_offset": np.array([layer_offset_at(p) for p in pressures]),
            "layer_top_km": np.array(LAYER_TOPS_KM),
        }
    asdf.AsdfFile(tree).write_to(path)
    return Path(path)
