"""Subcommand ``calibrate tune``: scans with combinations of parameters, side by side."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from cal_pipeline.cli.commands import CommandParser, UsageError, show
from cal_pipeline.cli.families import find_family
from cal_pipeline.cli.settings import read_settings
from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.logs import log_to_stderr


def tune_parser() -> argparse.ArgumentParser:
    """Make the parser of ``calibrate tune``."""
    parser = CommandParser(
        prog="calibrate tune",
        description="Calibrate scans with all combinations of values of some parameters, and compare figures and "
        "verdicts with those of the current parameters. No spectra are written. Status 0: all combinations are "
        "calibrated; 2: some scans failed under some; 1: all failed.",
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("session", metavar="L0", help="session (folder, ZIP file or URL)")
    add(
        "--vary",
        action="append",
        required=True,
        metavar="STEP.NAME=VALUE,VALUE,...",
        help="parameter of a step, and its values; a value that is a list stands in brackets, one with commas in "
        "quotes; may be repeated: all combinations are run",
    )
    add("--scans", help="scans, as in 25650,25660:25670 (default: all)")
    add("--set", action="append", metavar="[STEP.]NAME=VALUE", help="other current parameters; may be repeated")
    add("--config", metavar="FILE", help="parameter file (.asdf or .cfg) with the current parameters")
    add("-o", "--output", metavar="PAGE", help="write a page (HTML)")
    add("--json", metavar="FILE", help="write the table as JSON, its rows under 'rows'")
    add("--row", type=int, metavar="N", help="row to keep with --write, by its number in the table, from 0")
    add("--write", metavar="FILE", help="write the parameters of a row as a parameter file (.asdf), for strun")
    add("--overwrite", action="store_true", help="replace existing files")
    add("--limit", type=int, metavar="N", help="largest number of combinations (default: 200)")
    add("--threads", type=int, metavar="N", help="number of threads")
    add("-v", "--verbose", action="store_true", help="log at level DEBUG")
    add("-q", "--quiet", action="store_true", help="log errors only")
    return parser


def tune_command(arguments: list[str]) -> int:
    """Run ``calibrate tune``.

    Parameters
    ----------
    arguments : list of str
        Arguments of the subcommand.

    Returns
    -------
    int
        0 if all scans are calibrated with all combinations, 2 for some, 1 for none.
    """
    from cal_pipeline.core.parameters.grid import check_varied, list_combinations, read_varied
    from cal_pipeline.pipelines.calibration import CalibrationPipeline
    from cal_pipeline.pipelines.tuning import MOST_COMBINATIONS, check_output, check_row, tune

    given = vars(tune_parser().parse_args(arguments))
    if ("row" in given) != ("write" in given):
        raise UsageError("--row and --write belong together, as in --row 3 --write mine.asdf")
    if find_family(given["session"]).noun != "scan":
        raise UsageError(f"{given['session']} is a store of an imager, and calibrate tune is for receivers")
    # What is in the way of the outputs is found before anything runs.
    varied, limit = read_varied(given["vary"]), given.get("limit", MOST_COMBINATIONS)
    try:
        combinations = list_combinations(check_varied(CalibrationPipeline, varied), limit)
    except CalibrationError as error:
        raise UsageError(str(error).replace("(limit=", "(--limit ")) from error
    overwrite = "overwrite" in given
    for option, suffix in (("output", ""), ("json", ""), ("write", ".asdf")):
        if option in given:
            check_output(given[option], overwrite, suffix)
    if "row" in given:
        check_row(given["row"], len(combinations))
    level = logging.DEBUG if given.get("verbose") else logging.ERROR if given.get("quiet") else logging.WARNING
    with log_to_stderr(level):
        tuning = tune(
            given["session"], varied, given.get("scans"), limit=limit, configure_log=False, **_read_parameters(given)
        )
    show(str(tuning))
    if "json" in given:
        tuning.to_json(given["json"], overwrite)
    if "output" in given:
        tuning.to_html(given["output"], overwrite)
    if "write" in given:
        file = tuning.write(given["row"], given["write"], overwrite)
        show(f"row {given['row']} is written to {file}, as in strun {file} {given['session']}")
    return tuning.exit_status


def _read_parameters(given: dict[str, Any]) -> dict[str, Any]:
    """Translate options to keywords of :func:`cal_pipeline.tune`."""
    own, steps = read_settings(given.get("set", []))
    if "scans" in own:
        raise UsageError("--set scans: select scans with --scans")
    parameters = own | ({"steps": steps} if steps else {})
    for option, name in (("config", "config_file"), ("threads", "threads")):
        if option in given:
            parameters[name] = given[option]
    return parameters
