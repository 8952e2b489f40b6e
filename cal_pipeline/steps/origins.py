"""Where parameters come from: given by the user, or taken from the file that is chosen by the data."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from configobj import ConfigObj
from stpipe import config_parser

GIVEN = "argument"
"""Origin of what is given on the command line, as a keyword or as an attribute."""

_OF_STPIPE = frozenset({"name", "class", "config_file", "logcfg"})


class _ChosenText(str):
    """A value from a file that was chosen by the data, in text."""

    __slots__ = ()


class _ChosenList(list[Any]):
    """The same for a list."""


class _Disabled(_ChosenText):
    """Says that no file may be chosen."""

    __slots__ = ()


def merge_chosen(config: MutableMapping[str, Any], chosen: Mapping[str, Any]) -> None:
    """Put the parameters of a chosen file into a configuration, so that they can be told from given ones."""
    for name, value in chosen.items():
        if isinstance(value, Mapping):
            config.setdefault(name, {})
            merge_chosen(config[name], value)
        elif name not in _OF_STPIPE:
            config[name] = _ChosenList(value) if isinstance(value, list) else _ChosenText(value)


def mark_disabled(config: MutableMapping[str, Any]) -> None:
    """Let a configuration say that no file may be chosen by the data."""
    config["name"] = _Disabled("")


def remove_chosen(config: MutableMapping[str, Any]) -> bool:
    """Take out what :func:`merge_chosen` put in; whether a file may be chosen."""
    allowed = not isinstance(config.get("name"), _Disabled)
    if not allowed:
        del config["name"]
    for name in list(config):
        value = config[name]
        if isinstance(value, MutableMapping):
            remove_chosen(value)
        elif isinstance(value, (_ChosenText, _ChosenList)):
            del config[name]
    return allowed


def origins_of(config: Mapping[str, Any], in_file: Mapping[str, Any] | None = None, file: str = "") -> dict[str, Any]:
    """Where given parameters come from.

    Parameters
    ----------
    config : mapping
        Given parameters, those of steps nested under ``steps``.
    in_file : mapping, optional
        What of it a parameter file holds.
    file : str
        What to call that file.

    Returns
    -------
    dict
        Origins, nested in the same way.
    """
    origins: dict[str, Any] = {}
    known = in_file or {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            inner = known.get(name)
            nested = str(value.get("config_file", file))
            origins[name] = origins_of(value, inner if isinstance(inner, Mapping) else None, nested)
        elif name not in _OF_STPIPE and not name.startswith("_"):
            same = name in known and str(known[name]) == str(value)
            origins[name] = file if same else GIVEN
    return origins


def load_parameters(path: Path) -> ConfigObj:
    """Read a parameter file, once as long as it does not change."""
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _load(path: Path, mtime_ns: int) -> ConfigObj:
    return config_parser.load_config_file(str(path))
