"""Step ``clear_night``: assessment of a night by its aerosols."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from astropy import units as u
from astropy.table import Table

from cal_pipeline.cherenkov.aerosols import StarTable, read_star_table
from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError, TooFewEventsError
from cal_pipeline.cherenkov.physics.clear_night import (
    assess_night,
    compute_fractional_variability,
    compute_vertical_depth,
    fit_angstrom_exponent,
    scale_depth,
)
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.steps.cherenkov.base import CherenkovStep

logger = logging.getLogger(__name__)

NODE = "/dl1/monitoring/aerosol_calibration"
"""Table of the product."""

_FEWEST = 3
"""Fewest stars from which a scatter is computed."""

_LONGEST = 24.0
"""Time [h] that rows of one night fit into."""


def convert_wavelength(value: Any) -> float:
    """Convert a wavelength, as a number of nm or as text with a unit, to nm.

    Raises
    ------
    ConfigurationError
        If it is no length.

    Examples
    --------
    >>> convert_wavelength("0.42 um"), convert_wavelength(420)
    (420.0, 420.0)
    """
    try:
        quantity = u.Quantity(value)
        return round(float(quantity.to_value("nm") if quantity.unit != u.one else quantity.value), 9)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{value!r} is no wavelength; expected nm, or text such as '420 nm'") from error


@dataclass(frozen=True)
class _Summary:
    """Aerosols at one wavelength."""

    wavelength: float
    stars: int
    depth: float
    error: float
    variability: float


class ClearNightStep(CherenkovStep):
    """Assess whether a night is clear, from aerosol optical depths towards stars (FRAM).

    The input is a FITS or ECSV table, a row a star: ``aod``, ``aod_err``, ``zenith_angle`` [deg], ``wavelength`` [nm]
    and ``timestamp`` (UTC). The product is the table ``/dl1/monitoring/aerosol_calibration`` of an HDF5 file, a row a
    wavelength; it is returned as a table. A night with less than three stars at a wavelength is never clear.

    Examples
    --------
    >>> from cal_pipeline.steps.cherenkov import ClearNightStep
    >>> product = ClearNightStep.call("night/stars.ecsv", output_path="products")
    >>> str(product["night_assessment"][0])
    'Clear Night'
    """

    class_alias = "clear_night"

    spec = """
    output_url = string(default="aerosol_clear_night.h5")                       # HDF5 file of the product, in output_path
    stratospheric_aerosols_optical_depth = float(min=0.0, default=0.005)        # Vertical optical depth of the aerosols of the stratosphere
    wavelength_of_measurement = float(min=1.0, default=420.0)                   # Wavelength of that optical depth [nm]
    angstrom_coefficient = float(default=2.0)                                   # Angstrom exponent of the aerosols of the stratosphere
    fractional_rms_variability_amplitude_maximum = float(min=0.0, default=0.01) # Largest variability of a clear night
    clear_atmosphere_max_vaod = float(min=0.0, default=0.04)                    # Vertical optical depth that a clear night stays below
    """  # noqa: E501

    conversions = {"wavelength_of_measurement": convert_wavelength}

    tool: ClassVar[Tool] = Tool(
        "calibpipe-clear-night-assessment",
        "ClearNightAnalysis",
        source="input_url",
        unused=frozenset({"subarray_id"}),
    )
    example_input = "stars.ecsv"

    output_url: str
    stratospheric_aerosols_optical_depth: float
    wavelength_of_measurement: float
    angstrom_coefficient: float
    fractional_rms_variability_amplitude_maximum: float
    clear_atmosphere_max_vaod: float

    def make_products(self, source: Any) -> Table:
        """Assess a night."""
        from cal_pipeline.cherenkov.hdf5 import refuse_existing_tables, write_tables

        path, product = self.find_input(source, "the table of stars"), self.product_path(self.output_url)
        if product.exists():
            refuse_existing_tables(product, [NODE], self.overwrite)
        stars = read_star_table(path)
        if stars.duration > _LONGEST:
            self.warn(f"{path} spans {stars.duration:.1f} h, more than one night; its variability is that of all")
        groups = {float(value): np.flatnonzero(stars.wavelength == value) for value in np.unique(stars.wavelength)}
        summaries = [
            self._summarize(stars, wavelength, rows, path)
            for wavelength, rows in groups.items()
            if self._has_enough(wavelength, rows.size)
        ]
        if not summaries:
            raise TooFewEventsError(
                f"{path} has {stars.depth.size} stars at {len(groups)} wavelengths; expected {_FEWEST} at one"
            )
        table = self._tabulate(summaries, is_complete=len(summaries) == len(groups))
        write_tables(product, {NODE: table}, self.tool.command, self.make_provenance([path]), self.overwrite)
        logger.info("%s: %s written", self.class_alias, product)
        return table

    def _has_enough(self, wavelength: float, stars: int) -> bool:
        if stars >= _FEWEST:
            return True
        self.note_too_few(f"{stars} stars at {wavelength:g} nm, expected {_FEWEST}; the wavelength is left out")
        return False

    def _summarize(self, stars: StarTable, wavelength: float, rows: Any, path: Path) -> _Summary:
        stratosphere = scale_depth(
            self.stratospheric_aerosols_optical_depth,
            self.wavelength_of_measurement,
            self.angstrom_coefficient,
            wavelength,
        )
        zenith = stars.zenith_angle[rows]
        depth = compute_vertical_depth(stars.depth[rows], zenith, stratosphere)
        if not depth.mean() > 0:
            raise CorruptedInputError(
                f"{path}: mean vertical aerosol optical depth at {wavelength:g} nm is {depth.mean():.3g}, after "
                f"{stratosphere:.3g} of the stratosphere is subtracted; expected a positive one"
            )
        error = stars.error[rows] * np.cos(np.radians(zenith))
        scatter = float(depth.std(ddof=1) / np.sqrt(depth.size))
        variability = compute_fractional_variability(depth, error)
        return _Summary(wavelength, depth.size, float(depth.mean()), scatter, variability)

    def _tabulate(self, summaries: list[_Summary], is_complete: bool) -> Table:
        columns = (
            np.array([getattr(summary, name) for summary in summaries])
            for name in ("wavelength", "depth", "error", "variability", "stars")
        )
        wavelength, depth, error, variability, stars = columns
        exponent, exponent_error = fit_angstrom_exponent(wavelength, depth, error)
        assessment = assess_night(
            variability,
            depth,
            self.fractional_rms_variability_amplitude_maximum,
            self.clear_atmosphere_max_vaod,
        )
        rows = len(summaries)
        return Table(
            {
                "night_assessment": [assessment if is_complete else "Undefined"] * rows,
                "wavelength": wavelength * u.nm,
                "VAOD": depth,
                "VAOD_error": error,
                "fractional_rms_variability_amplitude": variability,
                "n": stars,
                "angstrom_exponent": np.full(rows, exponent),
                "angstrom_exponent_error": np.full(rows, exponent_error),
            }
        )
