"""Rows of a table of quality figures, one for each element of an observation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cal_pipeline.core.quality import FAIL, PASS, QUESTIONABLE, TOTAL, QualityScheme
from cal_pipeline.core.store.product import Product
from cal_pipeline.core.text import make_printable

NOTHING = "-"
"""Substitute for empty text, which ECSV would read back as masked."""

Columns = Mapping[str, tuple[str, str]]
"""Unit and description of figures by name."""


@dataclass(frozen=True)
class QualityRows:
    """Rows of the table of a family's product.

    Parameters
    ----------
    names : tuple of str
        Columns that say what a row is about.
    columns : mapping
        Columns of figures.
    list_rows : callable
        Function that yields the rows of a product, in order, with all columns by name.
    """

    names: tuple[str, ...]
    columns: Columns
    list_rows: Callable[[Any], Iterator[Mapping[str, Any]]]

    @property
    def all_names(self) -> list[str]:
        """All columns in order."""
        return [*self.names, *self.columns, "verdict", "checks"]

    def read(self, product: Product) -> list[Mapping[str, Any]]:
        """Read the rows of a product."""
        return list(self.list_rows(product))


def list_columns(scheme: QualityScheme) -> dict[str, tuple[str, str]]:
    """List the figures of an element that are in the table, with units and descriptions."""
    return {
        figure.part_name(part): (figure.unit, meaning)
        for figure in scheme.figures
        if figure.in_table
        for part, meaning in {TOTAL: figure.meaning, **(figure.parts.meanings if figure.parts else {})}.items()
    }


def judge_elements(quality: Mapping[str, Any], noun: str, columns: Columns) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each element of an observation with its figures, verdict and checks that were not passed.

    Parameters
    ----------
    quality : mapping
        Record of figures and verdicts, as :meth:`.QualityScheme.judge` makes it.
    noun : str
        Noun for elements in it.
    columns : mapping
        Figures to list; unknown ones are NaN.
    """
    for element, figures in quality.get(noun, {}).items():
        not_passed = [verdict for verdict in quality["verdicts"] if element in verdict[noun]]
        fails = any(element in _list_failing(verdict, noun) for verdict in not_passed)
        yield (
            element,
            {
                **{name: math.nan if figures.get(name) is None else figures[name] for name in columns},
                "verdict": FAIL if fails else QUESTIONABLE if not_passed else PASS,
                "checks": " ".join(verdict["name"] for verdict in not_passed) or NOTHING,
            },
        )


def _list_failing(verdict: Mapping[str, Any], noun: str) -> list[str]:
    """List the elements that fail a check.

    Older records lack them; then all elements named for the check fail if the observation fails.
    """
    return list(verdict.get(f"failing_{noun}", verdict[noun] if verdict["verdict"] == FAIL else []))


def show_text(attributes: Mapping[str, Any], name: str) -> str:
    """Return an attribute as text that can be printed."""
    return make_printable(attributes.get(name) or NOTHING)
