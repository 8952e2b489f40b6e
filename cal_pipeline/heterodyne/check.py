"""Check of an L0 session or an L1 store: every object is read and held against the format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cal_pipeline.core.errors import ObservationError, StoreError
from cal_pipeline.core.store.check import (
    CheckReport,
    Contents,
    check_objects,
    check_records,
    find_infinite,
    open_threads,
)
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.paths import StorePath, open_store
from cal_pipeline.core.store.product import MARKER
from cal_pipeline.core.text import format_ranges
from cal_pipeline.heterodyne.check_l0 import check_l0_scan, judge_l0_values, may_lack_all_chunks
from cal_pipeline.heterodyne.check_l1 import check_l1_scan, judge_l1_values
from cal_pipeline.heterodyne.kinds import Kind, identify, identify_scans
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.heterodyne.schema import L1_SCHEMA_VERSION

_RECORDS = {"failures.json", "run.json"}
"""Files at the root of an L1 store."""


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
    members = root.members()
    numbered = {number: name for name in members if (number := CalibratedSession.kind.key_of(name)) is not None}
    kind = _find_kind(store, root, sorted(numbered.values()))
    is_product = kind is Kind.PRODUCT
    whole = Contents(root, "", None)
    _check_root(whole, is_product)
    others = set(members) - set(numbered.values()) - {"zarr.json", "__MACOSX"} - (_RECORDS if is_product else set())
    for name in sorted(others):
        whole.report(name, f"a member that no {kind.value} has", "groups scan_NNNNNN, six digits")
    for key in root.repeated:
        whole.report(key, "an object that the ZIP file holds more than once", "each once")
    if is_product:
        check_records(whole, CalibratedSession.kind, sorted(numbered))
    if not numbered and not is_product:
        whole.report("", "no scan", "groups scan_NNNNNN, six digits")
    findings, notes, arrays, chunks = list(whole.findings), list(whole.notes), 0, 0
    chosen = _choose(root, sorted(numbered), scans)
    with open_threads(root) as threads:
        for number in chosen:
            contents = Contents(root, numbered[number], number)
            if is_product:
                check_objects(contents, threads, judge_l1_values, lambda reader: False)
                check_l1_scan(contents)
            else:
                check_objects(contents, threads, judge_l0_values, may_lack_all_chunks)
                check_l0_scan(contents)
            findings += sorted(contents.findings, key=lambda finding: (finding.path, finding.chunk))
            notes += contents.notes
            arrays, chunks = arrays + len(contents.arrays), chunks + contents.n_chunks
    return CheckReport(str(root), kind.value, len(chosen), arrays, chunks, findings, notes)


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


def _choose(root: StorePath, numbers: list[int], wanted: Sequence[int] | None) -> list[int]:
    """Select the scans to check."""
    absent = [number for number in wanted or () if number not in numbers]
    if absent:
        raise StoreError(f"{root} has no scan {format_ranges(absent)}; it has {format_ranges(numbers) or 'none'}")
    return [number for number in numbers if wanted is None or number in wanted]


def _check_root(contents: Contents, is_product: bool) -> None:
    """Check the metadata of the root."""
    try:
        attributes = read_group_attributes(contents.root, "")
    except ObservationError as error:
        contents.report_error("", error, "a Zarr v3 group")
        return
    for name, value in find_infinite(attributes):
        contents.report("", f"attribute {name} = {value}", "a finite number, or null where unknown")
    if is_product:
        version = attributes.get(MARKER)
        if version != L1_SCHEMA_VERSION:
            contents.report("", f"attribute {MARKER} = {version!r}", repr(L1_SCHEMA_VERSION))
        if not isinstance(attributes.get("cal_engine_version"), str):
            contents.report("", f"attribute cal_engine_version = {attributes.get('cal_engine_version')!r}", "a version")
