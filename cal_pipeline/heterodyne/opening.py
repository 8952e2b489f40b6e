"""Sessions opened for work in Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.product import MARKER, PRODUCT, read_marks
from cal_pipeline.core.text import make_printable

if TYPE_CHECKING:
    from cal_pipeline.heterodyne.product import CalibratedSession
    from cal_pipeline.heterodyne.raw_session import RawSession

OPENERS = {
    "rate": "cal_pipeline.imager.product.RateProduct",
    "cal": "cal_pipeline.imager.product.CalProduct",
    "mosaic": "cal_pipeline.imager.product.MosaicProduct",
    "ramp": "cal_pipeline.imager.exposures.ExposureStore",
}
"""Classes that open the stores of other families, by the attribute ``product`` of the root."""


def open_l1(path: str | Path) -> CalibratedSession:
    """Open an L1 store, lazily.

    Parameters
    ----------
    path : str or Path
        Folder, ZIP file or URL such as ``s3://bucket/l1.zarr``.

    Returns
    -------
    CalibratedSession
        Its scans by number.

    Raises
    ------
    StoreError
        If it is no L1 store of a receiver; the message says what it is and what opens it.

    Examples
    --------
    >>> session = open_l1("l1.zarr")
    >>> session.table()["scan", "source", "verdict"].pformat()[-1].split()
    ['1', 'SIM-ORION', 'questionable']
    >>> session[1].verdict
    'questionable'
    """
    from cal_pipeline.heterodyne.kinds import Kind, identify
    from cal_pipeline.heterodyne.product import CalibratedSession

    _refuse_other_family(path)
    found = identify(path)
    if found.kind is Kind.SESSION:
        raise StoreError(f"{found.name} is {found.description}, not an L1 store; open_l0 opens it")
    return CalibratedSession(path)


def open_l0(path: str | Path) -> RawSession:
    """Open an L0 session, lazily.

    Parameters
    ----------
    path : str or Path
        Folder, ZIP file or URL such as ``s3://bucket/session.zarr``.

    Returns
    -------
    RawSession
        Its scans by number.

    Raises
    ------
    StoreError
        If it is no L0 session; the message says what it is and what opens it.

    Examples
    --------
    >>> session = open_l0("session.zarr")
    >>> session.table()["scan", "source", "mode", "pixels"].pformat()[-1].split()
    ['1', 'SIM-ORION', 'otf', '1']
    """
    from cal_pipeline.heterodyne.kinds import Kind, identify
    from cal_pipeline.heterodyne.raw_session import RawSession

    _refuse_other_family(path)
    found = identify(path)
    if found.kind is Kind.PRODUCT:
        raise StoreError(f"{found.name} is {found.description}, not an L0 session; open_l1 opens it")
    return RawSession(path)


def _refuse_other_family(path: str | Path) -> None:
    """Refuse the product of another family, and name what opens it."""
    from cal_pipeline.heterodyne.kinds import INGESTED

    root = open_store(path)
    marks = read_marks(root)
    kind = make_printable(marks.get(PRODUCT, ""))[:80]
    if INGESTED.marks(marks):
        return
    if kind in OPENERS or (kind and MARKER in marks):
        opener = f"; {OPENERS[kind]}({make_printable(str(path))!r}) opens it" if kind in OPENERS else ""
        raise StoreError(f"{root} is a product of another family of instruments, of kind {kind!r}{opener}")
