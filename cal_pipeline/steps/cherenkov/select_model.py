"""Step ``select_model``: the reference model of the atmosphere nearest to a night."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from astropy.table import Table

from cal_pipeline.cherenkov.database.store import Database, ReferenceModel
from cal_pipeline.cherenkov.selection import select_by_density, select_by_season
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.steps.cherenkov.density_profile import COMMON_HANDLER, HANDLERS, UNUSED
from cal_pipeline.steps.cherenkov.night_input import NightInput, NightStep

logger = logging.getLogger(__name__)

PROFILE = "selected_atmospheric_profile.ascii.ecsv"
EXTINCTION = "selected_rayleigh_extinction_profile.ascii.ecsv"

BY_TIME = "timestamp"
"""Origin of a selection without data."""


class Selection(NamedTuple):
    """Products of :class:`SelectModelStep`.

    Attributes
    ----------
    profile, extinction : Table
        Atmospheric profile and extinction of the selected model.
    """

    profile: Table
    extinction: Table


class SelectModelStep(NightStep):
    """Select the reference model of the atmosphere nearest to a night.

    The density at 15 km decides. Without meteorological data the season does, with the exit status 100. The selection
    is recorded in the database, and the tables of the model are returned.

    Examples
    --------
    >>> from cal_pipeline.steps.cherenkov import SelectModelStep
    >>> selected = SelectModelStep.call(
    ...     "night/meteo_gdas.ecsv", timestamp="2023-07-10", observatory_name="EXAMPLE-RIDGE",
    ...     meteo_data_handler="GDASDataHandler", database="sqlite:///night/calibpipe.db", output_path="products",
    ... )
    >>> selected.profile.meta["selection"]["season"]
    'SUMMER'
    """

    class_alias = "select_model"

    tool = Tool(
        "calibpipe-select-reference-atmospheric-model",
        "SelectMolecularAtmosphericModel",
        source="data_path",
        handlers=HANDLERS,
        choice="meteo_data_handler",
        common=COMMON_HANDLER,
        unused=UNUSED,
    )
    example_input = "meteo.ecsv"
    products = (PROFILE, EXTINCTION)

    def make_products(self, source: Any) -> Selection:
        """Select the model, write its tables and a row of the database."""
        night = self.open_night(source)
        database = self.open_database()
        observatory = night.observatory
        candidates = database.current_models(observatory.name, observatory.version)
        season = observatory.season_of(night.night.evening).alias
        density = night.density_15km() if night.selection else None
        if density is None:
            model = select_by_season(candidates, season)
            self.note_fallback(f"model {model.version} is chosen by the season {season}: {night.missing}")
        else:
            model = select_by_density(candidates, density, season)
        logger.info("%s: model %s (%s) of %d", self.class_alias, model.version, model.season, len(candidates))
        return self._write(database, night, model, density, len(candidates))

    def _write(
        self, database: Database, night: NightInput, model: ReferenceModel, density: float | None, candidates: int
    ) -> Selection:
        """Write the tables of the model, then the row that says so."""
        provenance = BY_TIME if density is None else night.provenance
        record = {
            "by": "season" if density is None else "density",
            "version": model.version,
            "season": model.season,
            "provenance": provenance,
            "number_density_15km": density,
            "candidates": candidates,
        }
        products = Selection(model.profile.copy(), model.extinction.copy())
        for table, name in zip(products, (PROFILE, EXTINCTION), strict=True):
            table.meta = {**night.describe(), "selection": record}
            self.write_table(table, name, night.files)
        database.record_selection(
            date=night.night.evening,
            site=night.observatory.name,
            provenance=provenance,
            version=model.version,
            season=model.season,
            number_density_15km=density,
        )
        return products
