"""Options ``--set`` of commands: parameters of a pipeline and of its steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cal_pipeline.cli.commands import UsageError


def read_settings(settings: Iterable[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Read settings NAME=VALUE, STEP.NAME=VALUE and steps.STEP.NAME=VALUE.

    Parameters
    ----------
    settings : iterable of str
        The settings; a later one replaces an earlier one of the same name.

    Returns
    -------
    own : dict
        Parameters of the pipeline.
    steps : dict
        Parameters by step.

    Raises
    ------
    UsageError
        For text of another form.

    Examples
    --------
    >>> read_settings(["l0_digest=false", "gain.level=3", "steps.atmosphere.t_ground=260"])
    ({'l0_digest': 'false'}, {'gain': {'level': '3'}, 'atmosphere': {'t_ground': '260'}})
    """
    own: dict[str, Any] = {}
    steps: dict[str, dict[str, Any]] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        step, _, parameter = name.removeprefix("steps.").rpartition(".")
        if not equals or not parameter:
            raise UsageError(f"--set {setting!r}: expected NAME=VALUE, as in workers=2 or atmosphere.t_ground=260")
        (steps.setdefault(step, {}) if step else own)[parameter] = value
    return own, steps
