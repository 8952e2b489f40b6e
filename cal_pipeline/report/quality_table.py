"""The quality figures of a session as one table."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from cal_pipeline.core.quality import FAIL, PASS, QUESTIONABLE, TOTAL
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.paths import LocalStorePath, StorePath, open_store, sync_file
from cal_pipeline.core.text import make_printable
from cal_pipeline.heterodyne.figures import QUALITY
from cal_pipeline.heterodyne.product import CalibratedSession

COLUMNS = {
    figure.part_name(part): (figure.unit, meaning)
    for figure in QUALITY.figures
    if figure.in_table
    for part, meaning in {TOTAL: figure.meaning, **(figure.parts.meanings if figure.parts else {})}.items()
}
"""Figures of a pixel in the table, with units and descriptions."""

_NOTHING = "-"
"""Substitute for empty text, which ECSV would read back as masked."""


def quality_table(product: CalibratedSession | str | Path) -> Table:
    """Make the table of the quality figures of an L1 store.

    Parameters
    ----------
    product : CalibratedSession, str or Path
        The store.

    Returns
    -------
    astropy.table.Table
        One row per scan, band and pixel, with units; unknown figures are NaN. ``verdict`` and
        ``checks`` (the failed ones) belong to the pixel, which may fail in a scan that is merely
        questionable.
    """
    product = _opened(product)
    rows = [row for number in product.numbers for row in _rows_of_scan(product, number)]
    names = ["scan", "source", "band", "mode", "pixel", *COLUMNS, "verdict", "checks"]
    table = Table({name: [row[name] for row in rows] for name in names})
    for name, (unit, meaning) in COLUMNS.items():
        table[name] = np.asarray(table[name], np.float64)
        table[name].unit = unit or None
        table[name].description = meaning
    return table


def _opened(product: CalibratedSession | str | Path) -> CalibratedSession:
    return product if isinstance(product, CalibratedSession) else CalibratedSession(product)


def _failing(verdict: dict[str, Any]) -> list[str]:
    """List the pixels that fail a check.

    Older records lack them; then all pixels named for the check fail if the scan fails.
    """
    return list(verdict.get("failing_pixels", verdict["pixels"] if verdict["verdict"] == FAIL else []))


def _rows_of_scan(product: CalibratedSession, number: int) -> Iterator[dict[str, Any]]:
    for path in product.bands(number):
        attributes = read_group_attributes(product.root, path)
        qa: Any = attributes.get("qa") or {}
        for pixel, figures in qa.get("pixels", {}).items():
            not_passed = [verdict for verdict in qa["verdicts"] if pixel in verdict["pixels"]]
            fails = any(pixel in _failing(verdict) for verdict in not_passed)
            yield {
                "scan": attributes["scan_number"],
                "source": make_printable(attributes.get("source") or _NOTHING),
                "band": path.partition("/")[2] or _NOTHING,
                "mode": make_printable(attributes.get("mode") or _NOTHING),
                "pixel": make_printable(pixel),
                **{name: np.nan if figures.get(name) is None else figures[name] for name in COLUMNS},
                "verdict": FAIL if fails else QUESTIONABLE if not_passed else PASS,
                "checks": " ".join(verdict["name"] for verdict in not_passed) or _NOTHING,
            }


def write_quality_table(product: CalibratedSession | str | Path) -> str | None:
    """Write the table of an L1 store beside it, as ``<store>_quality.ecsv``.

    Parameters
    ----------
    product : CalibratedSession, str or Path
        The store.

    Returns
    -------
    str or None
        Where; None where there is nothing to tell. On a file system the table is there whole, or
        not at all.
    """
    product = _opened(product)
    table = quality_table(product)
    if isinstance(product.path, Path):
        beside: StorePath = LocalStorePath(product.path.parent)
        name = product.path.name
    else:
        folder, _, name = product.path.rpartition("/")
        beside = open_store(folder, write=True)
    target = name.removesuffix(".zarr") + "_quality.ecsv"
    if len(table) == 0:
        if isinstance(beside, LocalStorePath):
            (beside.path / target).unlink(missing_ok=True)
        return None
    text = io.StringIO()
    table.write(text, format="ascii.ecsv")
    if isinstance(beside, LocalStorePath):
        beside.put(f"{target}.part", text.getvalue().encode())
        sync_file(beside.path / f"{target}.part")
        (beside.path / f"{target}.part").replace(beside.path / target)
    else:
        beside.put(target, text.getvalue().encode())
    return f"{beside}/{target}"
