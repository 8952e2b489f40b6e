"""Command ``calibrate``: a front end of the pipeline with the options of older engines."""

from __future__ import annotations

import argparse
import difflib
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from cal_pipeline.cli.commands import DONE, CommandParser, UsageError, complain, describe_error, run_command, show
from cal_pipeline.cli.families import add_selection, find_family, read_selection
from cal_pipeline.cli.settings import read_settings
from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.logs import log_to_stderr
from cal_pipeline.core.replay import replay_and_compare, restore_pipeline
from cal_pipeline.core.store.compare import NOT_COMPARED
from cal_pipeline.heterodyne.modes import MODES, resolve_alias
from cal_pipeline.pipelines.calibration import CalibrationPipeline
from cal_pipeline.report.comparison import format_comparison


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``calibrate``.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process if not given.

    Returns
    -------
    int
        0 for success, 1 for failure, 2 where some scans could not be calibrated, 130 or 143 after a
        signal.
    """
    return run_command("calibrate", _dispatch, argv)


def _dispatch(arguments: list[str]) -> int:
    """Run the command that stands first, or calibrate."""
    first = arguments[0] if arguments else ""
    if first in COMMANDS:
        return COMMANDS[first](arguments[1:])
    near = difflib.get_close_matches(first, COMMANDS, n=1)
    if near and not Path(first).exists():
        raise UsageError(f"there is no command or session {first!r}; did you mean calibrate {near[0]}?")
    return _calibrate(arguments)


def calibrate_parser() -> argparse.ArgumentParser:
    """Make the parser of ``calibrate``; options that are not given are left to the pipeline."""
    parser = CommandParser(
        prog="calibrate",
        description="Calibrate a session (L0) to antenna temperatures (L1).",
        epilog="Other commands, each with its own --help: calibrate ingest makes a session of a telescope's FITS "
        "files, calibrate info describes a session or a product, "
        "calibrate check finds damage in one, calibrate compare shows how two products differ, calibrate replay "
        "repeats a scan or an exposure of a product, calibrate report writes an HTML page about one, calibrate tune "
        "compares combinations of parameters on scans, calibrate export writes spectra for other programs, calibrate "
        "which lists the pipelines that run on the exposures of an imager.",
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    # Without a default of its own a positional that is absent would still be set.
    add("session", nargs="?", metavar="L0", default=argparse.SUPPRESS, help="session to calibrate")
    add("-i", "--input", metavar="L0", help="session to calibrate, as an option")
    add("-o", "--output", metavar="L1", help="store to write (default: SESSION_l1.zarr)")
    add("--config", metavar="FILE", help="parameter file (.asdf or .cfg)")
    add("--scans", help="scans to calibrate, as in 25650,25660:25670")
    add("--overwrite", action="store_true", help="replace an existing L1 store")
    add("--resume", action="store_true", help="keep finished scans that would come out alike, redo the rest")
    add("--follow", action="store_true", help="calibrate each scan once it is complete, in a session being written")
    add(
        "--follow-timeout",
        "--follow_timeout",
        type=float,
        metavar="SECONDS",
        help="end following so long after the last new scan",
    )
    add("--verify", action="store_true", help="read each scan back and compare before it is published")
    add("--atm-table", metavar="FILE", help="atmosphere table")
    add("--telescope", metavar="FILE", help="telescope profile")
    add("--mode", help=f"observing mode: {_describe_modes()}")
    add("--foeff", type=float, nargs="+", help="forward efficiency: one value, or one per array")
    add(
        "--image-gain",
        type=float,
        nargs="+",
        help="ratio of image to signal gain: 1 double sideband, 0 single sideband; one value, or one per array",
    )
    add("--physics", choices=["exact", "kalibrate-compat"], help="physical constants and rounding (default: exact)")
    water = parser.add_mutually_exclusive_group()
    water.add_argument("--pwv", type=float, metavar="MM", help="precipitable water vapour (PWV) [mm], not fitted")
    water.add_argument("--pwv-per-pixel", action="store_true", help="fit one PWV per pixel")
    water.add_argument("--pwv-per-pair", action="store_true", help="fit one PWV per ON-OFF pair and pixel")
    add("--link-bands", action="store_true", help="fit one PWV to all bands of a scan")
    add("--gain-interpolate", type=int, choices=[0, 2, 3], help="correct gain drift: 2 ONs, 3 ONs and OFFs, 0 none")
    add("--dbs-coupling", action="store_true", help="combine the two beams of chopped scans")
    add("--skydiff", type=int, metavar="N", help="compare each OFF with the N most recent of earlier scans")
    add("--skychopdiff", action="store_true", help="compare the chop phases on blank sky")
    add("--workers", type=int, metavar="N", help="number of processes")
    add("--threads", type=int, metavar="N", help="threads per process")
    add("--allow-code", action="store_true", help="let the parameter file run code: hooks, classes of others")
    add("--set", action="append", metavar="[STEP.]NAME=VALUE", help="other parameters; may be repeated")
    add("--timing", action="store_true", help="log the time that each stage of a scan took")
    add("-v", "--verbose", action="store_true", help="log at level DEBUG")
    add("-q", "--quiet", action="store_true", help="log warnings only")
    return parser


def pipeline_parameters(given: dict[str, Any]) -> dict[str, Any]:
    """Translate options to arguments of the pipeline.

    Parameters
    ----------
    given : dict
        Given options by name.

    Returns
    -------
    dict
        Arguments of ``CalibrationPipeline.call``.

    Raises
    ------
    UsageError
        For a ``--set`` that is not NAME=VALUE or STEP.NAME=VALUE.
    """
    result: dict[str, Any] = {}
    steps: dict[str, dict[str, Any]] = {}
    for option, translate in _MEANING.items():
        if option in given:
            step, parameters = translate(given[option])
            steps.setdefault(step, {}).update(parameters)
    own, of_steps = read_settings(given.get("set", []))
    result |= own
    for step, parameters in of_steps.items():
        steps.setdefault(step, {}).update(parameters)
    for option, name in _OF_PIPELINE.items():
        if option in given:
            result[name] = given[option]
    return result | ({"steps": steps} if steps else {})


_OF_PIPELINE = {
    "output": "output_file",
    "config": "config_file",
    **{name: name for name in ("scans", "overwrite", "resume", "follow", "follow_timeout", "verify")},
    **{name: name for name in ("workers", "threads", "timing", "allow_code")},
}
"""Options that set a parameter of the pipeline."""


def _describe_modes() -> str:
    """List the observing modes, with their aliases in parentheses."""
    return ", ".join(
        f"{mode.name} ({', '.join(mode.aliases)})" if mode.aliases else mode.name for mode in MODES.values()
    )


_MEANING: dict[str, Callable[[Any], tuple[str, dict[str, Any]]]] = {
    "atm_table": lambda value: ("atmosphere", {"override_atm": value}),
    "telescope": lambda value: ("loads", {"override_telescope": value}),
    "mode": lambda value: ("prepare", {"mode": resolve_alias(value)}),
    "foeff": lambda value: ("loads", {"forward_efficiency": value}),
    "image_gain": lambda value: ("loads", {"image_gain": value}),
    "physics": lambda value: ("loads", {"physics": value.replace("-", "_")}),
    "pwv": lambda value: ("atmosphere", {"strategy": "fixed", "pwv": value}),
    "pwv_per_pixel": lambda _: ("atmosphere", {"strategy": "per_pixel"}),
    "pwv_per_pair": lambda _: ("atmosphere", {"strategy": "per_pair"}),
    "link_bands": lambda _: ("atmosphere", {"link_bands": True}),
    "gain_interpolate": lambda value: ("gain", {"skip": False, "level": value} if value else {"skip": True}),
    "dbs_coupling": lambda _: ("dbs", {"skip": False}),
    "skydiff": lambda value: ("skydiff", {"skip": False, "n": value}),
    "skychopdiff": lambda _: ("skychopdiff", {"skip": False}),
}
"""The step and the parameters that an option stands for."""


def _calibrate(arguments: list[str]) -> int:
    given = vars(calibrate_parser().parse_args(arguments))
    sessions = [given[name] for name in ("session", "input") if name in given]
    if len(sessions) != 1:
        found = f"found {' and '.join(sessions)}" if sessions else "none is given"
        raise UsageError(f"one session is needed, {found}; as in calibrate session.zarr -o l1.zarr")
    if find_family(sessions[0]).noun != "scan":
        raise UsageError(
            f"{sessions[0]} is a store of an imager, and calibrate is for receivers; "
            f"calibrate which {sessions[0]} lists the pipelines for its exposures"
        )
    level = logging.DEBUG if given.get("verbose") else logging.WARNING if given.get("quiet") else logging.INFO
    with log_to_stderr(level):
        CalibrationPipeline.call(sessions[0], configure_log=False, **pipeline_parameters(given))
    return DONE


def _info(arguments: list[str]) -> int:
    parser = CommandParser(
        prog="calibrate info",
        description="Describe an L0 session (with the loads, reference files and parameter file that a run would "
        "use), an L1 store, a file that a step wrote, or a parameter file. Of an imager: a store of ramps (with the "
        "pipelines that run on it), of rates, calibrated images or mosaics, a file that a step wrote, or a reference "
        "file.",
    )
    parser.add_argument("session", help="session, store or file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    text, data = find_family(given.session).describe(given.session)
    show(json.dumps(data, indent=2, allow_nan=False) if given.json else text)
    return DONE


def _compare(arguments: list[str]) -> int:
    parser = CommandParser(
        prog="calibrate compare",
        description="Compare two products, L1 stores or stores of an imager: their records (parameters, reference "
        "files, results), then their arrays. Status 0: the arrays are equal; 1: they differ; 3: they could not be "
        "compared.",
    )
    parser.add_argument("first", help="product (folder, ZIP file or URL)")
    parser.add_argument("second", help="product")
    add_selection(parser)
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        help="largest accepted difference, relative to the rms of the array (default: 0, identical bits)",
    )
    parser.add_argument("--all", action="store_true", help="list every array and observation, identical ones too")
    given = parser.parse_args(arguments)
    family = find_family(given.first, given.second)
    wanted = read_selection(given, family)
    try:
        comparison = family.compare(given.first, given.second, wanted)
    except (CalibrationError, OSError, ValueError) as error:
        complain(f"calibrate: {describe_error(error)}")
        return NOT_COMPARED
    show(format_comparison(comparison, given.tolerance, given.all))
    return comparison.status(given.tolerance)


def _replay(arguments: list[str]) -> int:
    parser = CommandParser(
        prog="calibrate replay",
        description="Process a scan of an L1 store, or an exposure or mosaic of an imager, again with its recorded "
        "parameters, and compare the result bit by bit.",
    )
    parser.add_argument("store", help="L1 store, or product of an imager")
    parser.add_argument("scan", help="number of the scan or exposure; name of the mosaic")
    parser.add_argument("-o", "--output", metavar="STORE", help="keep the result in this store")
    parser.add_argument("--parameters", metavar="FILE", help="write the parameters to this .asdf file, for strun")
    given = parser.parse_args(arguments)
    family = find_family(given.store)
    key = family.read_key(given.scan)
    if key is None:
        parser.error(f"argument scan: invalid int value: {given.scan!r}")
    pipeline_class = family.find_pipeline(given.store)
    if given.parameters:
        pipeline = restore_pipeline(pipeline_class, given.store, key)
        try:
            pipeline.export_config(given.parameters)
        except OSError as error:
            # The error names a temporary file.
            raise UsageError(f"--parameters {given.parameters} cannot be written: {error.strerror or error}") from error
    with tempfile.TemporaryDirectory() as folder:
        output = given.output or str(Path(folder) / "replay.zarr")
        comparison = replay_and_compare(pipeline_class, given.store, key, output)
    show(format_comparison(comparison))
    return comparison.status()


def _command(module: str, name: str) -> Callable[[list[str]], int]:
    """Return a subcommand of another module, which is imported when it is run."""

    def run(arguments: list[str]) -> int:
        status: int = getattr(import_module(f"cal_pipeline.cli.{module}"), name)(arguments)
        return status

    return run


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "info": _info,
    "check": _command("check", "check"),
    "compare": _compare,
    "replay": _replay,
    "report": _command("report", "report"),
    "tune": _command("tune", "tune_command"),
    "export": _command("export", "export"),
    "ingest": _command("ingest", "ingest"),
    "which": _command("which", "which"),
}
"""Subcommands of ``calibrate``."""


if __name__ == "__main__":
    sys.exit(main())
