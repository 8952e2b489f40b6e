"""Libraries of extras, imported when they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from cal_pipeline.cherenkov.errors import ConfigurationError

_EXTRAS = {
    "yaml": "cherenkov",
    "sqlalchemy": "cherenkov",
    "h5py": "cherenkov",
    "tables": "cherenkov",
    "psycopg": "postgres",
    "eccodes": "grib",
}
"""Extras of this package, by the libraries that they bring."""


def import_extra(name: str) -> Any:
    """Import a library of an extra.

    Parameters
    ----------
    name : str
        Module, such as ``"sqlalchemy.orm"``.

    Returns
    -------
    module

    Raises
    ------
    ConfigurationError
        If it is not installed; the message names the extra.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        library = name.partition(".")[0]
        if error.name != library:
            raise
        raise ConfigurationError(
            f"{library} is not installed; pip install 'cal_pipeline[{_EXTRAS[library]}]' brings it"
        ) from error
