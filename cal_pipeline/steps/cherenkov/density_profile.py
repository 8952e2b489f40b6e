"""Step ``density_profile``: number density of the air of a night."""

from __future__ import annotations

from typing import Any

from astropy.table import Table

from cal_pipeline.cherenkov.atmosphere_tables import make_density_table
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.steps.cherenkov.night_input import NightStep

COMMON_HANDLER = "MeteoDataHandler"
"""Section of a configuration for data of any kind."""

HANDLERS: dict[str, dict[str, str]] = {COMMON_HANDLER: {}, "GDASDataHandler": {}, "ECMWFDataHandler": {}}
"""Sections of a configuration for the data, one of which is used beside the common one."""

UNUSED = frozenset({"dataset", "output_format", "update_tzinfo", "timeout", "request_timeout"})
"""Keys of the published package for downloads, of which there are none here, and for formats, of which there is one."""

PRODUCT = "contemporary_molecular_density_profile.ascii.ecsv"


class DensityProfileStep(NightStep):
    """Make the density profile of a night from meteorological data.

    The input is a table of levels of pressure, or a folder of such tables. The product is returned as a table.

    Examples
    --------
    >>> from cal_pipeline.steps.cherenkov import DensityProfileStep
    >>> product = DensityProfileStep.call(
    ...     "night/meteo_era5.ecsv", timestamp="2023-07-10", observatory_name="EXAMPLE-RIDGE",
    ...     database="sqlite:///night/calibpipe.db", output_path="products",
    ... )
    >>> product.colnames
    ['altitude', 'number density']
    """

    class_alias = "density_profile"

    spec = """
    altitude_max  = float(min=0, max=200000, default=19000)  # Last altitude [m]
    altitude_step = float(min=1, default=1000)               # Step of altitude [m]
    """

    tool = Tool(
        "calibpipe-create-molecular-density-profile",
        "CreateMolecularDensityProfile",
        source="data_path",
        handlers=HANDLERS,
        choice="meteo_data_handler",
        common=COMMON_HANDLER,
        unused=UNUSED,
    )
    example_input = "meteo.ecsv"
    products = (PRODUCT,)

    altitude_max: float
    altitude_step: float

    def make_products(self, source: Any) -> Table:
        """Make the density profile."""
        night = self.open_night(source)
        product = make_density_table(night.require_profile(), self.altitude_max, self.altitude_step)
        product.meta.update(night.describe(), number_density_15km=night.density_15km())
        self.write_table(product, PRODUCT, night.files)
        return product
