"""Specifications of parameters, parsed once per class."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from configobj import ConfigObj
from configobj.validate import Validator, VdtUnknownCheckError
from stpipe import config_parser


def specification(cls: Any) -> Mapping[str, Any]:
    """Return the parameters of a step or pipeline (with its steps) and their checks."""
    return _parsed(cls)[1]


def defaults(cls: Any) -> Mapping[str, Any]:
    """Return the default parameters, those of steps left out; None where there is no default."""
    return _defaults(cls)


def validate_all(cls: Any, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return all parameters, those of steps among them, in their own types.

    Raises
    ------
    ValidationError
        For values that are not accepted, and for those that are missing.
    """
    checked: Mapping[str, Any] = config_parser.config_from_dict(values, _parsed(cls)[0])
    return checked


def validate(name: str, check: str, value: Any) -> Any:
    """Return the value of a parameter in its own type; raise stpipe's ValidationError otherwise."""
    return config_parser.config_from_dict({name: value}, _single(name, check))[name]


@cache
def takes_none(check: str) -> bool:
    """Tell whether a parameter accepts None: its default is None, or it has no default."""
    try:
        return Validator().get_default_value(check) is None
    except KeyError:
        return True
    except VdtUnknownCheckError:
        # The type is stpipe's own, and its default is not None.
        return False


def _parsed(cls: Any) -> tuple[ConfigObj, Mapping[str, Any]]:
    # The text is part of the key: options may come from a registry that has grown since.
    return _parse(cls, tuple(kind.spec for kind in (cls, *getattr(cls, "step_defs", {}).values())))


@cache
def _parse(cls: Any, texts: tuple[str, ...]) -> tuple[ConfigObj, Mapping[str, Any]]:
    spec = cls.load_spec_file()
    return spec, dict(spec)


@cache
def _defaults(cls: Any) -> Mapping[str, Any]:
    checks = {name: check for name, check in specification(cls).items() if isinstance(check, str)}
    return {
        name: None if takes_none(check) else config_parser.config_from_dict({}, _single(name, check))[name]
        for name, check in checks.items()
    }


@cache
def _single(name: str, check: str) -> ConfigObj:
    """Return the specification of one parameter."""
    return ConfigObj({name: check}, list_values=False, interpolation=False)
