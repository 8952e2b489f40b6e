"""Combinations of values of parameters, each value checked before anything runs."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cal_pipeline.core.parameters.checked import CheckedStep
from cal_pipeline.core.parameters.messages import ParameterError, suggest
from cal_pipeline.core.parameters.specification import accepts_none, parse_specification
from cal_pipeline.core.parameters.values import show_value
from cal_pipeline.core.store.records import RUN_ONLY
from cal_pipeline.core.text import format_count

_PIECE = re.compile(r"""\[[^\[\]]*\]|"[^"]*"|'[^']*'|[^,\[\]"']+|,|.""", re.DOTALL)
"""Parts of a text of values: a list in brackets, quoted text, plain text, a comma, or a stray bracket or quote."""


@dataclass(frozen=True)
class VariedParameter:
    """Parameter of a step with the values to try.

    Parameters
    ----------
    step : str
        The step.
    name : str
        The parameter.
    values : tuple
        The values, checked, in the order given.
    """

    step: str
    name: str
    values: tuple[Any, ...]

    @property
    def label(self) -> str:
        """Name without ``steps.``, as in ``atmosphere.model_error``."""
        return f"{self.step}.{self.name}"

    @property
    def full_name(self) -> str:
        """Name on the command line of ``strun``, as in ``steps.atmosphere.model_error``."""
        return f"steps.{self.label}"


def split_values(text: str) -> list[Any]:
    """Split a text of values at its commas, except those in brackets or quotes.

    Parameters
    ----------
    text : str
        Values, as on the command line. Brackets make a list; quotes are taken off.

    Returns
    -------
    list
        Texts, and lists of texts.

    Raises
    ------
    ValueError
        If a value is empty, or a bracket or quote has no partner.

    Examples
    --------
    >>> split_values("0.01,0.03")
    ['0.01', '0.03']
    >>> split_values("[0.95,0.9],0.97,'a,b'")
    [['0.95', '0.9'], '0.97', 'a,b']
    """
    values: list[list[Any]] = [[]]
    for piece in _PIECE.findall(text):
        if piece == ",":
            values.append([])
        elif piece in ("[", "]", '"', "'"):
            raise ValueError(f"{piece} without its partner")
        elif piece.strip():
            values[-1].append(_read_piece(piece.strip()))
    return [_join(pieces) for pieces in values]


def _read_piece(piece: str) -> Any:
    """Return the list in brackets, the text in quotes, or the text as it is."""
    if piece[0] == "[":
        members = [member.strip() for member in piece[1:-1].split(",")]
        if not all(members):
            raise ValueError(f"an empty value in {piece}")
        return members
    return piece[1:-1] if piece[0] in "\"'" else piece


def _join(pieces: list[Any]) -> Any:
    """Return the only piece of a value, or its pieces of text as one."""
    if not pieces:
        raise ValueError("an empty value")
    if len(pieces) == 1:
        return pieces[0]
    return "".join(piece if isinstance(piece, str) else f"[{','.join(piece)}]" for piece in pieces)


def read_varied(options: Iterable[str]) -> dict[str, list[Any]]:
    """Read texts ``[steps.]STEP.NAME=VALUE,VALUE,...`` of a command line.

    Raises
    ------
    ParameterError
        If a text has another form, or a name stands twice.

    Examples
    --------
    >>> read_varied(["steps.atmosphere.model_error=0.01,0.03", "gain.level=0,3"])
    {'atmosphere.model_error': ['0.01', '0.03'], 'gain.level': ['0', '3']}
    """
    found: dict[str, list[Any]] = {}
    for option in options:
        name, equals, text = option.partition("=")
        label = name.strip().removeprefix("steps.")
        if not equals or not label:
            raise ParameterError(
                f"--vary {option!r}: expected STEP.NAME=VALUE,VALUE,..., as in atmosphere.model_error=0.01,0.03"
            )
        if label in found:
            raise ParameterError(f"--vary {label} stands twice; give all its values in one, separated by commas")
        try:
            found[label] = split_values(text)
        except ValueError as error:
            raise ParameterError(
                f"--vary {option!r}: {error}; expected values separated by commas, lists in brackets, as in "
                "0.01,0.03 or [0.95,0.9],[0.96,0.91]"
            ) from error
    return found


def check_varied(pipeline: type[CheckedStep], varied: Mapping[str, Any]) -> list[VariedParameter]:
    """Check names and values of parameters to vary against the specifications of the steps.

    Parameters
    ----------
    pipeline : type
        The pipeline.
    varied : mapping
        Values by name, as in ``atmosphere.model_error``; ``steps.`` may stand before it. Text is split as
        on the command line.

    Returns
    -------
    list of VariedParameter

    Raises
    ------
    ParameterError
        If there is no such parameter, it is none of a step or has no effect on results, a value is not
        accepted, or stands twice.
    """
    found = [_check_one(pipeline, str(name), values) for name, values in varied.items()]
    if not found:
        raise ParameterError("no parameter to vary; expected one, as in atmosphere.model_error=0.01,0.03")
    labels = [one.label for one in found]
    for label in labels:
        if labels.count(label) > 1:
            raise ParameterError(f"{label} stands twice among the parameters to vary")
    return found


def _check_one(pipeline: type[CheckedStep], name: str, values: Any) -> VariedParameter:
    """Check a parameter to vary."""
    step, parameter = _find_parameter(pipeline, name)
    cls = pipeline._step_classes()[step]
    check = parse_specification(cls)[parameter]
    checked = [cls._checked(parameter, value) for value in _list_values(name, values, check)]
    for position, value in enumerate(checked):
        if value in checked[:position]:
            raise ParameterError(f"{name}: {show_value(value)} stands twice among its values")
    return VariedParameter(step, parameter, tuple(checked))


def _list_values(name: str, values: Any, check: str) -> list[Any]:
    """List the values of a parameter; those with commas only for parameters that are lists."""
    try:
        listed = split_values(values) if isinstance(values, str) else list(values)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name} = {show_value(values)}: {error}; expected a list of values to try") from error
    if not listed:
        raise ParameterError(f"{name} has no values to try; expected at least one")
    takes_lists = "list" in re.split(r"\W", check.strip(), maxsplit=1)[0]
    return [_read_value(value, takes_lists, accepts_none(check)) for value in listed]


def _read_value(value: Any, takes_lists: bool, takes_none: bool) -> Any:
    """Return a value as the specification takes it: text in brackets where it is no list, None for its name."""
    if isinstance(value, list) and not takes_lists:
        return f"[{','.join(map(str, value))}]"
    return None if takes_none and value == "None" else value


def _find_parameter(pipeline: type[CheckedStep], name: str) -> tuple[str, str]:
    """Find the step and the name of a parameter; refuse names without an effect on results."""
    steps = pipeline._step_classes()
    step, _, parameter = name.removeprefix("steps.").partition(".")
    owner = pipeline.__name__
    if not parameter:
        having = [f"{key}.{step}" for key, cls in steps.items() if isinstance(parse_specification(cls).get(step), str)]
        if isinstance(parse_specification(pipeline).get(step), str) and step not in steps:
            raise ParameterError(f"{step!r} is a parameter of the run; only those of steps can be varied")
        if having and len(having) < len(steps):
            raise ParameterError(f"{owner}: no step is named in {name!r}; did you mean {' or '.join(having)}?")
    if step not in steps:
        raise ParameterError(f"{owner}: there is no step {step!r} (in {name!r}){suggest(step, list(steps))}")
    spec = parse_specification(steps[step])
    known = [key for key, check in spec.items() if isinstance(check, str) and key not in RUN_ONLY]
    if parameter in RUN_ONLY:
        raise ParameterError(f"{owner}: {step}.{parameter} has no effect on results and cannot be varied")
    if parameter not in known:
        raise ParameterError(f"{owner}: no parameter {parameter!r} of step {step!r}{suggest(parameter, known)}")
    return step, parameter


def list_combinations(varied: Sequence[VariedParameter], limit: int) -> list[dict[str, Any]]:
    """List the combinations of all values by label; those of the last parameter change fastest.

    Parameters
    ----------
    varied : sequence of VariedParameter
        The parameters.
    limit : int
        Largest accepted number of combinations.

    Raises
    ------
    ParameterError
        If there are more.

    Examples
    --------
    >>> varied = [VariedParameter("gain", "level", (0, 3)), VariedParameter("calibrate", "precision", ("lossless",))]
    >>> list_combinations(varied, 200)
    [{'gain.level': 0, 'calibrate.precision': 'lossless'}, {'gain.level': 3, 'calibrate.precision': 'lossless'}]
    """
    number = math.prod(len(one.values) for one in varied)
    if number > limit:
        lengths = " x ".join(str(len(one.values)) for one in varied)
        raise ParameterError(
            f"{format_count(number, 'combination')} ({lengths}), more than the limit of {limit}; "
            f"vary less, or raise the limit (limit={number})"
        )
    labels = [one.label for one in varied]
    return [dict(zip(labels, values, strict=True)) for values in itertools.product(*(one.values for one in varied))]
