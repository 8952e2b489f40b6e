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

FRAME_KEYS = frozenset(
    {"config_files", "log_config", "log_file", "log_file_level", "log_level", "provenance_log", "quiet"}
)
"""Keys that each tool of the published package has; messages go to stderr here, the provenance into the products."""

ABSENT_SECTIONS = frozenset(
    {
        "ActivityReferenceMetadataContainer",
        "CalculateImageAsymmetry",
        "CalculatePSFWithMuons",
        "ComaPSFModel",
        "ContactReferenceMetadataContainer",
        "InstrumentReferenceMetadataContainer",
        "ProcessReferenceMetadataContainer",
        "ProductReferenceMetadataContainer",
        "ReferenceMetadataContainer",
        "SPEalgorithm",
        "StarFieldQuery",
        "StarFieldReconstructor",
        "StarFitter",
        "StarTrackerTool",
        "TelescopeOpticalThoughtputContainer",
    }
)
"""Sections of the published package for tools and records that do not exist here; one file may serve a chain."""

_MOST_VALUES = 100_000
"""Most values in a file; references count as often as they are used."""


@dataclass
class Configuration:
    """Values of configuration files and options by section, with the origin of each.

    Attributes
    ----------
    values : dict
        Nested as in the files.
    origins : dict of tuple to str
        File or :data:`OPTIONS`, by the path of a value.
    layers : list of str
        Origins in the order in which they were added.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[tuple[str, ...], str] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)

    def add(self, values: Mapping[str, Any], origin: str) -> None:
        """Lay values over those that are there: mappings key by key, lists as a whole."""
        if origin in self.layers:
            self.layers.remove(origin)
        self.layers.append(origin)
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
            self.origins[where] = origin

    def origin(self, path: Sequence[str]) -> str:
        """Return the origin of a value."""
        return self.origins.get(tuple(path), OPTIONS)

    def is_later(self, origin: str, other: str) -> bool:
        """Return true if values of `origin` override those of `other`, which may be the same."""
        order = {name: rank for rank, name in enumerate(self.layers)}
        return order.get(origin, len(order)) >= order.get(other, -1)


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
    source_origin : str
        Origin of the input.
    """

    source: Any = None
    parameters: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    source_origin: str = ""

    def put(self, name: str, value: Any, origin: str, config: Configuration) -> None:
        """Set a parameter; a null leaves it at its default, and so does a value of an earlier layer than its own."""
        # A value may stand in the section of the tool and in that of a handler.
        if value is not None and config.is_later(origin, self.origins.get(name, "")):
            self.parameters[name], self.origins[name] = value, origin

    def put_source(self, value: Any, origin: str, config: Configuration) -> None:
        """Set the input, likewise."""
        if value is not None and config.is_later(origin, self.source_origin):
            self.source, self.source_origin = value, origin


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
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"configuration {path} cannot be read: {getattr(error, 'strerror', error)}") from error
    content = parse_yaml(text, f"configuration {path}")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"configuration {path} holds a {type(content).__name__}; expected sections")
    return content


def read_option(text: str, where: str = "value of an option") -> Any:
    """Read the value of an option as YAML.

    Parameters
    ----------
    text : str
        The value.
    where : str
        Name of the option, for messages, which never show the value: it may be a password.

    Raises
    ------
    ConfigurationError
        If it is none.

    Examples
    --------
    >>> read_option("[LST, 125.0]")
    ['LST', 125.0]
    """
    return parse_yaml(text, where)


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML: plain values only, each key of a mapping once.

    Parameters
    ----------
    text : str
        The text.
    where : str
        Origin of the text, for messages.

    Returns
    -------
    object
        Its value.

    Raises
    ------
    ConfigurationError
        If it is no YAML, has a key twice, or is larger than any configuration.

    Examples
    --------
    >>> parse_yaml("{a: [1, 2.5], b: text}", "example")
    {'a': [1, 2.5], 'b': 'text'}
    """
    yaml = import_extra("yaml")

    class Loader(yaml.SafeLoader):  # type: ignore[misc,name-defined]
        """Loader that refuses a key that is there twice, of which PyYAML silently takes the last."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode):
                    if (key.tag, key.value) in seen:
                        raise yaml.constructor.ConstructorError(
                            None, None, f"key {key.value!r} is there twice; expected it once", key.start_mark
                        )
                    seen.add((key.tag, key.value))
            return super().construct_mapping(node, deep)

    try:
        # The loader is a safe one: it makes plain values only.
        content = yaml.load(text, Loader)
        _refuse_large(content)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{where} is no YAML: {_describe_yaml(error)}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{where} is nested too deep, or holds itself") from error
    except ValueError as error:
        raise ConfigurationError(f"{where} holds a value that is none: {error}") from error
    return content


def _describe_yaml(error: Any) -> str:
    """Describe an error of YAML without the lines around it, in which a password may stand."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
    return " ".join(str(problem).split()) + (f" in line {mark.line + 1}, column {mark.column + 1}" if mark else "")


def _refuse_large(content: Any) -> None:
    """Refuse what references to other parts (``*name``) blow up, before anything is made of it."""
    left, waiting = _MOST_VALUES, [content]
    while waiting:
        left -= 1
        if left < 0:
            raise ValueError(f"more than {_MOST_VALUES} values; expected a configuration")
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


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
    resolved = ToolInput(ignored=[name for name in config.values if name in ABSENT_SECTIONS])
    if tool.source == SELF:
        _resolve_whole(config, tool, own, parameters, resolved)
        return resolved
    collector = _Collector(config, tool, parameters, resolved)
    collector.collect(own, (tool.section,), {})
    chosen = str(resolved.parameters.get(tool.choice, parameters.get(tool.choice))) if tool.choice else ""
    for name, renamed in tool.handlers.items():
        for path in ((name,), (tool.section, name)):
            given = _look_up(config.values, path)
            if given is None:
                continue
            if name in tool.present:
                resolved.put(tool.present[name], True, config.origin(path), config)
            # Of several handlers one is used; the keys of the others are checked all the same.
            used = not tool.choice or name in (chosen, tool.common)
            (collector if used else collector.without_effect()).collect(given, path, renamed)
    _take_database(config, tool, parameters, resolved)
    return resolved


def _resolve_whole(
    config: Configuration, tool: Tool, own: dict[str, Any], parameters: Mapping[str, Any], resolved: ToolInput
) -> None:
    """Resolve a tool whose section is its input, apart from the keys that are parameters."""
    apart = {DATABASE, *FRAME_KEYS, *parameters}
    resolved.source = {key: value for key, value in own.items() if key not in apart} or None
    resolved.ignored.extend(f"{tool.section}.{key}" for key in own if key in FRAME_KEYS)
    for name in own.keys() & parameters.keys():
        resolved.put(name, own[name], config.origin([tool.section, name]), config)
    _take_database(config, tool, parameters, resolved)


def _take_database(config: Configuration, tool: Tool, parameters: Mapping[str, Any], resolved: ToolInput) -> None:
    """Take the database from its section, at the top or inside that of the tool."""
    for path in ((DATABASE,), (tool.section, DATABASE)):
        given = _look_up(config.values, path)
        if given and "database" in parameters:
            from cal_pipeline.cherenkov.database.location import read_database_configuration

            resolved.put("database", read_database_configuration(given), config.origin(path), config)


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
            if path == (self.tool.section,) and key in (DATABASE, *self.tool.handlers):
                continue
            self._collect_key(key, key, value, (*path, key), renamed)

    def _collect_key(self, key: str, name: str, value: Any, path: tuple[str, ...], renamed: Mapping[str, str]) -> None:
        origin = self.config.origin(path)
        parameter = renamed.get(name, name)
        if self.tool.source and parameter == self.tool.source:
            self.resolved.put_source(value, origin, self.config)
        elif parameter in self.parameters and parameter != self.tool.section:
            self.resolved.put(parameter, value, origin, self.config)
        elif name in self.tool.unused or key in FRAME_KEYS:
            self.resolved.ignored.append(".".join(path))
        elif isinstance(value, dict) and any(known.startswith(f"{name}_") for known in self.parameters):
            for inner, item in value.items():
                self._collect_key(inner, f"{name}_{inner}", item, (*path, inner), renamed)
        else:
            known = {self.tool.source, *self.parameters, *renamed} - {""}
            refuse_unknown(name, known, "key", f"{origin}: {'.'.join(path[:-1])}")
