"""Reports beside the store that they are of, under a name that is known."""

from __future__ import annotations

import errno
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import Product
from cal_pipeline.report.page.document import MARKER
from cal_pipeline.report.quality_table import find_folder_and_name

_MARK = re.compile(rf'<meta name="{MARKER}" content="([^"]*)">'.encode())

_HEADER = 2**14
"""Bytes of a file in which the mark of a report is looked for."""


def name_report(store: str) -> str:
    """Return the name of the report of a store.

    Examples
    --------
    >>> name_report("night_l1.zarr")
    'night_l1_report.html'
    >>> name_report("night_l1.zarr.zip")
    'night_l1_report.html'
    """
    return re.sub(r"(\.zarr)?(\.zip)?$", "", store, count=1, flags=re.IGNORECASE) + "_report.html"


def locate_report(root: StorePath) -> Path | None:
    """Return the path of the report beside a store; None where the store is not a folder on this machine.

    Parameters
    ----------
    root : StorePath
        The store.
    """
    beside, name = find_folder_and_name(root, "the report")
    return beside.path / name_report(name) if isinstance(beside, LocalStorePath) else None


def refuse_foreign_report(root: StorePath) -> None:
    """Refuse to write the report of a store over a file that is no report of it.

    Parameters
    ----------
    root : StorePath
        The store.

    Raises
    ------
    StoreError
        If there is such a file; the message names it. Also if the store is a bucket, beside which
        nothing can lie.
    """
    beside, name = find_folder_and_name(root, "the report")
    target = name_report(name)
    try:
        content = beside.get_part(target, 0, _HEADER)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EISDIR):
            raise
        content = b"a folder"
    if content is None:
        return
    marked = _MARK.search(content)
    owner = unquote(marked[1].decode("ascii", "replace"), errors="surrogateescape") if marked else ""
    # A store that was renamed with its report has no other store beside it under the old name.
    if not owner or (owner != name and beside.exists(f"{owner}/zarr.json")):
        found = f"it is the report of {owner}" if owner else "it is no report of a store"
        raise StoreError(
            f"{beside}/{target} is in the way of the report of {name}: {found}; move it elsewhere, or name another "
            "output"
        )


def write_report_beside(product: Product, write: Callable[..., Any]) -> str:
    """Write the report of a product beside it, in place of an older one.

    Parameters
    ----------
    product : Product
        The product.
    write : callable
        Function of a family that writes a report, such as
        :func:`~cal_pipeline.report.receiver_report.write_report`.

    Returns
    -------
    str
        Where.

    Raises
    ------
    StoreError
        If another file has that name.
    """
    refuse_foreign_report(product.root)
    beside, name = find_folder_and_name(product.root, "the report")
    target = name_report(name)
    if isinstance(beside, LocalStorePath):
        write(product, beside.path / target, overwrite=True)
    else:
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / target
            write(product, draft)
            beside.put(target, draft.read_bytes())
    return f"{beside}/{target}"
