"""The quality figures of a session as one table."""

from __future__ import annotations

import errno
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from astropy.table import Table

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.quality import FAIL, PASS, QUESTIONABLE, TOTAL
from cal_pipeline.core.store.locations import is_url
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

_MARKER = "quality_figures_of"
"""Key of the table's metadata with the name of its store, by which the table is known as ours."""

_MARK = re.compile(rf"^# - \{{{_MARKER}: (\S+)\}}$", re.MULTILINE)
"""Line of that key in a file."""

_ECSV = b"# %ECSV 1.0\n"
"""First line of a table."""

_HEADER = 2**16
"""Bytes of a file in which the line is looked for."""

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


def refuse_foreign_table(root: StorePath) -> None:
    """Refuse to write the table of an L1 store over a file that is no such table.

    Parameters
    ----------
    root : StorePath
        The store.

    Raises
    ------
    StoreError
        If there is one, or the table of another store; the message names it. Also if the store is a
        bucket, beside which nothing can lie.
    """
    beside, name = _folder_and_name(root)
    target = _table_name(name)
    for key in (target, _draft_name(target)):
        try:
            content = beside.get_part(key, 0, _HEADER)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EISDIR):
                raise
            content = b"no regular file"
        # A run that is killed may leave a draft of which only the start was written.
        if content is None or (key != target and _ECSV.startswith(content[: len(_ECSV)])):
            continue
        marked = _MARK.search(content.decode(errors="replace"))
        owner = unquote(marked[1].strip("'\""), errors="surrogateescape") if marked else ""
        # A store that was renamed with its table has no other store beside it under the old name.
        if not owner or (owner != name and beside.exists(f"{owner}/zarr.json")):
            found = f"it is the table of {owner}" if owner else "it is no such table"
            raise StoreError(
                f"{beside}/{key} is in the way of the table of quality figures of {name}: {found}; "
                "move it elsewhere, or name another output"
            )


def _folder_and_name(root: StorePath) -> tuple[StorePath, str]:
    """Return the folder that holds a store, and the name of the store in it.

    Raises
    ------
    StoreError
        If the store is a bucket, which lies in no folder.
    """
    if isinstance(root, LocalStorePath):
        return LocalStorePath(root.path.parent), root.path.name
    folder, _, name = root.name.rpartition("/")
    if is_url(root.name) and not is_url(folder):
        raise StoreError(f"{root} lies in no folder that could hold the table of quality figures; name {root}/l1.zarr")
    return open_store(folder, write=True), name


def _table_name(store: str) -> str:
    return store.removesuffix(".zarr") + "_quality.ecsv"


def _draft_name(table: str) -> str:
    return f"{table}.part"


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

    Raises
    ------
    StoreError
        If another file has that name.
    """
    product = _opened(product)
    table = quality_table(product)
    refuse_foreign_table(product.root)
    beside, name = _folder_and_name(product.root)
    target = _table_name(name)
    if len(table) == 0:
        beside.delete(target)
        return None
    table.meta[_MARKER] = quote(name, errors="surrogateescape")
    text = io.StringIO()
    table.write(text, format="ascii.ecsv")
    if isinstance(beside, LocalStorePath):
        draft = beside.path / _draft_name(target)
        beside.put(draft.name, text.getvalue().encode())
        sync_file(draft)
        draft.replace(beside.path / target)
    else:
        beside.put(target, text.getvalue().encode())
    return f"{beside}/{target}"
