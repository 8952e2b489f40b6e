"""Step ``upload_observatory``: observatories and seasons for the database."""

from __future__ import annotations

import logging
from typing import Any

from astropy.table import Table

from cal_pipeline.cherenkov.configuration import refuse_unknown
from cal_pipeline.cherenkov.database.upload import upload_observatories
from cal_pipeline.cherenkov.observatory import read_observatories
from cal_pipeline.cherenkov.tools import SELF, Tool
from cal_pipeline.steps.cherenkov.database import UploadStep

logger = logging.getLogger(__name__)


class UploadObservatoryDataStep(UploadStep):
    """Upload observatories with their seasons to the database.

    The input is a YAML file, or its content. A table is returned with a row an observatory: ``name``, ``version``,
    ``latitude``, ``longitude`` [deg], ``elevation`` [m] and ``upload`` (new, same or replaced).

    Examples
    --------
    >>> from cal_pipeline.steps.cherenkov import InitDatabaseStep, UploadObservatoryDataStep
    >>> made = InitDatabaseStep.call("sqlite:///site.db")
    >>> season = {"name": "summer", "start_month": 1, "stop_month": 12}
    >>> site = {"name": "Ridge", "version": 1, "latitude": 28.7, "longitude": -17.9, "elevation": 2150}
    >>> observatories = [{"Observatory": {**site, "seasons": [{"Season": season}]}}]
    >>> table = UploadObservatoryDataStep.call({"observatories": observatories}, database="sqlite:///site.db")
    >>> table["name"].tolist(), table["upload"].tolist()
    (['RIDGE'], ['new'])
    """

    class_alias = "upload_observatory"

    tool = Tool("calibpipe-upload-observatory-data", "UploadObservatoryData", source=SELF)
    example_input = "observatories.yaml"

    def make_products(self, source: Any) -> Table:
        """Upload the observatories of a configuration."""
        section = self.read_section(source)
        for key in section:
            refuse_unknown(str(key), ("observatories",), "key", self.tool.section)
        observatories = read_observatories(section.get("observatories"))
        database = self.open_database()
        outcomes = upload_observatories(database, observatories, self.overwrite)
        for observatory, outcome in zip(observatories, outcomes, strict=True):
            name = f"{observatory.name} version {observatory.version}"
            logger.info("%s: %s: %s: %s", self.class_alias, database.location, name, outcome)
        columns = ("name", "version", "latitude", "longitude", "elevation")
        table = Table({name: [getattr(observatory, name) for observatory in observatories] for name in columns})
        table["latitude"].unit = table["longitude"].unit = "deg"
        table["elevation"].unit = "m"
        table["upload"] = outcomes
        return table
