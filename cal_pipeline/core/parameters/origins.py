"""Origins of parameters, recorded on reading: argument, user's file, file chosen by the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from os.path import dirname, isfile, join
from pathlib import Path
from typing import Any

from configobj import ConfigObj, ConfigObjError
from stpipe import config_parser
from stpipe._cmdline import FromCommandLine

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.parameters.messages import ParameterError, check_class
from cal_pipeline.core.parameters.values import show_value
from cal_pipeline.core.store.locations import is_url, normalize_location

GIVEN = "argument"
"""Origin of parameters given on the command line, as keywords or as attributes."""

RECORDED = "recorded"
"""First word of the origin of parameters recorded in a product."""

_UNMARKED = frozenset({"name", "class", "logcfg"})


@dataclass(frozen=True)
class Sourced:
    """A value on its way through stpipe, with its origin.

    Parameters
    ----------
    value : object
        The value.
    origin : str
        ``argument`` or ``file …``.
    """

    value: Any
    origin: str


class Parameters(ConfigObj):  # type: ignore[misc]
    """A configuration of which it is known where its values come from.

    Attributes
    ----------
    origins : dict or None
        Origins of its plain values, nested like these. None: values of the user are `Sourced` and
        all others are from a file that was chosen by the data.
    may_choose : bool
        Whether a file may be chosen by the data.
    """

    origins: dict[str, Any] | None = None
    may_choose: bool = True


def read_file(path: str) -> ConfigObj:
    """Read a parameter file of the user.

    Raises
    ------
    ParameterError
        If there is no such file, or it is none of parameters.
    """
    if is_url(path) or not isfile(path):
        where = "is remote" if is_url(path) else "does not exist"
        raise ParameterError(f"parameter file {path} {where}; expected a local file, ASDF (.asdf) or text (.cfg)")
    try:
        return config_parser.load_config_file(path)
    except (ConfigObjError, UnicodeDecodeError) as error:
        raise ParameterError(
            f"parameter file {path} cannot be read: {error}; expected ASDF (.asdf) or lines 'name = value' (.cfg)"
        ) from error


def mark_origins(config: Any, config_file: str | None) -> None:
    """Note in a configuration that stpipe has read where each value comes from.

    Parameters
    ----------
    config : ConfigObj
        Settings of the user's file and the command line; changed in place.
    config_file : str or None
        The file.
    """
    in_file: Mapping[str, Any] | None = None
    if config_file and any(isinstance(value, list) for value in _leaves(config)):
        # Of what the command line says stpipe marks text, not lists.
        in_file = config_parser.load_config_file(config_file) if isfile(config_file) else {}
    _mark(config, f"file {config_file}" if config_file else GIVEN, in_file)


def _leaves(config: Any) -> list[Any]:
    found = []
    for value in config.values():
        found += _leaves(value) if isinstance(value, dict) else [value]
    return found


def _mark(config: Any, origin: str, in_file: Mapping[str, Any] | None = None) -> None:
    for name, value in list(config.items()):
        known = None if in_file is None else in_file.get(name)
        if isinstance(value, dict):
            _mark(value, origin, in_file and (known if isinstance(known, Mapping) else {}))
        elif name not in _UNMARKED and not isinstance(value, Sourced):
            typed = isinstance(value, FromCommandLine) or (
                in_file is not None and isinstance(value, list) and value != known
            )
            plain = str.__str__(value) if isinstance(value, str) else value
            _put(config, name, Sourced(plain, GIVEN if typed else origin))


def _put(config: Any, name: str, value: Any) -> None:
    """Set a value that is never a section, whatever it is."""
    config.__setitem__(name, value, unrepr=True)


def read_nested_files(config: Any, config_file: str | None, steps: Mapping[str, type]) -> None:
    """Take in the parameter files that the steps of a pipeline name as ``config_file``.

    A nested file is over the file that names it if it is given as an argument, else below it;
    arguments are over both.

    Parameters
    ----------
    config : ConfigObj
        Parameters of a pipeline, `Sourced`; changed in place.
    config_file : str or None
        The file of the pipeline; names in ``config_file`` are relative to its folder.
    steps : mapping
        Classes of the steps.
    """
    sections = config.get("steps", {})
    for key, cls in steps.items():
        section = sections.get(key)
        if not isinstance(section, dict):
            continue
        check_class(section, cls, f"steps.{key}")
        named = section.pop("config_file", None)
        if named is None or not named.value or named.value == "None":
            continue
        path = join(dirname(config_file or ""), normalize_location(named.value))
        inner = read_file(path)
        check_class(inner, cls, f"parameter file {path} of steps.{key}")
        _mark(inner, f"file {path}")
        for name, value in inner.items():
            present = section.get(name)
            over = named.origin == GIVEN and isinstance(present, Sourced) and present.origin != GIVEN
            if name not in _UNMARKED and (present is None or over):
                _put(section, name, value)


def settle(config: Any) -> Parameters:
    """Unwrap the `Sourced` values of a configuration; leave out those from a chosen file."""
    settled = Parameters()
    settled.may_choose = getattr(config, "may_choose", True)
    settled.origins = _unwrap(config, settled, isinstance(config, Parameters))
    return settled


def _unwrap(source: Any, target: Any, drop_chosen: bool) -> dict[str, Any]:
    origins: dict[str, Any] = {}
    for name, value in source.items():
        if isinstance(value, dict):
            if name not in target:
                target[name] = {}
            origins[name] = _unwrap(value, target[name], drop_chosen)
        elif isinstance(value, Sourced):
            _put(target, name, value.value)
            origins[name] = value.origin
        elif not drop_chosen or name in _UNMARKED:
            _put(target, name, value)
    return origins


def gather(
    given: Mapping[str, Any],
    config_file: str | None,
    steps: Mapping[str, type],
    origin: str = GIVEN,
    read: bool = True,
) -> Parameters:
    """Gather parameters that are given as keywords, and over the files that they name.

    Parameters
    ----------
    given : mapping
        Keywords, plain; those of steps nested under ``steps``.
    config_file : str or None
        File of the user.
    steps : mapping
        Classes of the steps of a pipeline, by name.
    origin : str
        Origin of the keywords.
    read : bool
        Whether to read `config_file`; else only names of nested files are relative to it.
    """
    config = read_file(config_file) if config_file and read else ConfigObj()
    mark_origins(config, config_file)
    keywords = ConfigObj()
    config_parser.merge_config(keywords, given)
    _mark(keywords, origin)
    config_parser.merge_config(config, keywords)
    read_nested_files(config, config_file, steps)
    return settle(config)


def recorded_parameters(given: Mapping[str, Any], where: str) -> Parameters:
    """Wrap the parameters recorded in a product; prevent a choice of files by the data."""
    parameters = gather(given, None, {}, f"{RECORDED} in {where}")
    parameters.may_choose = False
    return parameters


def complete_origins(config: Mapping[str, Any], origins: dict[str, Any]) -> dict[str, Any]:
    """Complete the origins of a configuration: added values are arguments."""
    complete: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            inner = origins.get(name)
            complete[name] = complete_origins(value, inner if isinstance(inner, dict) else {})
        elif name not in _UNMARKED:
            complete[name] = origins.get(name, GIVEN)
    return complete


def load_parameters(path: Path) -> ConfigObj:
    """Read a parameter file, once as long as it does not change."""
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _load(path: Path, mtime_ns: int) -> ConfigObj:
    return config_parser.load_config_file(str(path))


def local_file(name: str, value: Any) -> str:
    """Return the path of a local file that a parameter names.

    Raises
    ------
    ParameterError
        If it is no path, or a URL.
    """
    try:
        path = normalize_location(value)
    except TypeError:
        raise ParameterError(f"{name} = {show_value(value)} is not accepted; expected a path") from None
    except CalibrationError as error:
        raise ParameterError(f"{name}: {error}") from error
    if is_url(path):
        raise ParameterError(f"{name} = {path!r} is remote; expected a local file, copy it first")
    return path
