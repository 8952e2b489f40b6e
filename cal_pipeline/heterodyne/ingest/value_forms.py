"""Forms in which a profile may give the value of a field."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cal_pipeline.core.files.declared import Each, Entry, Number, Row, Table, Text, ValueKind, interval
from cal_pipeline.heterodyne.ingest.dates import parse_dates
from cal_pipeline.heterodyne.ingest.fields import FREQUENCIES, Field
from cal_pipeline.heterodyne.ingest.units import make_conversion
from cal_pipeline.heterodyne.ingest.values import (
    Constant,
    FirstOf,
    KeyValue,
    LinearInFrequency,
    Ramp,
    Sum,
    Translation,
    Value,
)

FORMS = ("key", "value", "sum", "base", "linear_in_frequency")
"""Keys that tell the form of a value in braces."""


class TextOrNumber:
    """Text or number, both as written."""

    def read(self, value: Any, at: Entry) -> str | float:
        """Return text or number."""
        if isinstance(value, str):
            return Text().read(value, at)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise at.refusal(value, "text or a number")
        return Number().read(value, at)


class LabelOrNumber:
    """Text, number or truth value to compare with; a truth value is ``"T"`` or ``"F"``, as in FITS."""

    def read(self, value: Any, at: Entry) -> str | float:
        """Return text or number."""
        if isinstance(value, bool):
            return "T" if value else "F"
        return TextOrNumber().read(value, at)


class Wanted:
    """Texts or numbers of which a key must have one, or a single one without brackets."""

    def read(self, value: Any, at: Entry) -> tuple[str | float, ...]:
        """Return texts and numbers."""
        if value == []:
            raise at.refusal(value, "at least one text or number: no row has one of none")
        return Each(LabelOrNumber(), lone=True).read(value, at)


@dataclass(frozen=True)
class Texts:
    """Table of texts with a value of one kind each.

    Parameters
    ----------
    of : ValueKind
        Kind of the values.
    empty : bool
        Whether the table may be empty.
    """

    of: ValueKind
    empty: bool = False

    def read(self, value: Any, at: Entry) -> dict[str, Any]:
        """Return the values by text."""
        if not isinstance(value, Mapping) or not (value or self.empty):
            raise at.refusal(value, "a table {TEXT = value}")
        return {key: self.of.read(item, at.key(key)) for key, item in value.items()}


@dataclass(frozen=True)
class ValueForm:
    """Value of a field in any form.

    Parameters
    ----------
    field : Field
        The field.

    Examples
    --------
    >>> from pathlib import Path
    >>> from cal_pipeline.core.files.declared import DeclaredFile
    >>> from cal_pipeline.heterodyne.ingest.fields import MAP_FIELDS
    >>> at = Entry(DeclaredFile(Path("my.toml"), b"", ValueError), "map.pamb")
    >>> ValueForm(MAP_FIELDS["pamb"]).read({"key": "PAMB", "unit": "hPa"}, at).key
    'PAMB'
    """

    field: Field

    def read(self, value: Any, at: Entry) -> Value:
        """Return the value."""
        if isinstance(value, str):
            return KeyValue(Text("a key").read(value, at), is_time=self._is_time)
        if isinstance(value, list) and value:
            return FirstOf(tuple(self.read(item, at.item(index)) for index, item in enumerate(value)))
        if not isinstance(value, Mapping):
            raise at.refusal(value, 'a key as "KEY", {key = "KEY", ...}, {value = constant}, or a list of values')
        form = next((name for name in FORMS if name in value), None)
        if form == "key" and "table" in value:
            form = "table"
        if form is None and "ramp" in value:
            form = "base"
        if form is None:
            raise self._refuse_form(value, at)
        if not self._is_number and form in ("sum", "base", "linear_in_frequency"):
            raise at.fault(f"{at.name} is a {form}, which is a number; expected text")
        return self._forms()[form].read(value, at)

    @property
    def _is_time(self) -> bool:
        return self.field.kind == "time"

    @property
    def _is_number(self) -> bool:
        return self.field.kind != "text"

    def _refuse_form(self, value: Mapping[str, Any], at: Entry) -> Exception:
        near = [match for key in value for match in difflib.get_close_matches(key, (*FORMS, "ramp"), n=1)]
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(FORMS)}"
        return at.fault(f"{at.name} has {', '.join(map(repr, value)) or 'no key'}; {hint}")

    def _forms(self) -> dict[str, Table[Value]]:
        numbers: dict[str, ValueKind] = {
            "unit": Text("a unit"),
            "plus": Number(),
            "minus": Text("a key"),
            "range": interval(Number(unit=self.field.unit, finite=False)),
        }
        if not self._is_number:
            del numbers["unit"]
        keyed: dict[str, ValueKind] = {"key": Text("a key"), "missing": Each(TextOrNumber(), lone=True), **numbers}
        translated: dict[str, ValueKind] = {"key": Text("a key"), "table": Texts(TextOrNumber())}
        ramped: dict[str, ValueKind] = {"base": self, "ramp": self}
        row = Row(("T0", "slope per GHz", "nu0 in Hz"), Number())
        return {
            "key": Table(keyed, self._make_key, ("key",)),
            "table": Table(translated, self._make_translation, ("key", "table")),
            "value": Table({"value": TextOrNumber()}, self._make_constant, ("value",)),
            "sum": Table({"sum": Each(self)}, self._make_sum, ("sum",)),
            "base": Table(ramped, Ramp, ("base", "ramp")),
            "linear_in_frequency": Table({"linear_in_frequency": row}, self._make_linear, ("linear_in_frequency",)),
        }

    def _make_key(self, key: str, **given: Any) -> Value:
        unit = given.pop("unit", None)
        wrong = [] if self._is_number else [name for name in ("plus", "minus", "range") if name in given]
        if wrong:
            raise ValueError(f"{wrong[0]} is for numbers, expected none for the text {self.field.name}")
        if unit is not None:
            try:
                given["conversion"] = make_conversion(unit, self.field.unit)
            except ValueError as error:
                raise ValueError(f"unit: {error}") from None
        return KeyValue(key, is_time=self._is_time, **given)

    def _make_constant(self, value: float | str) -> Value:
        self._check_constant("value", value)
        return Constant(value, self._is_time)

    def _make_translation(self, key: str, table: dict[str, float | str]) -> Value:
        for text, value in table.items():
            self._check_constant(f"table.{text}", value)
        return Translation(key, table, self._is_time)

    def _check_constant(self, name: str, value: float | str) -> None:
        if self.field.name == "number" and not isinstance(value, str) and (value < 0 or value % 1):
            raise ValueError(f"{name} is {value:g}, expected a whole number from 0")
        if not isinstance(value, str) or self.field.kind in ("text", "label"):
            return
        if not self._is_time:
            raise ValueError(f"{name} is {value!r}, expected a number")
        if parse_dates((value,))[0] != parse_dates((value,))[0]:
            raise ValueError(f"{name} is {value!r}, expected a date or a number")

    def _make_sum(self, sum: tuple[Value, ...]) -> Value:  # noqa: A002
        if not sum:
            raise ValueError("sum is empty, expected at least one value")
        return Sum(sum)

    def _make_linear(self, linear_in_frequency: tuple[float, float, float]) -> Value:
        if self.field.name in (*FREQUENCIES, "ref_channel", "doppler", "number"):
            raise ValueError(f"linear_in_frequency cannot be for {self.field.name}: frequencies are made of it")
        return LinearInFrequency(*linear_in_frequency)
