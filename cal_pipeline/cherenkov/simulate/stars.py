"""Photometry of stars (FRAM) in a night of known aerosols."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
from astropy import units as u
from astropy.table import Table

from cal_pipeline.cherenkov.simulate.atmosphere import NIGHT

WAVELENGTHS = (420.0, 530.0, 640.0)
"""Wavelengths of the filters [nm]."""


def make_star_table(
    generator: np.random.Generator,
    stars: int = 120,
    depth: float = 0.02,
    exponent: float = 1.3,
    stratosphere: float = 0.005,
    variability: float = 0.0,
    error: float = 0.004,
    caution: float = 1.3,
    wavelengths: Sequence[float] = WAVELENGTHS,
) -> Table:
    """Make the table of the stars of a night.

    Parameters
    ----------
    generator : Generator
        Source of the scatter.
    stars : int
        Number of stars per wavelength.
    depth : float
        Vertical aerosol optical depth of the troposphere at 420 nm.
    exponent : float
        Ångström exponent of the aerosols of the troposphere; those of the stratosphere have 2.
    stratosphere : float
        Vertical optical depth of the stratospheric aerosols at 420 nm.
    variability : float
        Fraction by which the aerosols of the troposphere vary over the night (1 sigma).
    error : float
        Scatter (1 sigma) of the optical depth towards a star.
    caution : float
        Factor by which the errors in the table exceed the scatter.
    wavelengths : sequence of float
        Wavelengths [nm].

    Returns
    -------
    Table
        `timestamp` (ISO text, UTC), `wavelength` [nm], `zenith_angle` [deg], `aod`, `aod_err`.

    Examples
    --------
    >>> table = make_star_table(np.random.default_rng(1), stars=4)
    >>> len(table), table.colnames[-2:]
    (12, ['aod', 'aod_err'])
    """
    wavelength = np.repeat(np.asarray(wavelengths, dtype=float), stars)
    zenith = np.degrees(np.arccos(generator.uniform(0.5, 1.0, wavelength.size)))
    hours = np.tile(np.linspace(-1.5, 4.0, stars), len(wavelengths))
    vertical = depth * (420.0 / wavelength) ** exponent * (1 + variability * generator.normal(size=wavelength.size))
    vertical += stratosphere * (420.0 / wavelength) ** 2
    measured = vertical / np.cos(np.radians(zenith)) + generator.normal(0.0, error, wavelength.size)
    return Table(
        {
            "timestamp": [(NIGHT + timedelta(hours=hour)).isoformat(timespec="seconds") for hour in hours],
            "wavelength": wavelength * u.nm,
            "zenith_angle": zenith * u.deg,
            "aod": measured,
            "aod_err": np.full(wavelength.size, caution * error),
        },
        copy=False,
    )
