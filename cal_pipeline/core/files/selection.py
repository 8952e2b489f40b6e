"""Table that maps data to the parameter files in `cfg`."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import cal_pipeline
from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.heterodyne.references.telescope import find_profile, open_profile

SELECTION = "selection.toml"


class ParameterFileError(CalibrationError):
    """The table that chooses parameter files cannot be used."""


@dataclass(frozen=True)
class Choice:
    """A row of the table.

    Parameters
    ----------
    parameters : str
        Name of the parameter file, without ``.asdf``.
    purpose : str
        Purpose of the file.
    telescope, frontend, mode : str
        Patterns of the data for the file, with ``*`` for any text; all empty for a file that is
        used by name only. The telescope is named as in its profile.
    """

    parameters: str
    purpose: str
    telescope: str = ""
    frontend: str = ""
    mode: str = ""

    @property
    def automatic(self) -> bool:
        """Tell whether the file is chosen by the data, not only by name."""
        return bool(self.telescope)

    def suits(self, telescope: str, frontend: str, mode: str) -> bool:
        """Tell whether the file is meant for such data; case-insensitive."""
        asked = ((telescope, self.telescope), (frontend, self.frontend), (mode, self.mode))
        return self.automatic and all(fnmatchcase(value.upper(), pattern.upper()) for value, pattern in asked)


def cfg_folder() -> Path:
    """Find the folder `cfg` of the installation, or of the checkout in use.

    Raises
    ------
    ParameterFileError
        If there is neither.
    """
    package = Path(cal_pipeline.__file__).parent
    candidates = [package / "cfg", package.parent / "cfg"]
    for folder in candidates:
        if (folder / SELECTION).is_file():
            return folder
    raise ParameterFileError(
        f"no parameter files: neither {' nor '.join(str(c / SELECTION) for c in candidates)} exists"
    )


def read_choices(path: Path | None = None) -> tuple[Choice, ...]:
    """Read the table.

    Parameters
    ----------
    path : Path, optional
        The table; the one in `cfg` if not given.

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
    path = (path or cfg_folder() / SELECTION).absolute()
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise ParameterFileError(f"{path} cannot be read: {error}") from error
    return _read(path, changed)


@lru_cache(maxsize=4)
def _read(path: Path, mtime_ns: int) -> tuple[Choice, ...]:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParameterFileError(f"{path} cannot be read: {error}") from error
    found = tree.get("choice", [])
    if set(tree) - {"choice"} or not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ParameterFileError(f"{path} holds {', '.join(sorted(tree))}, expected rows that start with [[choice]]")
    for index, row in enumerate(found):
        _check(path, index, row)
    return tuple(Choice(**row) for row in found)


def _check(path: Path, index: int, row: dict[str, Any]) -> None:
    known = [field.name for field in fields(Choice)]
    where = f"{path}: choice[{index}]"
    for key in row:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; expected {', '.join(known)}"
            raise ParameterFileError(f"{where}: {key!r} is not known{hint}")
        if not isinstance(row[key], str) or not row[key]:
            raise ParameterFileError(f"{where}: {key} is {row[key]!r}, expected text; '*' stands for anything")
    missing = [name for name in ("parameters", "purpose") if name not in row]
    patterns = [name for name in ("telescope", "frontend", "mode") if name in row]
    if missing or len(patterns) not in (0, 3):
        wanted = "parameters and purpose, and telescope, frontend and mode or none of these"
        raise ParameterFileError(f"{where} has {sorted(row)}, expected {wanted}")
    if not (path.parent / f"{row['parameters']}.asdf").is_file():
        raise ParameterFileError(f"{where}: there is no {path.parent / row['parameters']}.asdf")


def choose_parameters(
    telescope: str | None = None, frontend: str | None = None, mode: str | None = None
) -> Path | None:
    """Find the parameter file for data of a telescope, frontend and mode.

    Parameters
    ----------
    telescope, frontend : str or None
        As recorded in the attributes of the scan.
    mode : str or None
        Observing mode.

    Returns
    -------
    Path or None
        The ASDF file; None where the defaults of the steps are meant.
    """
    profile = open_profile(find_profile(telescope)).name
    for choice in read_choices():
        if choice.suits(profile, frontend or "", mode or ""):
            return cfg_folder() / f"{choice.parameters}.asdf"
    return None
