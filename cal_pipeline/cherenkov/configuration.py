"""Configuration files of the tools: YAML files and options, laid over each other key by key."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cal_pipeline.cherenkov.errors import ConfigurationError
from cal_pipeline.cherenkov.extras import import_extra
from cal_pipeline.cherenkov.tools import SELF, Tool

DATABASE = "database_configuration"
"""Section of the database, which all tools share."""

OPTIONS = "command line"
"""Origin of values that are given as options."""

ABSENT_SECTIONS = frozenset(
    {"CalculateImageAsymmetry", "CalculatePSFWithMuons", "SPECalibrationTool", "SPEFitCalculator", "StarTrackingTool"}
)
"""Sections of tools of the published package that do not exist here; one file may serve a chain of tools."""


@dataclass
class Configuration:
    """Values of configuration files and options by section, with the origin of each.

    Attributes
    ----------
    values : dict
        Nested as in the files.
    origins : dict of tuple to str
        File or :data:`OPTIONS`, by the path of a value.
    ranks : dict of tuple to int
        Number of the file or option, by the path of a value: the later counts where two paths mean one parameter.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[tuple[str, ...], str] = field(default_factory=dict)
    ranks: dict[tuple[str, ...], int] = field(default_factory=dict)
    _added: int = 0

    def add(self, values: Mapping[str, Any], origin: str) -> None:
        """Lay values over those that are there: mappings key by key, lists as a whole."""
        self._added += 1
        self._merge(self.values, values, origin, ())

    def _merge(self, under: dict[str, Any], over: Mapping[str, Any], origin: str, path: tuple[str, ...]) -> None:
        for key, value in over.items():
            name = str(key)
            where = (*path, name)
            if isinstance(value, Mapping):
                inner = under.get(name)
                under[name] = inner = inner if isinstance(inner, dict) else {}
                self._merge(inner, value, origin, where)
            else:
                under[name] = value
            self.origins[where], self.ranks[where] = origin, self._added

    def origin(self, path: Sequence[str]) -> str:
        """Return the origin of a value."""
        return self.origins.get(tuple(path), OPTIONS)

    def rank(self, path: Sequence[str]) -> int:
        """Return the number of the file or option that a value comes from."""
        return self.ranks.get(tuple(path), 0)


@dataclass
class ToolInput:
    """Parameters of a tool, as its configuration gives them.

    Attributes
    ----------
    source : object
        Input; None if the configuration names none.
    parameters : dict
        Values by the names of the step's parameters.
    origins : dict of str to str
        Origin of each parameter.
    ignored : list of str
        Keys of the published package that have no meaning here.
    """

    source: Any = None
    parameters: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    _ranks: dict[str, int] = field(default_factory=dict)

    def put(self, name: str, value: Any, origin: str, rank: int = 0) -> None:
        """Set a parameter, unless a later file or option has; a null leaves it at its default."""
        if value is not None and rank >= self._ranks.get(name, 0):
            self.parameters[name], self.origins[name], self._ranks[name] = value, origin, rank

    def put_source(self, value: Any, rank: int) -> None:
        """Set the input, unless a later file or option has; a null changes nothing."""
        if value is not None and rank >= self._ranks.get("", 0):
            self.source, self._ranks[""] = value, rank


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a configuration file.

    Parameters
    ----------
    path : str or Path
        YAML file.

    Returns
    -------
    dict
        Sections of the file.

    Raises
    ------
    ConfigurationError
        If it is not there, is no YAML, or is no mapping.
    """
    yaml = import_extra("yaml")
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"configuration {path} cannot be read: {getattr(error, 'strerror', error)}") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"configuration {path} is no YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"configuration {path} holds a {type(content).__name__}; expected sections")
    return content


def read_option(text: str) -> Any:
    """Read the value of an option as YAML.

    Raises
    ------
    ConfigurationError
        If it is none.

    Examples
    --------
    >>> read_option("[LST, 125.0]")
    ['LST', 125.0]
    """
    yaml = import_extra("yaml")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"value {text!r} of an option is no YAML: {' '.join(str(error).split())}") from error


def refuse_unknown(name: str, known: Iterable[str], noun: str, where: str) -> None:
    """Refuse an unknown name, with the nearest known one.

    Raises
    ------
    ConfigurationError
        If `name` is not among `known`.
    """
    names = sorted(set(known))
    if name in names:
        return
    lower = {candidate.lower(): candidate for candidate in names}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    hint = f"did you mean {lower[near[0]]}?" if near else f"expected one of {', '.join(names)}"
    raise ConfigurationError(f"{where}: unknown {noun} {name!r}; {hint}")


def resolve(
    config: Configuration, tool: Tool, parameters: Mapping[str, Any], load_tools: Callable[[], Iterable[Tool]]
) -> ToolInput:
    """Turn a configuration into the input and the parameters of a tool.

    Parameters
    ----------
    config : Configuration
        Files and options.
    tool : Tool
        Tool to run.
    parameters : mapping of str to object
        Parameters of its step, with their defaults.
    load_tools : callable
        Loads all tools, whose sections are allowed too; called if there are others than those of `tool`.

    Returns
    -------
    ToolInput

    Raises
    ------
    ConfigurationError
        If a section or key is unknown, or a section is no mapping.
    """
    sections = {DATABASE, *ABSENT_SECTIONS, tool.section, *tool.handlers}
    if not sections.issuperset(config.values):
        sections = sections.union(*({entry.section, *entry.handlers} for entry in load_tools()))
    for name, value in config.values.items():
        refuse_unknown(name, sections, "section", config.origin([name]))
        if value is not None and not isinstance(value, dict):
            raise ConfigurationError(
                f"{config.origin([name])}: section {name} holds a {type(value).__name__}; expected keys"
            )
    own = config.values.get(tool.section) or {}
    if tool.source == SELF:
        return _resolve_whole(config, tool, own, parameters)
    resolved = ToolInput()
    collector = _Collector(config, tool, parameters, resolved)
    collector.collect(own, (tool.section,), {})
    chosen = str(resolved.parameters.get(tool.choice, parameters.get(tool.choice))) if tool.choice else ""
    for name, renamed in tool.handlers.items():
        for path in ((name,), (tool.section, name)):
            given = _look_up(config.values, path)
            if given is None:
                continue
            if name in tool.present:
                resolved.put(tool.present[name], True, config.origin(path))
            # Of several handlers one is used; the keys of the others are checked all the same.
            used = not tool.choice or name == chosen
            (collector if used else collector.without_effect()).collect(given, path, renamed)
    _take_database(config, parameters, resolved)
    return resolved


def _resolve_whole(config: Configuration, tool: Tool, own: dict[str, Any], parameters: Mapping[str, Any]) -> ToolInput:
    """Resolve a tool whose section is its input, apart from the keys that are parameters."""
    resolved = ToolInput(source={key: value for key, value in own.items() if key not in parameters} or None)
    for name in own.keys() & parameters.keys():
        path = (tool.section, name)
        resolved.put(name, own[name], config.origin(path), config.rank(path))
    _take_database(config, parameters, resolved)
    return resolved


def _take_database(config: Configuration, parameters: Mapping[str, Any], resolved: ToolInput) -> None:
    given = config.values.get(DATABASE)
    if given and "database" in parameters:
        from cal_pipeline.cherenkov.database.location import read_database_configuration

        where = [DATABASE]
        resolved.put("database", read_database_configuration(given), config.origin(where), config.rank(where))


def _look_up(values: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any] | None:
    """Return a section that is there; an empty one counts."""
    found: Any = values
    for name in path:
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    if found is not None and not isinstance(found, dict):
        raise ConfigurationError(f"section {'.'.join(path)} holds a {type(found).__name__}; expected keys")
    return found or {}


@dataclass
class _Collector:
    """Collector of the keys of sections as parameters."""

    config: Configuration
    tool: Tool
    parameters: Mapping[str, Any]
    resolved: ToolInput

    def without_effect(self) -> _Collector:
        """Return a collector that checks keys only."""
        return _Collector(self.config, self.tool, self.parameters, ToolInput())

    def collect(self, section: Mapping[str, Any], path: tuple[str, ...], renamed: Mapping[str, str]) -> None:
        """Collect the keys of a section; nested ones are joined by an underscore."""
        for key, value in section.items():
            if len(path) == 1 and path[0] == self.tool.section and key in self.tool.handlers:
                continue
            self._collect_key(key, key, value, (*path, key), renamed)

    def _collect_key(self, key: str, name: str, value: Any, path: tuple[str, ...], renamed: Mapping[str, str]) -> None:
        origin = self.config.origin(path)
        parameter = renamed.get(name, name)
        if name == self.tool.source:
            self.resolved.put_source(value, self.config.rank(path))
        elif parameter in self.parameters and parameter != self.tool.section:
            self.resolved.put(parameter, value, origin, self.config.rank(path))
        elif name in self.tool.unused:
            self.resolved.ignored.append(".".join(path))
        elif isinstance(value, dict) and any(known.startswith(f"{name}_") for known in self.parameters):
            for inner, item in value.items():
                self._collect_key(inner, f"{name}_{inner}", item, (*path, inner), renamed)
        else:
            known = {self.tool.source, *self.parameters, *renamed} - {""}
            refuse_unknown(name, known, "key", f"{origin}: {'.'.join(path[:-1])}")
