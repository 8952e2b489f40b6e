"""Check of an L0 session or an L1 store: every object is read and held against the format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.check import CheckReport
from cal_pipeline.core.store.check_store import StoreFormat, check_observations
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import read_marks
from cal_pipeline.heterodyne.check_l0 import check_l0_scan, judge_l0_values, may_lack_all_chunks
from cal_pipeline.heterodyne.check_l1 import check_l1_scan, judge_l1_values
from cal_pipeline.heterodyne.kinds import INGESTED, Kind, identify, identify_scans
from cal_pipeline.heterodyne.product import CalibratedSession


def check_store(store: str | Path, scans: Sequence[int] | None = None) -> CheckReport:
    """Check an L0 session or an L1 store: every object is read and held against the format.

    Reported are chunks (inner chunks of shards too) that are absent or do not decode, wrong shapes,
    types, axes and units, attributes that are missing, unknown or not finite, numbers beyond the
    limits of L0, samples that are NaN and flagged good, unknown flags, and records that contradict
    the scans in the store. One chunk per thread is in memory at a time.

    Parameters
    ----------
    store : str or Path
        Folder, ZIP file or URL.
    scans : sequence of int, optional
        Only these scans.

    Returns
    -------
    CheckReport

    Raises
    ------
    StoreError
        If `store` is neither a session nor an L1 store, or lacks a scan of `scans`.

    Examples
    --------
    >>> report = check_store("l1.zarr")
    >>> report.kind, report.n_observations, report.findings
    ('L1 store', 1, [])
    """
    root = open_store(store)
    kind = CalibratedSession.kind
    groups = sorted(name for name in root.members() if kind.key_of(name) is not None)
    form = _PRODUCT if _find_kind(store, root, groups) is Kind.PRODUCT else _SESSION
    if form is _SESSION and _is_ingested(root):
        form = _INGESTED
    return check_observations(root, form, scans)


_PRODUCT = StoreFormat(Kind.PRODUCT.value, CalibratedSession.kind, True, judge_l1_values, check_l1_scan)
_SESSION = StoreFormat(
    Kind.SESSION.value, CalibratedSession.kind, False, judge_l0_values, check_l0_scan, may_lack_all_chunks
)
_INGESTED = replace(_SESSION, kind=INGESTED, is_product=True)
"""Format of a session that was made from a telescope's files, and has a record of them."""


def _is_ingested(root: StorePath) -> bool:
    """Tell whether a session was made from a telescope's files, as far as its root can be read."""
    try:
        return INGESTED.marks(read_marks(root))
    except OSError:
        return False


def _find_kind(store: str | Path, root: StorePath, scans: list[str]) -> Kind:
    """Tell L0 from L1, by the scans where the root of the store is damaged."""
    try:
        found = identify(store)
    except OSError:
        if not scans:
            raise
        return identify_scans(root, scans).kind
    if found.kind in (Kind.SESSION, Kind.PRODUCT):
        return found.kind
    if not scans:
        raise StoreError(f"{found.name} is {found.description}; expected an L0 session or an L1 store")
    return identify_scans(root, scans).kind
