"""Collect parameters from files and arguments, and note the origin of each."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache
from os.path import dirname, isfile, join
from pathlib import Path
from typing import Any

from configobj import ConfigObj, ConfigObjError
from stpipe import config_parser
from stpipe._cmdline import FromCommandLine

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.files.asdf_file import is_asdf, refuse_external_arrays
from cal_pipeline.core.parameters.classes import check_class
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.parameters.resolved import GIVEN, RECORDED, RECORDED_DEFAULT
from cal_pipeline.core.parameters.values import show_value
from cal_pipeline.core.store.locations import is_url, normalize_location

ABOUT_A_FILE = frozenset({"name", "class", "logcfg"})
"""Entries of a parameter file about itself, not parameters."""


@dataclass
class Collected:
    """Parameters that were given, not checked yet.

    Parameters
    ----------
    values : dict
        Values by name; those of steps nested under ``steps``.
    origins : dict
        Origins, nested like the values.
    may_choose : bool
        Whether a file may be chosen by the data for the others.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Any] = field(default_factory=dict)
    may_choose: bool = True

    @classmethod
    def of(cls, given: Mapping[str, Any], origin: str) -> Collected:
        """Collect parameters that have one origin."""
        collected = cls()
        for name, value in given.items():
            if isinstance(value, dict):
                inner = cls.of(value, origin)
                collected.values[name], collected.origins[name] = inner.values, inner.origins
            else:
                collected.put(name, value, origin)
        return collected

    def put(self, name: str, value: Any, origin: str) -> None:
        """Add or replace a value that is no section."""
        self.values[name] = str.__str__(value) if isinstance(value, str) else value
        self.origins[name] = origin

    def section(self, name: str) -> Collected:
        """Return a section, such as ``steps``; its changes are changes of this object."""
        return Collected(self.values.setdefault(name, {}), self.origins.setdefault(name, {}))

    def override(self, other: Collected) -> None:
        """Add other parameters; they replace those that are there."""
        for name, value in other.values.items():
            if isinstance(value, dict) and isinstance(self.values.get(name, {}), dict):
                self.section(name).override(other.section(name))
            else:
                self.values[name] = value
                if name in other.origins:
                    self.origins[name] = other.origins[name]


class Parameters(ConfigObj):  # type: ignore[misc]
    """A configuration on its way through stpipe, which knows the origins of its values.

    Attributes
    ----------
    origins : dict or None
        Origins of the values, nested like these; None if they are still to be traced.
    chosen : dict
        Values from a file that was chosen by the data. They are no values of the user: they are
        chosen again for each observation.
    may_choose : bool
        Whether a file may be chosen by the data.
    """

    origins: dict[str, Any] | None = None
    chosen: Mapping[str, Any] = {}
    may_choose: bool = True

    @classmethod
    def of(cls, collected: Collected) -> Parameters:
        """Wrap collected parameters."""
        config = cls()
        config_parser.merge_config(config, collected.values)
        config.origins, config.may_choose = collected.origins, collected.may_choose
        return config


def collect_parameters(config: Any, config_file: str | None, steps: Mapping[str, type]) -> Collected:
    """Collect the parameters of a configuration that stpipe hands over.

    Parameters
    ----------
    config : mapping
        Parameters of a file and of the command line, or `Parameters`.
    config_file : str or None
        The file.
    steps : mapping
        Classes of the steps of a pipeline, by name.
    """
    origins = getattr(config, "origins", None)
    if origins is None:
        in_file = _parse_file(config_file) if config_file and isfile(config_file) else {}
        collected = _trace(config, f"file {config_file}", in_file, getattr(config, "chosen", {}))
        read_nested_files(collected, config_file, steps)
    else:
        # Values added to the configuration later are arguments.
        collected = Collected.of(plain_tree(config), GIVEN)
        _replace_known(collected.origins, origins)
    collected.may_choose = getattr(config, "may_choose", True)
    return collected


def plain_tree(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as nested plain dicts; the values are the same objects."""
    return {name: plain_tree(value) if isinstance(value, dict) else value for name, value in config.items()}


def _replace_known(origins: dict[str, Any], known: Mapping[str, Any]) -> None:
    for name, origin in origins.items():
        if isinstance(origin, dict):
            _replace_known(origin, known.get(name, {}))
        else:
            origins[name] = known.get(name, origin)


def _trace(config: Any, file: str, in_file: Mapping[str, Any], chosen: Mapping[str, Any]) -> Collected:
    """Find out where each value of a configuration comes from.

    stpipe marks text of the command line, but not lists. A value that was chosen by the data is
    the same object in the configuration, unless the user gave another.
    """
    collected = Collected()
    for name, value in config.items():
        known, other = in_file.get(name), chosen.get(name)
        if isinstance(value, dict):
            inner = _trace(value, file, *(one if isinstance(one, dict) else {} for one in (known, other)))
            collected.values[name], collected.origins[name] = inner.values, inner.origins
            continue
        typed = isinstance(value, FromCommandLine) or (isinstance(value, list) and value != known)
        if name in in_file and not typed:
            collected.put(name, value, file)
        elif name not in chosen or value is not other:
            collected.put(name, value, GIVEN)
    return collected


def read_nested_files(collected: Collected, config_file: str | None, steps: Mapping[str, type]) -> None:
    """Take in the parameter files that the steps of a pipeline name as ``config_file``.

    A nested file is over the file that names it if it is given as an argument, else below it;
    arguments are over both.

    Parameters
    ----------
    collected : Collected
        Parameters of a pipeline; changed in place.
    config_file : str or None
        The file of the pipeline; names in ``config_file`` are relative to its folder.
    steps : mapping
        Classes of the steps.
    """
    sections = collected.values.get("steps")
    for key, cls in steps.items():
        if not isinstance(sections, dict) or not isinstance(sections.get(key), dict):
            continue
        section = collected.section("steps").section(key)
        origin = section.origins.get("class", GIVEN)
        check_class(section.values, cls, f"steps.{key}" if origin == GIVEN else f"{origin}: steps.{key}")
        named, named_by = section.values.pop("config_file", None), section.origins.pop("config_file", GIVEN)
        if not named or named == "None":
            continue
        path = join(dirname(config_file or ""), normalize_location(named))
        inner = read_file(path)
        check_class(inner, cls, f"parameter file {path} of steps.{key}")
        for name, value in inner.items():
            if name not in ABOUT_A_FILE and (
                name not in section.values or (named_by == GIVEN and section.origins[name] != GIVEN)
            ):
                section.put(name, value, f"file {path}")


def gather_parameters(
    given: Mapping[str, Any],
    config_file: str | None,
    steps: Mapping[str, type],
    origin: str = GIVEN,
    read: bool = True,
) -> Collected:
    """Gather parameters that are given as keywords, and those of the files that they name.

    Parameters
    ----------
    given : mapping
        Keywords, plain; those of steps nested under ``steps``.
    config_file : str or None
        File of the user, below the keywords.
    steps : mapping
        Classes of the steps of a pipeline, by name.
    origin : str
        Origin of the keywords.
    read : bool
        Whether to read `config_file`; else only names of nested files are relative to it.
    """
    in_file = read_file(config_file) if config_file and read else {}
    collected = Collected.of(plain_tree(in_file), f"file {config_file}")
    collected.override(Collected.of(given, origin))
    read_nested_files(collected, config_file, steps)
    return collected


def wrap_recorded(given: Mapping[str, Any], where: str, origins: Mapping[str, str]) -> Parameters:
    """Wrap the parameters recorded in a product; prevent a choice of files by the data.

    Parameters
    ----------
    given : mapping
        The parameters; those of steps nested under ``steps``.
    where : str
        The product.
    origins : mapping
        Recorded origins by the names of parameters on the command line; the others are defaults.
    """
    collected = gather_parameters(given, None, {}, f"{RECORDED} in {where}")
    known = {name for name, origin in origins.items() if not origin.startswith(RECORDED_DEFAULT)}
    _mark_defaults(collected.origins, known, f"{RECORDED_DEFAULT} in {where}")
    collected.may_choose = False
    return Parameters.of(collected)


def _mark_defaults(origins: dict[str, Any], known: Set[str], mark: str, start: str = "") -> None:
    """Replace the origins of parameters that are not among the known names, which begin with `start`."""
    for name, origin in origins.items():
        if isinstance(origin, dict):
            _mark_defaults(origin, known, mark, f"{start}{name}.")
        elif start + name not in known:
            origins[name] = mark


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
        return _parse_file(path)
    except (ConfigObjError, ValueError) as error:
        raise ParameterError(
            f"parameter file {path} cannot be read: {error}; expected ASDF (.asdf) or lines 'name = value' (.cfg)"
        ) from error


def load_parameters(path: Path) -> ConfigObj:
    """Read a parameter file, once as long as it does not change."""
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _load(path: Path, mtime_ns: int) -> ConfigObj:
    return _parse_file(str(path))


def _parse_file(path: str) -> ConfigObj:
    if is_asdf(path):
        refuse_external_arrays(path)
    return config_parser.load_config_file(path)


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
