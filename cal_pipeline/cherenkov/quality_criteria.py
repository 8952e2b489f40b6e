"""Selection of rows by criteria in text, such as ``"energy > 50 * u.GeV & is_valid"``.

The text is parsed, never evaluated.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from cal_pipeline.cherenkov.errors import ConfigurationError

_COMPARISONS: Mapping[type[ast.cmpop], tuple[str, str]] = {
    ast.Gt: (">", "<"),
    ast.GtE: (">=", "<="),
    ast.Lt: ("<", ">"),
    ast.LtE: ("<=", ">="),
    ast.Eq: ("==", "=="),
    ast.NotEq: ("!=", "!="),
}
"""Comparisons, and each with its sides exchanged."""

_FUNCTIONS: Mapping[str, Callable[[Any, float], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}

_MOST_PARENTHESES = 100


@dataclass(frozen=True)
class Criterion:
    """Condition on one column.

    Attributes
    ----------
    column : str
        Name of the column.
    comparison : str
        ``">"``, ``">="``, ``"<"``, ``"<="``, ``"=="`` or ``"!="``; empty for a column of truth values.
    limit : float
        Number that the column is compared with.
    unit : str
        Unit of the number; empty: that of the column.
    text : str
        Expression as it was given, for messages.
    """

    column: str
    comparison: str = ""
    limit: float = math.nan
    unit: str = ""
    text: str = ""


def convert_criteria(value: Any) -> list[str]:
    """Convert criteria, in any of the accepted forms, to a list of expressions.

    Parameters
    ----------
    value : str or list
        One expression, or a list of expressions and of ``[name, expression]``; the names say what is meant.

    Returns
    -------
    list of str
        The expressions, all of which :func:`parse_criteria` accepts.

    Raises
    ------
    ConfigurationError
        If there is another form or expression; it is quoted.

    Examples
    --------
    >>> convert_criteria([["threshold", "energy > 50 * u.GeV"], "is_valid"])
    ['energy > 50 * u.GeV', 'is_valid']
    """
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, Sequence):
        raise ConfigurationError(f"quality criteria {value!r} are no list; expected expressions")
    texts = [_take_expression(entry) for entry in entries]
    parse_criteria(texts)
    return texts


def parse_criteria(texts: Iterable[str]) -> list[Criterion]:
    """Parse criteria: comparisons of a column with a number, joined by ``&``.

    Parameters
    ----------
    texts : iterable of str
        Expressions. Each of their parts is a comparison such as ``energy > 0.05``, one with a unit such as ``energy
        > 50 * u.GeV``, or the name of a column of truth values.

    Returns
    -------
    list of Criterion
        Conditions that a row must all fulfil.

    Raises
    ------
    ConfigurationError
        If an expression is anything else; it is quoted.

    Examples
    --------
    >>> criteria = parse_criteria(["(gammaness > 0.5) & (energy < 9 * u.TeV)"])
    >>> [(criterion.column, criterion.limit, criterion.unit) for criterion in criteria]
    [('gammaness', 0.5, ''), ('energy', 9.0, 'TeV')]
    """
    return [_parse_condition(part, text) for text in texts for part in _split_conditions(text)]


def select_rows(table: Table, criteria: Iterable[Criterion], where: str) -> NDArray[np.bool_]:
    """Select the rows of a table that fulfil all criteria.

    Parameters
    ----------
    table : Table
        Rows.
    criteria : iterable of Criterion
        Conditions; a missing value (NaN) fulfils none.
    where : str
        Origin of the table, for messages.

    Returns
    -------
    ndarray of bool, shape (rows,)
        True where a row is kept.

    Raises
    ------
    ConfigurationError
        If the table lacks a column, or a column has another unit or no numbers.

    Examples
    --------
    >>> table = Table({"energy": [0.03, 0.07] * u.TeV})
    >>> select_rows(table, parse_criteria(["energy > 50 * u.GeV"]), "events").tolist()
    [False, True]
    """
    kept = np.ones(len(table), dtype=bool)
    for criterion in criteria:
        kept &= _select_by_one(table, criterion, where)
    return kept


def _take_expression(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    if isinstance(entry, Sequence) and len(entry) == 2 and isinstance(entry[1], str):
        return entry[1]
    raise ConfigurationError(f"quality criterion {entry!r} is none; expected an expression, or [name, expression]")


def _split_conditions(text: str) -> list[str]:
    """Split an expression at its ``&`` outside of parentheses; those around conditions are taken off.

    Python itself binds ``&`` more tightly than comparisons, which nobody means here.
    """
    # Each pair of parentheses may be a level of recursion.
    if text.count("(") > _MOST_PARENTHESES:
        raise _refusal(text)
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            raise _refusal(text)
        if letter == "&" and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise _refusal(text)
    if len(parts) > 1:
        return [condition for part in parts for condition in _split_conditions(part)]
    inner = text.strip()
    if inner.startswith("(") and _closes_last(inner):
        return _split_conditions(inner[1:-1])
    return [inner]


def _closes_last(text: str) -> bool:
    """Tell whether the first parenthesis of a text is closed by its last letter."""
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return position == len(text) - 1
    return False


def _parse_condition(part: str, text: str) -> Criterion:
    try:
        tree = ast.parse(part, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refusal(text) from error
    if isinstance(tree, ast.Name):
        return Criterion(tree.id, text=text)
    if not isinstance(tree, ast.Compare) or len(tree.ops) != 1 or type(tree.ops[0]) not in _COMPARISONS:
        raise _refusal(text)
    comparison, exchanged = _COMPARISONS[type(tree.ops[0])]
    left, right = tree.left, tree.comparators[0]
    if not isinstance(left, ast.Name):
        left, right, comparison = right, left, exchanged
    if not isinstance(left, ast.Name):
        raise _refusal(text)
    limit, unit = _parse_limit(right, text)
    return Criterion(left.id, comparison, limit, unit, text)


def _parse_limit(tree: ast.expr, text: str) -> tuple[float, str]:
    """Parse a number, or one times a unit ``u.NAME``."""
    if not isinstance(tree, ast.BinOp):
        return _parse_number(tree, text), ""
    unit = tree.right
    named = isinstance(unit, ast.Attribute) and isinstance(unit.value, ast.Name) and unit.value.id == "u"
    if not isinstance(tree.op, ast.Mult) or not isinstance(unit, ast.Attribute) or not named:
        raise _refusal(text)
    try:
        u.Unit(unit.attr)
    except ValueError as error:
        raise ConfigurationError(f"quality criterion {text!r}: unknown unit {unit.attr!r}") from error
    return _parse_number(tree.left, text), unit.attr


def _parse_number(tree: ast.expr, text: str) -> float:
    sign = 1
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub | ast.UAdd):
        sign = -1 if isinstance(tree.op, ast.USub) else 1
        tree = tree.operand
    if not isinstance(tree, ast.Constant) or type(tree.value) not in (int, float):
        raise _refusal(text)
    return sign * float(tree.value)  # type: ignore[arg-type]


def _select_by_one(table: Table, criterion: Criterion, where: str) -> NDArray[np.bool_]:
    label = f"quality criterion {criterion.text!r}"
    if criterion.column not in table.colnames:
        raise ConfigurationError(
            f"{label}: {where} has no column {criterion.column!r}; it has {', '.join(table.colnames)}"
        )
    column = table[criterion.column]
    values = np.asarray(column)
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise ConfigurationError(f"{label}: column {criterion.column!r} of {where} has no numbers, one a row")
    if not criterion.comparison:
        if values.dtype.kind != "b":
            raise ConfigurationError(f"{label}: column {criterion.column!r} of {where} has no truth values")
        return values.copy()
    compared = _FUNCTIONS[criterion.comparison](values, _convert_limit(criterion, column.unit, label))
    known = np.isfinite(values) | np.isinf(values)
    return np.asarray(compared & known, dtype=bool)


def _convert_limit(criterion: Criterion, unit: Any, label: str) -> float:
    if not criterion.unit:
        return criterion.limit
    try:
        return float(u.Unit(criterion.unit).to(u.Unit(unit or ""), criterion.limit))
    except u.UnitConversionError as error:
        raise ConfigurationError(
            f"{label}: column {criterion.column!r} has unit {str(unit or '')!r}; expected one like {criterion.unit}"
        ) from error


def _refusal(text: str) -> ConfigurationError:
    return ConfigurationError(
        f"quality criterion {text!r} is none; expected comparisons of a column with a number, such as 'energy > 0.05', "
        "'energy > 50 * u.GeV' or a column of truth values, joined by &"
    )
