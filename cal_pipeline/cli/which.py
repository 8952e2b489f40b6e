"""Subcommand ``calibrate which``: the pipelines that run on the exposures of an imager."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cal_pipeline.cli.commands import DONE, FAILED, CommandParser, complain, show
from cal_pipeline.core.errors import ObservationError
from cal_pipeline.core.text import format_ranges
from cal_pipeline.imager.exposure_types import ExposureRule, read_exposure_table
from cal_pipeline.imager.exposures import ExposureStore
from cal_pipeline.imager.parameter_files import choose_parameter_file

_COLUMNS = ("exposure", "exp_type", "tso", "stage1", "stage2", "stage3", "reason")


class _Choice(NamedTuple):
    """Pipelines of an exposure, and the parameter file of each."""

    exposure: int
    exp_type: str
    tso: bool
    rule: ExposureRule
    files: Mapping[str, str]

    @property
    def reason(self) -> str:
        """Row of the table and parameter files that decide."""
        purpose = f" ({self.rule.purpose})" if self.rule.purpose else ""
        files = "".join(f", {stage} with {file}" for stage, file in self.files.items())
        return f"{self.rule}{purpose}{files}"

    def as_row(self) -> dict[str, Any]:
        """Return the choice by column."""
        stages = {stage: self.rule.stages.get(stage, "") for stage in ("stage1", "stage2", "stage3")}
        head = {"exposure": self.exposure, "exp_type": self.exp_type, "tso": self.tso}
        return {**head, **stages, "reason": self.reason}


def which(arguments: list[str]) -> int:
    """Run ``calibrate which``.

    Parameters
    ----------
    arguments : list of str
        Arguments of the subcommand.

    Returns
    -------
    int
        0 if all exposures are of known types, 1 otherwise.
    """
    parser = CommandParser(
        prog="calibrate which",
        description="List the pipelines that run on each exposure of an imager, with their parameter files and the "
        "row of the table of exposure types that decides. Status 1: an exposure has no pipelines, as its type is "
        "unknown or its attributes are damaged; standard error says so.",
    )
    parser.add_argument("store", help="store of exposures (folder, ZIP file or URL)")
    parser.add_argument("--table", metavar="FILE", help="table of exposure types that adds rows, or replaces some")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    choices, faults = _choose(given.store, given.table)
    rows = [choice.as_row() for choice in choices]
    show(json.dumps(rows, indent=2) if given.json else _format(rows))
    for fault in faults:
        complain(f"calibrate which: {fault}")
    return FAILED if faults else DONE


def _choose(location: str, table: str | None) -> tuple[list[_Choice], list[ObservationError]]:
    """Choose pipelines and parameter files for the exposures of a store; return those without, as errors, too."""
    store, rules = ExposureStore(location), read_exposure_table(table)
    choices, faults = [], []
    for number in store.numbers:
        try:
            attributes = store.attributes(number)
            rule = rules.look_up_exposure(attributes, f"exposure {number}")
        except ObservationError as error:
            faults.append(error)
            continue
        keys = {name: attributes.get(name) for name in ("instrument", "detector", "exp_type")}
        paths = {stage: choose_parameter_file(alias, **keys) for stage, alias in rule.stages.items()}
        files = {stage: f"{path.parent.name}/{path.name}" for stage, path in paths.items() if path is not None}
        choices.append(_Choice(number, rule.exp_type, bool(attributes.get("tso")), rule, files))
    return choices, faults


def _format(rows: Iterable[Mapping[str, Any]]) -> str:
    """Format a table, with a line for all exposures that have the rest in common."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        alike.setdefault(tuple(_spell(row[column]) for column in _COLUMNS[1:]), []).append(row["exposure"])
    cells = [_COLUMNS, *((format_ranges(numbers), *rest) for rest, numbers in alike.items())]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(_align(line, widths) for line in cells)


def _spell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) or "-"


def _align(line: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
