"""Step ``upload_model``: a reference model of the atmosphere for the database."""

from __future__ import annotations

import logging
from typing import Any

from astropy.table import Table

from cal_pipeline.cherenkov.database.upload import upload_model
from cal_pipeline.cherenkov.model_upload import read_model
from cal_pipeline.cherenkov.tools import SELF, Tool
from cal_pipeline.steps.cherenkov.database import UploadStep

logger = logging.getLogger(__name__)


class UploadAtmosphericModelStep(UploadStep):
    """Upload a reference model of the atmosphere to the database.

    The input is a YAML file, or its content. A current model replaces the others of its observatory and season, which
    stay in the database. A table of one row is returned: ``version``, ``season``, ``current``, ``density`` [1/cm3] and
    ``upload`` (new, same or replaced).

    Examples
    --------
    >>> from cal_pipeline.steps.cherenkov import UploadAtmosphericModelStep
    >>> table = UploadAtmosphericModelStep.call("night/upload_model_winter.yaml", database="sqlite:///night/calibpipe.db")
    >>> table["season"].tolist(), table["current"].tolist()
    (['WINTER'], [True])
    """

    class_alias = "upload_model"

    tool = Tool("calibpipe-upload-atmospheric-model-data", "UploadAtmosphericModel", source=SELF)
    example_input = "model.yaml"

    def make_products(self, source: Any) -> Table:
        """Upload the model of a configuration."""
        rows = read_model(self.read_section(source))
        database = self.open_database()
        outcome = upload_model(database, rows, self.overwrite)
        model = rows["AtmosphericModel"]
        logger.info("%s: %s: model %s: %s", self.class_alias, database.location, model["version"], outcome)
        table = Table({name: [model[name]] for name in ("version", "season", "current")})
        table["density"] = [rows["MolecularDensity"]["density"]]
        table["density"].unit = "1 / cm3"
        table["upload"] = [outcome]
        return table
