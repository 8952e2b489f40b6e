"""Refusal of parameters in files that run code: hooks, schedulers, log configurations."""

from __future__ import annotations

import logging
from typing import Any

from stpipe.config_parser import ValidationError

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.parameters.messages import ALLOW, TRUST_ADVICE, ParameterError
from cal_pipeline.core.parameters.origins import Collected
from cal_pipeline.core.parameters.resolved import GIVEN
from cal_pipeline.core.parameters.specification import validate
from cal_pipeline.core.parameters.values import is_path, plain_value, show_value
from cal_pipeline.core.store.locations import is_url

logger = logging.getLogger(__name__)

RUNS_CODE = {
    "pre_hooks": "runs code before the step",
    "post_hooks": "runs code after the step",
    "scheduler": "lets a Dask scheduler run code in this process",
    "logcfg": "lets the log write to any file",
}
"""Entries of a parameter file that run code, by name."""

_CHECK = "boolean(default=False)"


def allows_code(value: Any) -> bool:
    """Tell whether a value of ``allow_code`` that the user gave is true.

    Parameters
    ----------
    value : object
        The value, as it was given.

    Examples
    --------
    >>> allows_code("true"), allows_code(False)
    (True, False)
    """
    try:
        return validate(ALLOW, _CHECK, plain_value(ALLOW, _CHECK, value)) is True
    except (ValidationError, ValueError):
        # The check of all parameters reports it.
        return False


def refuse_code(collected: Collected) -> None:
    """Refuse parameters that run code and come from a file or a product, not from the user.

    ``allow_code`` of a file is removed: only the user can give it.

    Parameters
    ----------
    collected : Collected
        Parameters of a step or pipeline; changed in place.

    Raises
    ------
    ParameterError
        If there is one, and the user did not give ``allow_code``; names the file and the parameter.
    """
    _refuse(collected.values, collected.origins, False, "")


def _refuse(values: dict[str, Any], origins: dict[str, Any], allowed: bool, where: str) -> None:
    if ALLOW in values and origins.get(ALLOW) != GIVEN:
        origin = origins.pop(ALLOW, GIVEN)
        if allows_code(values.pop(ALLOW)):
            logger.warning("%s: %s%s is ignored; only an argument allows code", origin, where, ALLOW)
    allowed = allowed or allows_code(values.get(ALLOW))
    for name, value in values.items():
        origin = origins.get(name, GIVEN)
        if isinstance(value, dict) and isinstance(origin, dict):
            _refuse(value, origin, allowed, f"{where}{name}.")
        elif origin != GIVEN and not allowed:
            refuse_entry(name, value, origin, where)


def refuse_entry(name: str, value: Any, origin: str, where: str = "") -> None:
    """Refuse an entry of a file if it runs code, or sends variables of the environment to a server.

    Parameters
    ----------
    name : str
        Name of the entry.
    value : object
        Its value.
    origin : str
        The file, for the message.
    where : str
        Start of the full name, such as ``"steps.loads."``.

    Raises
    ------
    ParameterError
        If it does.

    Examples
    --------
    >>> refuse_entry("pre_hooks", [], "file my.cfg")
    """
    # Of ASDF files a value may be an array, which has no truth.
    empty = value is None or (isinstance(value, (str, list)) and value in ("", "None", []))
    if name in RUNS_CODE and not empty:
        raise ParameterError(f"{origin}: {where}{name} = {show_value(value)} {RUNS_CODE[name]}; {TRUST_ADVICE}")
    if is_path(name) and isinstance(value, str) and "$" in value and _names_server(value):
        found = f"{where}{name} = {show_value(value)}"
        raise ParameterError(f"{origin}: {found} sends a variable of the environment to a server; {TRUST_ADVICE}")


def _names_server(value: str) -> bool:
    try:
        return is_url(value)
    except CalibrationError:
        return True
