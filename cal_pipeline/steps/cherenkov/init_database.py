"""Step ``init_database``: tables of the database."""

from __future__ import annotations

import logging
from typing import Any

from astropy.table import Table

from cal_pipeline.cherenkov.errors import ConfigurationError
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.steps.cherenkov.database import DatabaseStep

logger = logging.getLogger(__name__)


class InitDatabaseStep(DatabaseStep):
    """Make the tables of the database that are missing; nothing else changes.

    The input is the URL of the database, or the word ``database`` for the parameter of this name. A table of one
    column is returned: the names of the tables that were made.

    Examples
    --------
    >>> from cal_pipeline.steps.cherenkov import InitDatabaseStep
    >>> made = InitDatabaseStep.call("database", database="sqlite:///new.db")
    >>> len(made)
    9
    """

    class_alias = "init_database"

    tool = Tool("calibpipe-init-db", "InitDatabase")
    example_input = ""

    def make_products(self, source: Any) -> Table:
        """Make the missing tables."""
        if source and "://" in str(source):
            self.database = str(source)
        elif source not in (None, "", "database"):
            raise ConfigurationError(f"input {source} is no URL; expected one such as sqlite:///calibpipe.db")
        database = self.open_database(must_have_tables=False)
        made = database.make_tables()
        logger.info("%s: %s: made %s", self.class_alias, database.location, ", ".join(made) or "nothing, all is there")
        return Table({"table": made}, dtype=[str])
