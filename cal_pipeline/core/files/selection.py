"""Choice by the data: tables that map data to the parameter files in `cfg`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.files.declared import (
    PATTERN,
    FileBeside,
    Table,
    Tables,
    Text,
    ValueKind,
    matches_pattern,
    read_declared,
)

SELECTION = "selection.toml"


class ParameterFileError(CalibrationError):
    """The table that chooses parameter files cannot be used."""


@dataclass(frozen=True)
class Choice:
    """A row of a table.

    Parameters
    ----------
    parameters : str
        Name of the parameter file, without ``.asdf``.
    purpose : str
        Purpose of the file.
    patterns : dict
        Pattern of the data for the file by key of the table, with ``*`` for any text; empty for a
        file that is used by name only.
    """

    parameters: str
    purpose: str
    patterns: Mapping[str, str]

    @property
    def automatic(self) -> bool:
        """Tell whether the file is chosen by the data, not only by name."""
        return bool(self.patterns)

    def suits(self, described: Mapping[str, str | None]) -> bool:
        """Tell whether the file is meant for such data; case-insensitive."""
        return self.automatic and all(matches_pattern(described.get(key), self.patterns[key]) for key in self.patterns)


@dataclass(frozen=True, eq=False)
class ChoiceTable:
    """Table that maps data to parameter files.

    Parameters
    ----------
    keys : tuple of str
        Keys that describe the data, such as ``telescope``. A row has a pattern for each of them, or
        for none.
    file : str
        Name of the table in `cfg`.
    """

    keys: tuple[str, ...]
    file: str = SELECTION

    @cached_property
    def declaration(self) -> Table[tuple[Choice, ...]]:
        """Keys of the file."""
        kinds: dict[str, ValueKind] = {"parameters": FileBeside(".asdf"), "purpose": Text()}
        row = Table(kinds | dict.fromkeys(self.keys, PATTERN), self._make_choice, required=tuple(kinds))
        return Table({"choice": Tables(row)}, lambda choice=(): choice)

    def _make_choice(self, parameters: str, purpose: str, **patterns: str) -> Choice:
        missing = [key for key in self.keys if key not in patterns]
        if patterns and missing:
            raise ValueError(f"{missing[0]} is missing, expected {', '.join(self.keys)} or none of these")
        return Choice(parameters, purpose, patterns)


def cfg_folder() -> Path:
    """Find the folder `cfg` of the installation, or of the checkout in use.

    Raises
    ------
    ParameterFileError
        If there is neither.
    """
    return _find_cfg(__file__)


@cache
def _find_cfg(module: str) -> Path:
    """Find the folder `cfg` of the package that a module of it is in."""
    package = Path(module).parents[2]
    candidates = [package / "cfg", package.parent / "cfg"]
    for folder in candidates:
        if (folder / SELECTION).is_file():
            return folder
    raise ParameterFileError(
        f"no parameter files: neither {' nor '.join(str(c / SELECTION) for c in candidates)} exists"
    )


def read_choices(table: ChoiceTable, path: Path | None = None) -> tuple[Choice, ...]:
    """Read a table, once as long as it does not change.

    Parameters
    ----------
    table : ChoiceTable
        Its keys.
    path : Path, optional
        The file; the one in `cfg` if not given.

    Returns
    -------
    tuple of Choice
        Rows of the table; the first suitable row counts.

    Raises
    ------
    ParameterFileError
        If the table cannot be read, or a row has unknown or missing entries, or names a file that
        does not exist.
    """
    return read_declared(path or cfg_folder() / table.file, table.declaration, ParameterFileError)


def choose_parameter_file(table: ChoiceTable, described: Mapping[str, str | None]) -> Path | None:
    """Find the parameter file for data.

    Parameters
    ----------
    table : ChoiceTable
        Table that maps data to files.
    described : dict
        Description of the data by key of the table; None for what is not known.

    Returns
    -------
    Path or None
        The ASDF file; None where the defaults of the steps are meant.
    """
    for choice in read_choices(table):
        if choice.suits(described):
            return cfg_folder() / f"{choice.parameters}.asdf"
    return None
