"""The tools `calibpipe-…`, whose names and configuration files are those of the published CTAO package."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from cal_pipeline.cherenkov.configuration import DATABASE, OPTIONS, Configuration, read_option, read_yaml, resolve
from cal_pipeline.cherenkov.errors import ConfigurationError
from cal_pipeline.cherenkov.tools import SELF, Tool
from cal_pipeline.cli.commands import DONE, CommandParser, run_command, show
from cal_pipeline.core.logs import log_to_stderr

logger = logging.getLogger(__name__)

TOOLS = {
    "calibpipe-init-db": "InitDatabaseStep",
    "calibpipe-upload-observatory-data": "UploadObservatoryDataStep",
    "calibpipe-upload-atmospheric-model-data": "UploadAtmosphericModelStep",
    "calibpipe-calculate-macobac": "MacobacStep",
    "calibpipe-create-molecular-density-profile": "DensityProfileStep",
    "calibpipe-select-reference-atmospheric-model": "SelectModelStep",
    "calibpipe-create-molecular-atmospheric-model": "AtmosphericModelStep",
    "calibpipe-calculate-camcalib-coefficients": "CameraCoefficientsStep",
    "calibpipe-produce-camcalib-test-data": "CameraTestDataStep",
    "calibpipe-calculate-throughput-muon": "MuonThroughputStep",
    "calibpipe-energy-asymmetry-estimation": "EnergyAsymmetryStep",
    "calibpipe-inter-calibration": "InterCalibrationStep",
    "calibpipe-cross-calibration": "CrossCalibrationStep",
    "calibpipe-clear-night-assessment": "ClearNightStep",
    "calibpipe-lidar-inversion": "LidarInversionStep",
}
"""Step classes by the commands that run them."""

_SHORT = {
    "i": ("input_url", "data_path"),
    "d": ("input_data_url",),
    "o": ("output_url", "output_dir", "output_path"),
    "p": ("pedestal_input_url",),
    "f": ("flatfield_input_url",),
}
"""Short options with the keys that they may stand for."""

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

_WITHOUT_EFFECT = (("-l", "--log-file"), ("--log-file-level",), ("--provenance-log",))
"""Options of the published tools: messages go to stderr, and the provenance is in the products."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool by whose name the process was called."""
    command = Path(sys.argv[0]).name.removesuffix(".exe")
    return run_tool(command, argv)


def run_tool(command: str, argv: Sequence[str] | None = None) -> int:
    """Run a tool.

    Parameters
    ----------
    command : str
        Its name, such as ``"calibpipe-calculate-macobac"``.
    argv : sequence of str, optional
        Its options; those of the process if not given.

    Returns
    -------
    int
        Exit status.
    """
    return run_command(command, lambda arguments: _run(command, arguments), argv, "--overwrite")


def load_tools() -> list[Tool]:
    """Load the public names of all tools."""
    return [_load_step(name).tool for name in TOOLS.values()]


def _load_step(name: str) -> Any:
    return getattr(import_module("cal_pipeline.steps.cherenkov"), name)


def _run(command: str, argv: list[str]) -> int:
    if command not in TOOLS:
        raise ConfigurationError(f"there is no tool {command}; expected one of {', '.join(sorted(TOOLS))}")
    cls = _load_step(TOOLS[command])
    try:
        return _run_step(cls, argv)
    except Exception as error:
        graded = cls.grade_error(error)
        if graded is error:
            raise
        raise graded from error


def _run_step(cls: Any, argv: list[str]) -> int:
    parameters = cls.own_parameters()
    given, rest = _parser(cls).parse_known_args(argv)
    if given.help:
        show(describe_tool(cls))
        return DONE
    config = Configuration()
    for path in given.config:
        config.add(read_yaml(path), f"file {path}")
    for short, keys in _SHORT.items():
        if getattr(given, short) is not None:
            config.add({cls.tool.section: {_find_key(cls, parameters, short, keys): getattr(given, short)}}, OPTIONS)
    for path, value in _read_options(rest, cls.tool.section, parameters):
        config.add(_nest(path, value), OPTIONS)
    resolved = resolve(config, cls.tool, parameters, load_tools)
    ignored = [names[-1] for names in _WITHOUT_EFFECT if getattr(given, names[-1]) is not None]
    with log_to_stderr(getattr(logging, given.log_level)):
        if resolved.ignored:
            logger.warning("keys without meaning here are ignored: %s", ", ".join(resolved.ignored))
        if ignored:
            logger.warning(
                "options without meaning here are ignored: %s; messages go to stderr, and the provenance is in the "
                "products",
                ", ".join(ignored),
            )
        step = cls.from_configuration(resolved.parameters, resolved.origins)
        step.run(resolved.source if resolved.source is not None or cls.example_input else "database")
    return int(step.exit_status)


def _parser(cls: Any) -> CommandParser:
    parser = CommandParser(prog=cls.tool.command, add_help=False, allow_abbrev=False)
    parser.add_argument("-c", "--config", action="append", default=[])
    for short in _SHORT:
        parser.add_argument(f"-{short}", *(["--input"] if short == "i" else []), dest=short)
    parser.add_argument("--log-level", "--log_level", choices=_LEVELS, default="INFO", type=str.upper)
    parser.add_argument("-q", "--quiet", action="store_const", const="ERROR", dest="log_level")
    for names in _WITHOUT_EFFECT:
        parser.add_argument(*names, dest=names[-1])
    parser.add_argument("-h", "--help", action="store_true", default=argparse.SUPPRESS)
    parser.set_defaults(help=False)
    return parser


def _find_key(cls: Any, parameters: dict[str, Any], short: str, keys: Sequence[str]) -> str:
    """Find the key that a short option stands for, in the section of the tool."""
    for key in keys:
        if key == cls.tool.source or key in parameters or key in cls.tool.unused:
            return key
    raise ConfigurationError(f"{cls.tool.command} has no option -{short}; --help lists its keys")


def _read_options(words: Sequence[str], section: str, parameters: Iterable[str]) -> list[tuple[list[str], Any]]:
    """Read options such as ``--Section.key=value``, ``--key value`` and ``--key``, which is true."""
    found: list[tuple[list[str], Any]] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if not word.startswith("--") or word == "--":
            raise ConfigurationError(f"unexpected argument {word}; expected -c FILE or --key=value")
        name, equals, text = word[2:].partition("=")
        if not equals:
            text = queue.pop(0) if queue and not queue[0].startswith("-") else "true"
        path = name.replace("-", "_").split(".")
        # --observatory.name=… is a key of the tool's section that holds keys, not a section.
        inside = len(path) == 1 or any(known.startswith(f"{path[0]}_") for known in parameters)
        found.append(
            ([section, *path] if inside and path[0] != DATABASE else path, read_option(text, f"value of --{name}"))
        )
    return found


def _nest(path: Sequence[str], value: Any) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    nested: dict[str, Any] = value
    return nested


def describe_tool(cls: Any) -> str:
    """Describe a tool and the keys of its section, for its help.

    Parameters
    ----------
    cls : type
        Step class of the tool.
    """
    tool: Tool = cls.tool
    lines = [
        f"usage: {tool.command} [-c config.yaml ...] [--Section.key=value ...]",
        "",
        (cls.__doc__ or "").strip().partition("\n")[0],
        "",
        "options:",
        "  -c, --config FILE   YAML file; later files and options override earlier ones, key by key",
        "  -i, -d, -o          input, second input and output, where the tool has such keys",
        "  --log-level LEVEL   DEBUG, INFO, WARNING or ERROR",
        "  -q, --quiet         errors only",
        "  --version           show the version",
        "  --debug             show the traceback of an error",
        "",
        f"keys of the section {tool.section}, as options too:",
    ]
    spec = cls.load_spec_file()
    parameters = cls.own_parameters()
    width = max(map(len, [*parameters, tool.source]))
    if tool.source not in ("", SELF):
        lines.append(f"  {tool.source:<{width}}  input, such as {cls.example_input}")
    for name, default in parameters.items():
        comment = (spec.inline_comments.get(name) or "").replace("%%", "%").lstrip("# ").strip()
        lines.append(f"  {name:<{width}}  {comment} [{default}]")
    if tool.handlers:
        lines += ["", f"further sections: {', '.join(tool.handlers)}"]
    return "\n".join(lines)
