"""Pictures of Cherenkov sites: the air of a night, and aerosols above a LIDAR."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from cal_pipeline.core.files.replace import replace_file

Floats = NDArray[np.float64]

TOP = 50.0
"""Altitude up to which the air is drawn [km]; above it little is left to scatter light."""

WAVELENGTHS = (350.0, 450.0, 550.0)
"""Wavelengths of the optical depths that are drawn, or the nearest ones [nm]."""


def plot_night(
    path: str | Path,
    profile: Table,
    extinction: Table | None = None,
    reference_profile: Table | None = None,
    reference_extinction: Table | None = None,
    title: str = "",
) -> None:
    """Draw the air of a night and its Rayleigh extinction, beside a reference model.

    Parameters
    ----------
    path : str or Path
        Picture to write, completely or not at all.
    profile : Table
        Profile of the night: `altitude`, `atmospheric_density`, `temperature` and others.
    extinction : Table, optional
        Extinction of the night: `altitude_min`, `altitude_max`, and a column per wavelength.
    reference_profile, reference_extinction : Table, optional
        Tables of the reference model, in the same formats.
    title : str
        Title of the picture.

    Raises
    ------
    KeyError
        If a table lacks a column.
    OSError
        If the picture cannot be written.
    """
    panels = 2 + (extinction is not None)
    figure = Figure(figsize=(4.2 * panels, 4.8), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, panels))
    _draw_density(axes[0], profile, reference_profile)
    _draw_temperature(axes[1], profile, reference_profile)
    if extinction is not None:
        _draw_extinction(axes[2], extinction, reference_extinction)
    for panel in axes:
        panel.grid(alpha=0.3)
    if title:
        figure.suptitle(title)
    _save(figure, path)


def _draw_density(axes: Axes, profile: Table, reference: Table | None) -> None:
    """Draw the density relative to the reference, whose range of five decades would hide all differences."""
    altitude, density = _values(profile, "altitude", "km"), _values(profile, "atmospheric_density", "g / cm3")
    if reference is None:
        axes.semilogx(density[altitude <= TOP], altitude[altitude <= TOP], color="C0")
        axes.set_xlabel("density [g/cm³]")
    else:
        known, other = _values(reference, "altitude", "km"), _values(reference, "atmospheric_density", "g / cm3")
        shown = (altitude <= TOP) & (altitude >= known[0]) & (altitude <= known[-1])
        expected = np.exp(np.interp(altitude[shown], known, np.log(other)))
        axes.plot(100 * (density[shown] / expected - 1), altitude[shown], color="C0", marker=".", ms=4)
        axes.axvline(0.0, color="0.4", ls="--")
        axes.set_xlabel("density, night over reference - 1 [%]")
    axes.set_ylabel("altitude [km]")


def _draw_temperature(axes: Axes, profile: Table, reference: Table | None) -> None:
    for table, style in _pairs(profile, reference):
        altitude = _values(table, "altitude", "km")
        shown = altitude <= TOP
        axes.plot(_values(table, "temperature", "K")[shown], altitude[shown], color="C3", **style)
    axes.set_xlabel("temperature [K]")
    axes.set_ylabel("altitude [km]")
    if reference is not None:
        axes.legend(fontsize="small")


def _draw_extinction(axes: Axes, extinction: Table, reference: Table | None) -> None:
    for table, style in _pairs(extinction, reference):
        altitude = _values(table, "altitude_max", "km")
        shown = altitude <= TOP
        for number, (wavelength, name) in enumerate(_choose_wavelengths(table)):
            label = f"{wavelength:g} nm, {style['label']}"
            depth = np.asarray(table[name], dtype=float)[shown]
            axes.plot(depth, altitude[shown], color=f"C{number}", ls=style["ls"], label=label)
    axes.set_xlabel("Rayleigh optical depth from the telescopes")
    axes.set_ylabel("altitude [km]")
    axes.legend(fontsize="small", loc="center right", bbox_to_anchor=(0.93, 0.55))


def _choose_wavelengths(extinction: Table) -> list[tuple[float, str]]:
    """Choose the columns of a table whose wavelengths are nearest to those that are drawn."""
    columns = {float(name.removesuffix(" nm")): name for name in extinction.colnames if name.endswith(" nm")}
    nearest = dict.fromkeys(min(columns, key=lambda known: abs(known - wanted)) for wanted in WAVELENGTHS)
    return [(wavelength, columns[wavelength]) for wavelength in nearest]


def _pairs(night: Table, reference: Table | None) -> Iterable[tuple[Table, dict[str, Any]]]:
    """Pair the tables with the styles of their lines."""
    yield night, {"ls": "-", "label": "night"}
    if reference is not None:
        yield reference, {"ls": "--", "label": "reference"}


def plot_lidar(path: str | Path, product: Table, molecular: ArrayLike, truth: ArrayLike | None = None) -> None:
    """Draw the inversion of the returns of a LIDAR.

    Parameters
    ----------
    path : str or Path
        Picture to write, completely or not at all.
    product : Table
        Product of the inversion: `altitude`, `backscatter`, `extinction`, `aod`.
    molecular : array_like, shape (rows,)
        Backscatter coefficient of the molecules [1/(m sr)].
    truth : array_like, shape (rows,), optional
        Extinction of the aerosols that is expected [1/m].

    Raises
    ------
    OSError
        If the picture cannot be written.
    """
    altitude = _values(product, "altitude", "m") / 1e3
    figure = Figure(figsize=(11.0, 4.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3, sharey=True)
    left.plot(_values(product, "backscatter", "1 / (m sr)") * 1e6, altitude, color="C0", label="aerosols")
    left.plot(np.asarray(molecular, dtype=float) * 1e6, altitude, color="0.4", ls="--", label="molecules")
    left.set_xlabel("backscatter [1/(Mm sr)]")
    left.set_ylabel("altitude [km]")
    middle.plot(_values(product, "extinction", "1 / m") * 1e3, altitude, color="C0", label="inversion")
    if truth is not None:
        middle.plot(np.asarray(truth, dtype=float) * 1e3, altitude, color="C3", ls="--", label="truth")
    middle.set_xlabel("extinction of aerosols [1/km]")
    right.plot(np.asarray(product["aod"], dtype=float), altitude, color="C0")
    right.set_xlabel("vertical optical depth of aerosols")
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
    left.legend(fontsize="small")
    if truth is not None:
        middle.legend(fontsize="small")
    _save(figure, path)


def _values(table: Table, name: str, unit: str) -> Floats:
    """Return a column in a unit; one without a unit counts as in it."""
    column = table[name]
    values: Floats = np.asarray(column.quantity.to_value(unit) if column.unit is not None else column, dtype=float)
    return values


def _save(figure: Figure, path: str | Path) -> None:
    with replace_file(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
