"""Tables as text in ECSV: written as astropy writes them, of which the import takes longer than a small scan."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_WIDTH = 130
"""Characters of a line of the header after which astropy goes on in the next."""


def format_ecsv(
    names: Sequence[str],
    columns: Mapping[str, tuple[str, str]],
    rows: Sequence[Mapping[str, Any]],
    meta: Mapping[str, str],
) -> str:
    """Format a table as ECSV 1.0, separated by spaces.

    Parameters
    ----------
    names : sequence of str
        Columns in order; those that are not in `columns` hold integers or text.
    columns : mapping
        Unit and description of the columns of numbers, which are float64.
    rows : sequence of mapping
        Values by column, at least one row.
    meta : mapping
        Metadata of the table.

    Returns
    -------
    str

    Examples
    --------
    >>> print(format_ecsv(["scan", "t_sys"], {"t_sys": ("K", "noise")}, [{"scan": 1, "t_sys": 150}], {"of": "l1"}))
    # %ECSV 1.0
    # ---
    # datatype:
    # - {name: scan, datatype: int64}
    # - {name: t_sys, unit: K, datatype: float64, description: noise}
    # meta: !!omap
    # - {of: l1}
    # schema: astropy-2.0
    scan t_sys
    1 150.0
    <BLANKLINE>
    """
    described = [_describe_column(name, columns.get(name), rows) for name in names]
    header = "%ECSV 1.0\n---\n" + _dump({"datatype": described})
    header += "meta: !!omap\n" + _dump([{key: value} for key, value in meta.items()]) + "schema: astropy-2.0\n"
    text = io.StringIO()
    text.writelines(f"# {line}\n" for line in header.splitlines())
    writer = csv.writer(text, delimiter=" ", lineterminator="\n")
    writer.writerow(names)
    writer.writerows([float(row[name]) if name in columns else row[name] for name in names] for row in rows)
    return text.getvalue()


def _describe_column(name: str, meant: tuple[str, str] | None, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Describe a column as the header does."""
    if meant is None:
        whole = all(isinstance(row[name], int) for row in rows)
        return {"name": name, "datatype": "int64" if whole else "string"}
    unit, description = meant
    return {
        "name": name,
        **({"unit": unit} if unit else {}),
        "datatype": "float64",
        **({"description": description} if description else {}),
    }


def _dump(value: Any) -> str:
    """Format a value as YAML; the innermost collections in one line, if it is long enough."""
    return str(yaml.dump(value, Dumper=yaml.SafeDumper, default_flow_style=None, width=_WIDTH, sort_keys=False))
