"""The quality figures of a product as one table."""

from __future__ import annotations

import errno
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import numpy as np

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.quality_rows import QualityRows
from cal_pipeline.core.store.local_path import LocalStorePath, sync_file
from cal_pipeline.core.store.locations import is_url
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import PRODUCT, Product, read_marks

if TYPE_CHECKING:
    from astropy.table import Table

_MARKER = "quality_figures_of"
"""Key of the table's metadata with the name of its store, by which the table is known as ours."""

_MARK = re.compile(rf"^# - \{{{_MARKER}: (\S+)\}}$", re.MULTILINE)
"""Line of that key in a file."""

_ECSV = b"# %ECSV 1.0\n"
"""First line of a table."""

_HEADER = 2**16
"""Bytes of a file in which the line is looked for."""


def quality_table(product: Product | str | Path) -> Table:
    """Make the table of the quality figures of a product.

    Parameters
    ----------
    product : Product, str or Path
        L1 store, or store of rates or of calibrated images.

    Returns
    -------
    astropy.table.Table
        One row per scan, band and pixel, or per exposure, with units; unknown figures are NaN.
        ``verdict`` and ``checks`` (the failed ones) belong to the row: a pixel may fail in a scan
        that is merely questionable.

    Examples
    --------
    >>> table = quality_table("l1.zarr")
    >>> table.colnames[:3], int(table["scan"][0])
    (['scan', 'source', 'band'], 1)
    """
    from astropy.table import Table  # every run imports this module, at its start

    product = _opened(product)
    form = _choose_rows(product)
    rows = form.read(product)
    table = Table({name: [row[name] for row in rows] for name in form.all_names})
    for name, (unit, meaning) in form.columns.items():
        table[name] = np.asarray(table[name], np.float64)
        table[name].unit = unit or None
        table[name].description = meaning
    return table


def _opened(product: Product | str | Path) -> Product:
    """Open a product of the family that its root names."""
    if isinstance(product, Product):
        return product
    kind = read_marks(open_store(product)).get(PRODUCT)
    if kind is not None:
        from cal_pipeline.imager.product import PRODUCTS

        if kind in PRODUCTS:
            return PRODUCTS[kind](product)
    from cal_pipeline.heterodyne.product import CalibratedSession

    return CalibratedSession(product)


def _choose_rows(product: Product) -> QualityRows:
    """Choose the rows of a family, whose modules are imported when they are used."""
    if product.kind.product:
        from cal_pipeline.imager.quality_rows import EXPOSURE_ROWS

        return EXPOSURE_ROWS
    from cal_pipeline.heterodyne.quality_rows import PIXEL_ROWS

    return PIXEL_ROWS


def refuse_foreign_table(root: StorePath) -> None:
    """Refuse to write the table of a product over a file that is no such table.

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
    beside, name = find_folder_and_name(root)
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


def find_folder_and_name(root: StorePath, what: str = "the table of quality figures") -> tuple[StorePath, str]:
    """Return the folder that holds a store, and the name of the store in it.

    Parameters
    ----------
    root : StorePath
        The store.
    what : str
        Name of what is to lie in the folder, for the message.

    Raises
    ------
    StoreError
        If the store is a bucket, which lies in no folder.
    """
    if isinstance(root, LocalStorePath):
        return LocalStorePath(root.path.parent), root.path.name
    folder, _, name = root.name.rpartition("/")
    if is_url(root.name) and not is_url(folder):
        raise StoreError(f"{root} lies in no folder that could hold {what}; name {root}/l1.zarr")
    return open_store(folder, write=True), name


def _table_name(store: str) -> str:
    return store.removesuffix(".zarr") + "_quality.ecsv"


def _draft_name(table: str) -> str:
    return f"{table}.part"


def write_quality_table(product: Product | str | Path) -> str | None:
    """Write the table of a product beside it, as ``<store>_quality.ecsv``.

    Parameters
    ----------
    product : Product, str or Path
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
    beside, name = find_folder_and_name(product.root)
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
