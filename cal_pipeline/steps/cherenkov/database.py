"""Bases of the steps that use the database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cal_pipeline.cherenkov.configuration import DATABASE, read_yaml
from cal_pipeline.cherenkov.database.location import DEFAULT_URL, read_database_configuration
from cal_pipeline.cherenkov.database.store import Database, open_database
from cal_pipeline.cherenkov.errors import ConfigurationError
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


class UploadStep(DatabaseStep):
    """Base of the steps whose input is a section of a configuration, or a file with one."""

    def read_section(self, source: Any) -> Mapping[str, Any]:
        """Read the section.

        A file may name the database too, which counts unless the parameter `database` does.

        Parameters
        ----------
        source : str, Path or mapping
            YAML file or its content: the section under its name, or the keys of the section alone.

        Returns
        -------
        mapping

        Raises
        ------
        MissingInputError
            If the file is not there.
        ConfigurationError
            If it is no YAML, or holds no keys.
        """
        if isinstance(source, (str, Path)):
            path = self.find_input(source, "the configuration")
            content, where = read_yaml(path), str(path)
        else:
            content, where = source, "the configuration"
        if isinstance(content, Mapping) and self.tool.section in content:
            if content.get(DATABASE) and self.database == DEFAULT_URL:
                self.database = read_database_configuration(content[DATABASE])
            content = content[self.tool.section]
        if not isinstance(content, Mapping):
            raise ConfigurationError(f"{where}: {self.tool.section} holds {content!r}; expected keys")
        return content
