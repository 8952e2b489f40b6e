"""Base of the steps that use the database."""

from __future__ import annotations

from cal_pipeline.cherenkov.database.store import Database, open_database
from cal_pipeline.steps.cherenkov.base import CherenkovStep


class DatabaseStep(CherenkovStep):
    """Base of the steps that use the database."""

    spec = """
    database = string(default="sqlite:///calibpipe.db")  # URL of the database: SQLite file or PostgreSQL server
    """

    database: str

    def open_database(self, must_have_tables: bool = True) -> Database:
        """Open the database; see :func:`cal_pipeline.cherenkov.database.store.open_database`."""
        return open_database(self.database, must_have_tables)
