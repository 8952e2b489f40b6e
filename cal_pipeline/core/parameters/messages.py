"""Messages about refused parameters: the given value, the expected one, the nearest name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stpipe.config_parser import ValidationError

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.parameters.values import show_value

STPIPE_ENTRIES = frozenset({"name", "qualified_name", "parent", "config_file", "steps", "class", "logcfg"})
"""Entries that stpipe keeps with the parameters, but that are none."""

ALLOW = "allow_code"
"""Parameter by which a user lets parameter files run code; of no effect in a file."""

TRUST_ADVICE = f"give {ALLOW}=True if you trust the file (--{ALLOW}=true)"
"""Advice to a user whose file is refused."""

_LINES = 5
"""Maximum number of lines of a message."""


class ParameterError(CalibrationError, AttributeError, ValidationError):  # type: ignore[misc]
    """A parameter that does not exist, or a value that it does not take."""


def suggest(name: str, known: list[str]) -> str:
    """Suggest the nearest known name; list all known names if none is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(sorted(known))}"


def refusal(owner: str, name: str, value: Any, check: str, reason: str = "") -> ParameterError:
    """Make the error for a value that a parameter does not accept."""
    lengthy = f" ({reason})" if reason else ""
    return ParameterError(f"{owner}: {name} = {show_value(value)} is not accepted; expected {check}{lengthy}")


@contextmanager
def explain_failures(
    owner: str, spec: Mapping[str, Any], config: Mapping[str, Any], origins: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Refuse unknown parameters, with the files they are in; name the accepted values if validation in it fails."""
    unknown = _unknown_parameters(config, spec, origins or {})
    if unknown:
        raise ParameterError(_shortened([f"{owner}: {problem}" for problem in unknown]))
    try:
        yield
    except ParameterError:
        raise
    except ValidationError as error:
        lines = [f"{owner}: {_with_expectation(spec, line)}" for line in str(error).splitlines()]
        raise ParameterError(_shortened(lines)) from error


def _shortened(lines: list[str]) -> str:
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"and {len(lines) - _LINES + 1} more"]
    return "\n".join(lines)


def _unknown_parameters(
    config: Mapping[str, Any], spec: Mapping[str, Any], origins: Mapping[str, Any], where: str = ""
) -> list[str]:
    """Describe the parameters in `config` that `spec` does not know, each with its file and a hint."""
    problems = []
    for key, value in config.items():
        origin = origins.get(key, "")
        if key not in spec:
            if key not in STPIPE_ENTRIES and not key.startswith("_"):
                problems.append(f"no parameter {where + key!r}{_name_file(origin)}{suggest(key, list(spec))}")
        elif isinstance(spec[key], dict):
            if isinstance(value, Mapping):
                inner = origin if isinstance(origin, Mapping) else {}
                problems += _unknown_parameters(value, spec[key], inner, f"{where}{key}.")
            elif key != "steps" or value is not None:
                problems.append(f"{where}{key} = {show_value(value)} is no section of parameters")
    return problems


def _name_file(origin: Any) -> str:
    """Name the file that a parameter, or the first one of a section, is in; empty where it is in none."""
    while isinstance(origin, Mapping):
        origin = next(iter(origin.values()), "")
    return f" ({origin})" if origin.startswith("file ") else ""


def _with_expectation(spec: Mapping[str, Any], line: str) -> str:
    """Add to a line of a failed validation the values that the parameter takes."""
    match = re.match(r"Config parameter '(.+?)': (.*)", line)
    if not match:
        return line
    check: Any = spec
    for key in match[1].split("/"):
        check = check.get(key, {}) if isinstance(check, Mapping) else {}
    problem = match[2].rstrip(".")
    expected = f"; expected {check}" if isinstance(check, str) else ""
    return f"{match[1].replace('/', '.')}: {problem}{expected}"
