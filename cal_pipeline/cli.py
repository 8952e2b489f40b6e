"""The command ``calibrate``: a front over the pipeline, with the options that users of older engines know."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cal_pipeline.engine.runner import RunFailedError
from cal_pipeline.errors import CalibrationError
from cal_pipeline.models.compare import NOT_COMPARED, compare
from cal_pipeline.models.overview import describe
from cal_pipeline.pipeline import CalibrationPipeline
from cal_pipeline.replay import recorded_pipeline, replay_and_compare
from cal_pipeline.report.comparison import format_comparison
from cal_pipeline.steps import LoadsStep

DONE, FAILED = 0, 1


class _Parser(argparse.ArgumentParser):
    """A parser whose errors end with status 1; 2 means that some scans were calibrated."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(FAILED, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``calibrate``.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process if not given.

    Returns
    -------
    int
        0 for success, 1 for failure, 2 where some scans could not be calibrated.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = COMMANDS.get(arguments[0]) if arguments else None
    try:
        return command(arguments[1:]) if command else _calibrate(arguments)
    except RunFailedError as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return int(error.exit_status)
    except (CalibrationError, OSError, ValueError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return FAILED


def calibrate_parser() -> argparse.ArgumentParser:
    """The options of ``calibrate``; what is not given is left to the pipeline."""
    parser = _Parser(
        prog="calibrate",
        description="Calibrate a session. Also: calibrate info, compare, replay (see calibrate COMMAND --help).",
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("-i", "--input", required=True, metavar="L0", help="session to calibrate")
    add("-o", "--output", metavar="L1", help="store to write; a folder, or a name that ends in /, to write it into")
    add("--config", metavar="FILE", help="parameter file (.asdf or .cfg)")
    add("--scans", help="scans to calibrate, as in 25650,25660:25670")
    add("--overwrite", action="store_true", help="replace an output that exists")
    add("--atm-table", metavar="FILE", help="atmosphere table")
    add("--telescope", metavar="FILE", help="telescope profile")
    add("--mode", help="observing mode: total_power, otf or otf_chopped")
    add("--foeff", type=float, nargs="+", help="forward efficiency, one or one per array")
    add("--image-gain", type=float, help="gain ratio image/signal: 1 ideal double sideband, 0 single sideband")
    add("--physics", choices=["exact", "kalibrate-compat"], help="constants and rounding")
    water = parser.add_mutually_exclusive_group()
    water.add_argument("--pwv", type=float, metavar="MM", help="water vapour, given")
    water.add_argument("--pwv-per-pixel", action="store_true", help="one water vapour for each pixel")
    water.add_argument("--pwv-per-pair", action="store_true", help="one water vapour for each ON-OFF pair and pixel")
    add("--link-bands", action="store_true", help="one water vapour for all bands of a scan")
    add("--gain-interpolate", type=int, choices=[0, 2, 3], help="correct gain drift of ONs (2), of ONs and OFFs (3)")
    add("--dbs-coupling", action="store_true", help="merge the beams of chopped scans")
    add("--skydiff", type=int, metavar="N", help="compare each OFF with the N most recent ones of earlier scans")
    add("--skychopdiff", action="store_true", help="compare the chop phases of the empty sky")
    add("--set", action="append", metavar="STEP.NAME=VALUE", help="any other parameter")
    add("-v", "--verbose", action="store_true", help="log more")
    add("-q", "--quiet", action="store_true", help="log warnings only")
    return parser


def pipeline_parameters(given: dict[str, Any]) -> dict[str, Any]:
    """What given options mean for the pipeline.

    Parameters
    ----------
    given : dict
        Options by name, only those that were given.

    Returns
    -------
    dict
        Arguments of ``CalibrationPipeline.call``.

    Raises
    ------
    ValueError
        For a ``--set`` that is not STEP.NAME=VALUE.
    """
    steps: dict[str, dict[str, Any]] = {}
    for option, translate in _MEANING.items():
        if option in given:
            step, parameters = translate(given[option])
            steps.setdefault(step, {}).update(parameters)
    for setting in given.get("set", []):
        name, equals, value = setting.partition("=")
        step, dot, parameter = name.partition(".")
        if not equals or not dot:
            raise ValueError(f"--set {setting!r}: expected STEP.NAME=VALUE, as in atmosphere.t_atm=260")
        steps.setdefault(step, {})[parameter] = value
    result: dict[str, Any] = {"steps": steps} if steps else {}
    for option, name in (("config", "config_file"), ("scans", "scans"), ("overwrite", "overwrite")):
        if option in given:
            result[name] = given[option]
    if "output" in given:
        result |= _where_to(given["output"])
    return result


_MEANING: dict[str, Callable[[Any], tuple[str, dict[str, Any]]]] = {
    "atm_table": lambda value: ("atmosphere", {"override_atm": value}),
    "telescope": lambda value: ("loads", {"override_telescope": value}),
    "mode": lambda value: ("prepare", {"mode": value}),
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


def _where_to(output: str) -> dict[str, str]:
    """The store to write, or the folder to write it into."""
    path = Path(output)
    folder = output.endswith(("/", "\\")) or (path.is_dir() and not (path / "zarr.json").is_file())
    return {"output_dir": output} if folder else {"output_file": output}


def _calibrate(arguments: list[str]) -> int:
    given = vars(calibrate_parser().parse_args(arguments))
    level = "DEBUG" if given.get("verbose") else "WARNING" if given.get("quiet") else "INFO"
    with _log_to_stderr(level):
        CalibrationPipeline.call(given["input"], configure_log=False, **pipeline_parameters(given))
    return DONE


class _log_to_stderr:  # noqa: N801
    """Log to standard error within the block."""

    def __init__(self, level: str) -> None:
        self.level = level
        self.handler = logging.StreamHandler(sys.stderr)
        self.handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))

    def __enter__(self) -> None:
        logger = logging.getLogger("cal_pipeline")
        self.before = logger.level
        logger.setLevel(self.level)
        logger.addHandler(self.handler)

    def __exit__(self, *_: object) -> None:
        logger = logging.getLogger("cal_pipeline")
        logger.setLevel(self.before)
        logger.removeHandler(self.handler)


def _info(arguments: list[str]) -> int:
    parser = _Parser(
        prog="calibrate info",
        description="Describe an L0 session and what would be chosen for it, an L1 store, a file that a step wrote, "
        "or a parameter file.",
    )
    parser.add_argument("session", help="L0 session, L1 store or file")
    parser.add_argument("--json", action="store_true", help="as JSON")
    given = parser.parse_args(arguments)
    described = describe(given.session, LoadsStep().calibration_interval)
    print(json.dumps(described.data, indent=2, allow_nan=False) if given.json else described.text)
    return DONE


def _compare(arguments: list[str]) -> int:
    parser = _Parser(
        prog="calibrate compare",
        description="Compare two L1 stores: first what was recorded of how they were made, then their arrays. "
        "Status 0: the arrays are equal; 1: they differ; 3: they could not be compared.",
    )
    parser.add_argument("first", help="L1 store (folder, ZIP file or URL)")
    parser.add_argument("second", help="L1 store")
    parser.add_argument("--scans", type=int, nargs="+", help="only these scans")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        help="largest difference over the rms of an array (default: 0, bit by bit)",
    )
    parser.add_argument("--all", action="store_true", help="list every array and scan, identical ones too")
    given = parser.parse_args(arguments)
    try:
        comparison = compare(given.first, given.second, given.scans)
    except (CalibrationError, OSError, ValueError) as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return NOT_COMPARED
    print(format_comparison(comparison, given.tolerance, given.all))
    return comparison.status(given.tolerance)


def _replay(arguments: list[str]) -> int:
    parser = _Parser(
        prog="calibrate replay",
        description="Calibrate a scan again with the parameters that were recorded of it, and compare bit by bit.",
    )
    parser.add_argument("store", help="L1 store")
    parser.add_argument("scan", type=int, help="scan number")
    parser.add_argument("-o", "--output", help="store to write (default: none is kept)")
    parser.add_argument("--parameters", metavar="FILE", help="write the parameters to this .asdf file, for strun")
    given = parser.parse_args(arguments)
    if given.parameters:
        recorded_pipeline(given.store, given.scan).export_config(given.parameters)
    with tempfile.TemporaryDirectory() as folder:
        output = given.output or str(Path(folder) / "replay.zarr")
        comparison = replay_and_compare(given.store, given.scan, output)
    print(format_comparison(comparison))
    return comparison.status()


COMMANDS: dict[str, Callable[[list[str]], int]] = {"info": _info, "compare": _compare, "replay": _replay}
"""What can stand after ``calibrate`` in place of options."""


if __name__ == "__main__":
    sys.exit(main())
