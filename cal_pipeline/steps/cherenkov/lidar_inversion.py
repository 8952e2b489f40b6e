"""Step ``lidar_inversion``: extinction of aerosols from the returns of a LIDAR."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from cal_pipeline.cherenkov.aerosols import DEFAULT_CO2, read_profile, read_signal
from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError
from cal_pipeline.cherenkov.physics.lidar import (
    compute_altitude,
    compute_molecular_backscatter,
    compute_vertical_depth,
    invert_returns,
)
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.steps.cherenkov.base import CherenkovStep

Array = NDArray[np.float64]

PRODUCT = "aerosol_extinction_profile.ascii.ecsv"
"""Name of the product."""

_REQUIRED = ("wavelength", "profile", "station_altitude", "reference_range")


class LidarInversionStep(CherenkovStep):
    """Invert the returns of an elastic LIDAR for the extinction of aerosols.

    The input is an ECSV table with ``range`` [m] and ``signal``, without background. The product has ``altitude`` [m],
    ``backscatter`` [1/(m sr)] and ``extinction`` [1/m] of the aerosols, and ``aod``, their vertical optical depth from
    the station; it is returned as a table.

    Examples
    --------
    >>> from cal_pipeline.steps.cherenkov import LidarInversionStep
    >>> product = LidarInversionStep.call(
    ...     "night/lidar.ecsv", profile="night/models/profile_summer.ecsv", wavelength=355.0, zenith_angle=25.0,
    ...     station_altitude=2.23, reference_range=9000.0, output_path="products")
    >>> round(float(product["aod"][-1]), 2)
    0.08
    """

    class_alias = "lidar_inversion"

    spec = """
    wavelength            = float(min=200.0, max=4000.0, default=None)  # Wavelength [nm]; needed
    zenith_angle          = float(min=0.0, max=89.0, default=0.0)       # Zenith angle of the beam [deg]
    profile               = string(default=None)                        # Profile of the air (ECSV), as the atmospheric model of the night has it; needed
    station_altitude      = float(default=None)                         # Altitude of the station [km]; needed
    lidar_ratio           = float(min=0.0, default=50.0)                # Ratio of extinction and backscatter of the aerosols [sr]
    reference_range       = float(min=0.0, default=None)                # Distance at which the aerosols are known [m]; needed
    reference_backscatter = float(min=0.0, default=0.0)                 # Backscatter of the aerosols there [1/(m sr)]
    plot                  = boolean(default=False)                      # Save a picture beside the product
    """  # noqa: E501

    tool: ClassVar[Tool] = Tool("calibpipe-lidar-inversion", "LidarInversion", source="input_url")
    example_input = "lidar.ecsv"

    wavelength: float | None
    zenith_angle: float
    profile: str | None
    station_altitude: float | None
    lidar_ratio: float
    reference_range: float | None
    reference_backscatter: float
    plot: bool

    def check_parameters(self) -> None:
        """Refuse to run without a parameter that has no default."""
        missing = [name for name in _REQUIRED if getattr(self, name) is None]
        if missing:
            raise ConfigurationError(f"{self.class_alias} needs {', '.join(missing)}; none is given")

    def make_products(self, source: Any) -> Table:
        """Invert a signal."""
        picture = str(Path(PRODUCT.partition(".")[0]).with_suffix(".png"))
        self.refuse_existing(PRODUCT, *([picture] if self.plot else []))
        path, air = self.find_input(source, "the signal"), self.find_input(self.profile, "the profile")
        distance, signal = read_signal(path)
        reference = self._find_reference(distance, signal, path)
        altitude = compute_altitude(distance, self.zenith_angle, float(self.station_altitude or 0.0))
        molecular = self._compute_molecular(altitude, air)
        aerosols = invert_returns(distance, signal, molecular, reference, self.lidar_ratio, self.reference_backscatter)
        lost = int(np.count_nonzero(~np.isfinite(aerosols)))
        if lost:
            self.warn(f"{path}: no solution at {lost} of {distance.size} distances; these are NaN")
        extinction = self.lidar_ratio * aerosols
        product = Table(
            {
                "altitude": altitude * u.m,
                "backscatter": aerosols / (u.m * u.sr),
                "extinction": extinction / u.m,
                "aod": compute_vertical_depth(distance, extinction, self.zenith_angle),
            },
            meta={"lidar_inversion": self._describe(float(distance[reference]))},
        )
        self.write_table(product, PRODUCT, [path, air])
        if self.plot:
            from cal_pipeline.report.cherenkov import plot_lidar

            plot_lidar(self.product_path(picture), product, molecular)
        return product

    def _find_reference(self, distance: Array, signal: Array, path: Path) -> int:
        """Find the grid point of the reference."""
        wanted = float(self.reference_range or 0.0)
        if not distance[0] <= wanted <= distance[-1]:
            raise ConfigurationError(
                f"reference_range {wanted:g} m is outside of {path}; expected {distance[0]:g} to {distance[-1]:g} m"
            )
        index = int(np.argmin(np.abs(distance - wanted)))
        if not signal[index] > 0:
            raise CorruptedInputError(
                f"{path}: signal at the reference, {distance[index]:g} m, is {signal[index]:g}; expected one above 0"
            )
        return index

    def _compute_molecular(self, altitude: Array, path: Path) -> Array:
        atmosphere, co2 = read_profile(path)
        if co2 is None:
            self.warn(f"profile {path} does not tell its concentration of CO2; {DEFAULT_CO2:g} ppm is taken")
        try:
            return compute_molecular_backscatter(altitude, atmosphere, self.wavelength or 0.0, co2 or DEFAULT_CO2)
        except CorruptedInputError as error:
            raise CorruptedInputError(f"profile {path}: {error}") from error

    def _describe(self, reference_range: float) -> dict[str, Any]:
        """Describe the inversion, for the metadata of the product; the reference is the grid point that was used."""
        return {
            "wavelength_nm": self.wavelength,
            "zenith_angle_deg": self.zenith_angle,
            "station_altitude_km": self.station_altitude,
            "lidar_ratio_sr": self.lidar_ratio,
            "reference_range_m": reference_range,
            "reference_backscatter": self.reference_backscatter,
        }
