"""Step ``atmospheric_model``: atmospheric profile and Rayleigh extinction of a night."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

from astropy.table import Table

from cal_pipeline.cherenkov.atmosphere_tables import (
    make_extinction_table,
    make_profile_table,
    make_steps,
    read_co2,
    read_profile_table,
)
from cal_pipeline.cherenkov.errors import ConfigurationError
from cal_pipeline.cherenkov.physics.atmosphere import ReferenceAtmosphere, compute_profile
from cal_pipeline.cherenkov.physics.extinction import (
    PEER_LEVEL,
    compute_optical_depth,
    make_edges,
    sample_centres,
    sample_like_peer,
)
from cal_pipeline.cherenkov.physics.limits import check_range
from cal_pipeline.cherenkov.selection import select_by_density
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.steps.cherenkov.density_profile import COMMON_HANDLER, HANDLERS, UNUSED
from cal_pipeline.steps.cherenkov.night_input import NightInput, NightStep

logger = logging.getLogger(__name__)

PROFILE = "contemporary_atmospheric_profile.ascii.ecsv"
EXTINCTION = "contemporary_rayleigh_extinction_profile.ascii.ecsv"
PICTURE = "contemporary_atmosphere.png"


class AtmosphericModel(NamedTuple):
    """Products of :class:`AtmosphericModelStep`.

    Attributes
    ----------
    profile, extinction : Table
        Atmospheric profile and Rayleigh extinction of the night.
    """

    profile: Table
    extinction: Table


class AtmosphericModelStep(NightStep):
    """Make the atmospheric profile and the Rayleigh extinction of a night.

    The reference model nearest to the night fills in above and below the meteorological data. The concentration of CO2
    is the product of the step ``macobac``. Both products are returned as tables.

    Examples
    --------
    >>> from cal_pipeline.steps.cherenkov import AtmosphericModelStep
    >>> model = AtmosphericModelStep.call(
    ...     "night/meteo_era5.ecsv", timestamp="2023-07-10", observatory_name="EXAMPLE-RIDGE",
    ...     macobac12_table_path="night/models/macobac.ecsv", database="sqlite:///night/calibpipe.db",
    ...     output_path="products",
    ... )
    >>> model.extinction.colnames[:3], len(model.extinction.colnames)
    (['altitude_max', 'altitude_min', '200.0 nm'], 502)
    """

    class_alias = "atmospheric_model"

    spec = """
    macobac12_table_path = string(default="macobac.ecsv") # Product of calibpipe-calculate-macobac
    wavelength_min       = float(min=0, default=200)      # First wavelength of the extinction [nm]
    wavelength_max       = float(min=0, default=699)      # Last wavelength [nm]
    wavelength_step      = float(min=0.1, default=1)      # Step of wavelength [nm]
    observation_level    = float(min=-1, max=119, default=None)  # Altitude [km] to count from: the observatory's
    bin_rule             = option("centre", "peer", default="centre")  # Air of bins at centres, or as published
    plot                 = boolean(default=False)         # Save a picture of profile and extinction beside the products
    """

    reference_file_types = ["macobac"]

    tool = Tool(
        "calibpipe-create-molecular-atmospheric-model",
        "CreateMolecularAtmosphericModel",
        source="data_path",
        handlers=HANDLERS,
        choice="meteo_data_handler",
        common=COMMON_HANDLER,
        unused=UNUSED,
    )
    example_input = "meteo.ecsv"
    products = (PROFILE, EXTINCTION)

    macobac12_table_path: str
    wavelength_min: float
    wavelength_max: float
    wavelength_step: float
    observation_level: float | None
    bin_rule: str
    plot: bool

    def check_parameters(self) -> None:
        """Refuse to run without the concentration of CO2, or with wavelengths that descend.

        Raises
        ------
        ConfigurationError
            If the last wavelength is below the first, or one is no multiple of 0.1 nm.
        MissingInputError
            If there is no table of CO2.
        """
        super().check_parameters()
        if self.plot:
            self.refuse_existing(PICTURE)
        self._find_co2()
        if self.wavelength_max < self.wavelength_min:
            raise ConfigurationError(
                f"{self.class_alias}: wavelength_max = {self.wavelength_max:g} nm is below "
                f"wavelength_min = {self.wavelength_min:g} nm"
            )
        for name in ("wavelength_min", "wavelength_step"):
            tenths = 10.0 * getattr(self, name)
            # Columns have the names "200.0 nm", …: finer steps would give two of them one name.
            if abs(tenths - round(tenths)) > 1e-6:
                raise ConfigurationError(
                    f"{self.class_alias}: {name} = {0.1 * tenths:g} nm; expected a multiple of 0.1 nm, "
                    "as in the names of the columns"
                )

    def make_products(self, source: Any) -> AtmosphericModel:
        """Make profile and extinction."""
        co2_path = self._find_co2()
        co2 = read_co2(co2_path)
        night = self.open_night(source)
        density = night.density_15km()
        observatory = night.observatory
        candidates = self.open_database().current_models(observatory.name, observatory.version)
        model = select_by_density(candidates, density, observatory.season_of(night.night.evening).alias)
        reference = read_profile_table(model.profile, f"profile of the model {model.version}")
        meta = {
            **night.describe(),
            "number_density_15km": density,
            "co2_concentration": co2,
            "reference_model": {"version": model.version, "season": model.season},
        }
        profile = make_profile_table(compute_profile(night.require_profile(), reference, co2))
        extinction = self._make_extinction(night, reference, co2)
        inputs = [*night.files, co2_path]
        for table, name in ((profile, PROFILE), (extinction, EXTINCTION)):
            table.meta = {**meta, **table.meta}
            self.write_table(table, name, inputs)
        if self.plot:
            # matplotlib takes longer to import than the model to make.
            from cal_pipeline.report.cherenkov import plot_night

            path = self.product_path(PICTURE)
            plot_night(path, profile, extinction, model.profile, model.extinction, self._title(night))
            logger.info("%s: %s written", self.class_alias, path)
        return AtmosphericModel(profile, extinction)

    def _find_co2(self) -> Path:
        """Find the table of CO2: the override of the reference file, or that of the parameter."""
        return self.find_input(self.get_ref_override("macobac") or self.macobac12_table_path, "the CO2 table")

    @staticmethod
    def _title(night: NightInput) -> str:
        return f"{night.observatory.name}, night of {night.night.evening}, {night.provenance}"

    def _make_extinction(self, night: NightInput, reference: ReferenceAtmosphere, co2: float) -> Table:
        """Make the extinction profile above the observation level."""
        # Checked before millions of them are made.
        check_range("wavelength", [self.wavelength_min, self.wavelength_max])
        wavelengths = make_steps(self.wavelength_min, self.wavelength_max, self.wavelength_step)
        level = self.observation_level
        if self.bin_rule == "peer":
            level = PEER_LEVEL if level is None else level
            edges = make_edges(level)
            air = sample_like_peer(edges, night.require_profile(), reference)
            self.warn(
                "bin_rule peer: the extinction is some 4 % too low, "
                "since bins above 5.5 km have the air of their upper edge"
            )
        else:
            edges = make_edges(night.observatory.elevation / 1e3 if level is None else level)
            air = sample_centres(edges, night.require_profile(), reference)
        table = make_extinction_table(edges, wavelengths, compute_optical_depth(edges, wavelengths, *air, co2))
        table.meta = {"observation_level_km": float(edges[0]), "bin_rule": self.bin_rule}
        return table
