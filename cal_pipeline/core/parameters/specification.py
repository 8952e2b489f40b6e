"""Specifications of parameters, parsed once per class."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from configobj import ConfigObj
from configobj.validate import Validator, VdtUnknownCheckError
from stpipe import config_parser


def parse_specification(cls: Any) -> Mapping[str, Any]:
    """Return the parameters of a step or pipeline (with its steps) and their checks."""
    return _parse_current(cls)[1]


def find_defaults(cls: Any) -> Mapping[str, Any]:
    """Return the default parameters, those of steps left out; None where there is no default."""
    return _find_defaults(cls)


def validate_all(cls: Any, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return all parameters, those of steps among them, in their own types.

    Raises
    ------
    ValidationError
        For values that are not accepted, and for those that are missing.
    """
    checked: Mapping[str, Any] = config_parser.config_from_dict(values, _parse_current(cls)[0])
    return checked


def validate(name: str, check: str, value: Any) -> Any:
    """Return the value of a parameter in its own type; raise stpipe's ValidationError otherwise."""
    if type(value) is str and check.startswith("string"):
        return _validate_text(name, check, value)
    return config_parser.config_from_dict({name: value}, _parse_single(name, check))[name]


@lru_cache(1024)
def _validate_text(name: str, check: str, value: str) -> Any:
    """Validate text, such as the suffix that stpipe gives a step anew in each run."""
    return config_parser.config_from_dict({name: value}, _parse_single(name, check))[name]


@cache
def accepts_none(check: str) -> bool:
    """Tell whether a parameter accepts None: its default is None, or it has no default."""
    try:
        return Validator().get_default_value(check) is None
    except KeyError:
        return True
    except VdtUnknownCheckError:
        # The type is stpipe's own, and its default is not None.
        return False


def _parse_current(cls: Any) -> tuple[ConfigObj, Mapping[str, Any]]:
    # The text is part of the key: options may come from a registry that has grown since.
    return _parse_texts(cls, tuple(kind.spec for kind in (cls, *getattr(cls, "step_defs", {}).values())))


@cache
def _parse_texts(cls: Any, texts: tuple[str, ...]) -> tuple[ConfigObj, Mapping[str, Any]]:
    spec = cls.load_spec_file()
    return spec, dict(spec)


@cache
def _find_defaults(cls: Any) -> Mapping[str, Any]:
    checks = {name: check for name, check in parse_specification(cls).items() if isinstance(check, str)}
    return {name: None if accepts_none(check) else _default_of(cls, name, check) for name, check in checks.items()}


def _default_of(cls: Any, name: str, check: str) -> Any:
    """Return the default of a parameter in the form that given values take."""
    default = config_parser.config_from_dict({}, _parse_single(name, check))[name]
    coercions = getattr(cls, "coercions", {})
    return coercions[name](default) if name in coercions else default


@cache
def _parse_single(name: str, check: str) -> ConfigObj:
    """Return the specification of one parameter."""
    return ConfigObj({name: check}, list_values=False, interpolation=False)
