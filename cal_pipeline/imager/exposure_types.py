"""Table of exposure types: the pipelines that run on an exposure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import Annotated, Any, NamedTuple

from cal_pipeline.core.files.declared import FileProperty, OneOf, Table, Tables, Text, TruthValue, read_declared
from cal_pipeline.core.files.selection import cfg_folder
from cal_pipeline.imager.errors import ExposureTableError, ExposureTypeError
from cal_pipeline.imager.layout import check_attributes
from cal_pipeline.registry import list_steps

FILE = "exposure_types.toml"
"""Name of the shipped table in `cfg`."""

SCIENCE, BACKGROUND = "science", "background"
"""Roles of exposures in stage 2; others have none."""

PIPELINES = tuple(step.class_alias for step in list_steps("imager") if step.is_pipeline)
"""Aliases of the pipelines of this package."""

_LIKE_A_KNOWN_ONE = 0.8
"""Similarity from which on an unknown alias is taken for a misspelt one; 1 is equality."""


@dataclass(frozen=True)
class _Alias:
    """Alias of a pipeline, or empty text; aliases of other packages are accepted."""

    def read(self, value: Any, at: Any) -> str:
        """Return the alias."""
        if not isinstance(value, str) or not re.fullmatch(r"(?:[a-z]\w*)?", value):
            raise at.refusal(value, f"the alias of a pipeline, such as {', '.join(PIPELINES)}, or ''")
        near = difflib.get_close_matches(value, PIPELINES, n=1, cutoff=_LIKE_A_KNOWN_ONE)
        if near and value not in PIPELINES:
            raise at.fault(f"{at.name} is {value!r}; did you mean {near[0]!r}?")
        return value


@dataclass(frozen=True)
class ExposureRule:
    """Row of the table: the pipelines that run on exposures of a type.

    Parameters
    ----------
    exp_type : str
        Attribute ``exp_type`` of the exposures.
    tso : bool or None
        Attribute ``tso`` of the exposures (time series); None for both.
    role : str
        ``"science"``, ``"background"`` or ``""``.
    stage1, stage2, stage3 : str
        Aliases of the pipelines; empty where a stage is not run.
    purpose : str
        Description of the exposures.
    table : str
        Name of the file that has the row.
    """

    exp_type: Annotated[str, Text()]
    table: Annotated[str, FileProperty("name")]
    tso: Annotated[bool | None, TruthValue()] = None
    role: Annotated[str, OneOf((SCIENCE, BACKGROUND, ""))] = ""
    stage1: Annotated[str, _Alias()] = ""
    stage2: Annotated[str, _Alias()] = ""
    stage3: Annotated[str, _Alias()] = ""
    purpose: Annotated[str, Text(empty=True)] = ""

    @property
    def stages(self) -> dict[str, str]:
        """Aliases of the pipelines that run, by stage."""
        found = {stage: getattr(self, stage) for stage in ("stage1", "stage2", "stage3")}
        return {stage: alias for stage, alias in found.items() if alias}

    @property
    def values_of_tso(self) -> tuple[bool, ...]:
        """Values of the attribute ``tso`` that the row is for."""
        return (False, True) if self.tso is None else (self.tso,)

    def __str__(self) -> str:
        series = "" if self.tso is None else f", tso {str(self.tso).lower()}"
        return f"row {self.exp_type}{series} of {self.table}"


class _Key(NamedTuple):
    exp_type: str
    tso: bool


@dataclass(frozen=True)
class ExposureTable:
    """Rows of one file or of two, of which the second replaces rows of the first.

    Parameters
    ----------
    rows : tuple of ExposureRule
        The rows, in the order of the files.

    Examples
    --------
    >>> table = read_exposure_table()
    >>> table.look_up("SCI", tso=True).stages
    {'stage1': 'detector1', 'stage2': 'image2'}
    """

    rows: tuple[ExposureRule, ...]

    def look_up(self, exp_type: str, tso: bool = False) -> ExposureRule:
        """Look up the row for exposures of a type.

        Parameters
        ----------
        exp_type : str
            Attribute ``exp_type`` of the exposure.
        tso : bool
            Attribute ``tso`` of the exposure.

        Returns
        -------
        ExposureRule

        Raises
        ------
        ExposureTypeError
            If there is none; names the type and the known ones.

        Examples
        --------
        >>> read_exposure_table().look_up("ARC")
        Traceback (most recent call last):
        ...
        cal_pipeline.imager.errors.ExposureTypeError: exp_type 'ARC' is not in the table; known are DARK, FLAT, SCI, SKY
        """
        for row in self.rows:
            if row.exp_type == exp_type and tso in row.values_of_tso:
                return row
        known = sorted({row.exp_type for row in self.rows})
        if exp_type in known:
            raise ExposureTypeError(f"exp_type {exp_type!r} is in the table with tso {str(not tso).lower()} only")
        near = difflib.get_close_matches(exp_type, known, n=1)
        suggestion = f"; did you mean {near[0]!r}?" if near else ""
        raise ExposureTypeError(f"exp_type {exp_type!r} is not in the table; known are {', '.join(known)}{suggestion}")

    def look_up_exposure(self, attributes: Mapping[str, Any], where: str) -> ExposureRule:
        """Look up the row for an exposure by its attributes.

        Parameters
        ----------
        attributes : dict
            Its attributes, of which ``exp_type`` and ``tso`` (false) count.
        where : str
            Name of the exposure, for messages.

        Raises
        ------
        ExposureTypeError
            If there is none.
        LayoutError
            If ``exp_type`` is missing, or one of them is not what the format says.
        """
        named = {name: attributes.get(name) for name in ("exp_type", "tso")}
        check_attributes(named, where, required=("exp_type",))
        try:
            return self.look_up(str(named["exp_type"]), bool(named["tso"]))
        except ExposureTypeError as error:
            raise ExposureTypeError(f"{where}: {error}") from error

    def update(self, other: ExposureTable) -> ExposureTable:
        """Return a table with the rows of another one in place of those for the same exposures.

        Examples
        --------
        >>> row = ExposureRule("SCI", "mine.toml", tso=True, stage1="detector1")
        >>> table = read_exposure_table().update(ExposureTable((row,)))
        >>> table.look_up("SCI", True).stages, table.look_up("SCI").table
        ({'stage1': 'detector1'}, 'exposure_types.toml')
        """
        replaced = {_Key(row.exp_type, tso) for row in other.rows for tso in row.values_of_tso}
        kept = []
        for row in self.rows:
            left = [tso for tso in row.values_of_tso if _Key(row.exp_type, tso) not in replaced]
            if left:
                kept.append(row if len(left) == len(row.values_of_tso) else replace(row, tso=left[0]))
        return ExposureTable((*kept, *other.rows))


def _make_table(exposure: tuple[ExposureRule, ...] = ()) -> ExposureTable:
    """Make the table of a file, which may have one row only for each type and tso."""
    seen: dict[_Key, int] = {}
    for index, row in enumerate(exposure):
        for tso in row.values_of_tso:
            first = seen.setdefault(_Key(row.exp_type, tso), index)
            if first != index:
                raise ValueError(
                    f"exposure[{index}] is for exp_type {row.exp_type!r} with tso {str(tso).lower()}, "
                    f"as exposure[{first}] is"
                )
    return ExposureTable(exposure)


_DECLARATION = Table({"exposure": Tables(ExposureRule)}, _make_table)


def read_exposure_table(path: str | PathLike[str] | None = None) -> ExposureTable:
    """Read the shipped table, and the changes that a table of the user makes to it.

    Parameters
    ----------
    path : path, optional
        Table of the user; its rows are added, and replace those of their ``exp_type`` and ``tso``.

    Returns
    -------
    ExposureTable

    Raises
    ------
    ExposureTableError
        If a table cannot be read, has unknown keys or values, or two rows for the same exposures.
    """
    shipped = read_declared(cfg_folder() / FILE, _DECLARATION, ExposureTableError, "exposure table")
    if path is None or not str(path):
        return shipped
    return shipped.update(read_declared(path, _DECLARATION, ExposureTableError, "exposure table"))
