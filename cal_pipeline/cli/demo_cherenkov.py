"""The demo of Cherenkov telescopes: simulate a night, run the tools in order, compare with the truth."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table as PrintedTable
from scipy.integrate import cumulative_trapezoid

from cal_pipeline.cherenkov.simulate.air import compute_cross_section
from cal_pipeline.cherenkov.simulate.night import PRODUCTS, simulate_night
from cal_pipeline.cli.calibpipe import run_tool
from cal_pipeline.cli.commands import show
from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.text import format_count
from cal_pipeline.report.cherenkov import plot_night

Floats = NDArray[np.float64]

DENSITY_ACCURACY = 1e-3
"""Deviation from the true density that is allowed, as a fraction."""

TEMPERATURE_ACCURACY = 0.5
"""Deviation from the true temperature that is allowed up to 20 km, where levels lie close together [K]."""

EXTINCTION_ACCURACY = 5e-3
"""Deviation from the true optical depth that is allowed: cross sections of two authors differ by 0.2 %."""

LIDAR_ACCURACY = 0.03
"""Deviation from the true extinction of aerosols that is allowed, as a fraction of its peak.

Photons are counted: layers are off by up to 1.7 % of the peak.
"""

ALTITUDES = (5.0, 10.0, 15.0, 19.0)
"""Altitudes of the comparison [km]."""

LAYERS = (3.0, 4.5, 6.0, 8.0)
"""Altitudes of the layers whose aerosols are compared [km]."""

THICKNESS = 0.5
"""Thickness of the layers [km]."""

WAVELENGTHS = (350, 500)
"""Wavelengths of the comparison [nm]."""

STEP = 0.01
"""Step of the integral over the true density [km]."""


class Comparison(NamedTuple):
    """A recovered value beside the true one.

    Parameters
    ----------
    quantity : str
        Name and unit.
    altitude : float
        Altitude [km].
    recovered, true : float
        Values.
    accuracy : float
        Largest deviation that counts as recovered, in the unit of the values.
    """

    quantity: str
    altitude: float
    recovered: float
    true: float
    accuracy: float

    @property
    def is_recovered(self) -> bool:
        """True if the value is within the accuracy of the true one; NaN never is."""
        return bool(abs(self.recovered - self.true) <= self.accuracy)


def run_cherenkov_demo(folder: Path, seed: int) -> int:
    """Simulate a night, run all tools of atmosphere and aerosols on it, compare, and draw.

    Parameters
    ----------
    folder : Path
        Output folder; the night is in its folder ``night``.
    seed : int
        Seed of the simulation.

    Returns
    -------
    int
        Exit status: 0 if everything was recovered, else 1.

    Raises
    ------
    CalibrationError
        If a tool fails.
    """
    start = time.perf_counter()
    night = folder / "night"
    run_tools(night, seed)
    rows = [*compare_air(night), *compare_extinction(night), *compare_aerosols(night)]
    _print_rows(rows)
    recovered = all(row.is_recovered for row in rows)
    _draw(night)
    pictures = sorted(path.name for path in (night / PRODUCTS).glob("*.png"))
    show(f"{format_count(len(pictures), 'picture')} in {night / PRODUCTS}: {', '.join(pictures)}")
    show(f"{'all recovered' if recovered else 'NOT all recovered'} in {time.perf_counter() - start:.0f} s")
    return 0 if recovered else 1


def run_tools(night: Path, seed: int) -> None:
    """Simulate a night and run its tools in order.

    Parameters
    ----------
    night : Path
        Folder of the night; files of an earlier demo in it are replaced.
    seed : int
        Seed of the simulation.

    Raises
    ------
    CalibrationError
        If a tool fails.
    """
    for command, configuration in simulate_night(night, seed=seed, overwrite=True).commands:
        options = ["-c", str(configuration), "--overwrite"]
        # The pictures of these two tools have a use beside the numbers.
        options += ["--plot"] if configuration.name in ("atmospheric_model.yaml", "lidar_inversion.yaml") else []
        show(f"$ {command} {' '.join(options)}")
        status = run_tool(command, options)
        if status:
            raise CalibrationError(f"{command} ended with exit status {status}")


def compare_air(night: Path) -> list[Comparison]:
    """Compare number density and temperature of a night with the truth.

    Parameters
    ----------
    night : Path
        Folder of the night.

    Returns
    -------
    list of Comparison
    """
    density = _read_product(night, "contemporary_molecular_density_profile")
    profile = _read_product(night, "contemporary_atmospheric_profile")
    truth = Table.read(night / "truth.ecsv")
    rows = []
    for altitude in ALTITUDES:
        true = float(truth["number density"][truth["altitude"] == altitude][0])
        found = float(density["number density"][density["altitude"] == 1e3 * altitude][0])
        rows.append(Comparison("number density [1/cm³]", altitude, found, true, DENSITY_ACCURACY * true))
    for altitude in ALTITUDES:
        true = float(truth["temperature"][truth["altitude"] == altitude][0])
        found = float(profile["temperature"][profile["altitude"] == altitude][0])
        rows.append(Comparison("temperature [K]", altitude, found, true, TEMPERATURE_ACCURACY))
    return rows


def compare_extinction(night: Path) -> list[Comparison]:
    """Compare the optical depth of Rayleigh scattering with the integral over the true density.

    The cross section is one of dry air by another author than that of the tool.

    Parameters
    ----------
    night : Path
        Folder of the night.

    Returns
    -------
    list of Comparison
    """
    extinction = _read_product(night, "contemporary_rayleigh_extinction_profile")
    top = extinction["altitude_max"]
    rows = []
    for wavelength in WAVELENGTHS:
        for altitude in ALTITUDES:
            found = float(extinction[f"{wavelength}.0 nm"][top == altitude][0])
            true = compute_true_depth(night, float(extinction["altitude_min"][0]), altitude, float(wavelength))
            quantity = f"optical depth, {wavelength} nm"
            rows.append(Comparison(quantity, altitude, found, true, EXTINCTION_ACCURACY * true))
    return rows


def compute_true_depth(night: Path, lowest: float, highest: float, wavelength: float) -> float:
    """Compute the true optical depth of Rayleigh scattering between two altitudes [km].

    Parameters
    ----------
    night : Path
        Folder of the night.
    lowest, highest : float
        Altitudes [km].
    wavelength : float
        Wavelength [nm].

    Returns
    -------
    float
        Optical depth.
    """
    truth = Table.read(night / "truth.ecsv")
    altitude = np.arange(lowest, highest + STEP / 2, STEP)
    # The logarithm of the density is nearly linear between altitudes 1 km apart, the density is not.
    density = np.exp(np.interp(altitude, truth["altitude"], np.log(truth["number density"])))
    column = cumulative_trapezoid(density, altitude * 1e5)[-1]
    return float(column * compute_cross_section(wavelength))


def compare_aerosols(night: Path) -> list[Comparison]:
    """Compare the extinction of aerosols, averaged over layers below the reference of the inversion.

    Parameters
    ----------
    night : Path
        Folder of the night.

    Returns
    -------
    list of Comparison
    """
    product, truth = _read_product(night, "aerosol_extinction_profile"), Table.read(night / "truth_aerosols.ecsv")
    found, true = (np.asarray(table["extinction"], dtype=float) * 1e3 for table in (product, truth))
    altitude = np.asarray(product["altitude"], dtype=float) / 1e3
    accuracy = LIDAR_ACCURACY * float(true.max())
    rows = []
    for middle in LAYERS:
        layer = np.abs(altitude - middle) <= THICKNESS / 2
        # A mean with a NaN in it is NaN, which counts as not recovered.
        recovered = float(found[layer].mean())
        rows.append(Comparison("aerosols [1/km]", middle, recovered, float(true[layer].mean()), accuracy))
    return rows


def _read_product(night: Path, name: str) -> Table:
    return Table.read(night / PRODUCTS / f"{name}.ascii.ecsv")


def _print_rows(rows: list[Comparison]) -> None:
    table = PrintedTable(title="recovered against true")
    for column in ("quantity", "altitude [km]", "recovered", "true", "off", "allowed"):
        table.add_column(escape(column), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            escape(row.quantity),
            f"{row.altitude:.1f}",
            f"{row.recovered:.5g}",
            f"{row.true:.5g}",
            f"{row.recovered - row.true:+.1e}",
            f"{row.accuracy:.1e}",
        )
    console = Console()
    (console if console.is_terminal else Console(width=100)).print(table)


def _draw(night: Path) -> None:
    """Draw the night beside its reference model."""
    plot_night(
        night / PRODUCTS / "night_and_reference.png",
        _read_product(night, "contemporary_atmospheric_profile"),
        _read_product(night, "contemporary_rayleigh_extinction_profile"),
        _read_product(night, "selected_atmospheric_profile"),
        _read_product(night, "selected_rayleigh_extinction_profile"),
        title="made-up night",
    )
