"""Comparison of two L1 stores: their arrays, and what they recorded of how these were made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.compare import Comparison, compare_products
from cal_pipeline.core.store.compare_records import (
    ABSENT,
    Fact,
    RecordFormat,
    describe_file,
    describe_limits,
    describe_steps,
    describe_text,
    describe_value,
    describe_verdict,
)
from cal_pipeline.core.store.records import ObservationRecord
from cal_pipeline.heterodyne.kinds import Kind, identify
from cal_pipeline.heterodyne.product import CalibratedSession

_FIGURES = {
    "PWV": ("pwv_mm_median", "mm"),
    "T_rec SSB": ("t_rec_ssb_median_K", "K"),
    "T_sys DSB": ("t_sys_median_K", "K"),
}
"""Results that are compared as numbers: medians over the pixels of a band, and their units."""


def compare_l1_stores(
    first: str | Path,
    second: str | Path,
    scans: Sequence[int] | None = None,
    leave_out: Sequence[str] = (),
    origins: bool = True,
) -> Comparison:
    """Compare two L1 stores: arrays block by block, and what was recorded of how they were made.

    Parameters
    ----------
    first, second : str or Path
        Stores: folders, ZIP files or URLs.
    scans : sequence of int, optional
        Only these scans.
    leave_out : sequence of str
        Groups that are not compared, such as ``skydiff``.
    origins : bool
        Whether it is a difference that a parameter of the same value came from elsewhere.

    Returns
    -------
    Comparison

    Raises
    ------
    StoreError
        If one of them is no L1 store, or there is nothing to compare.

    Examples
    --------
    ::

        comparison = compare("l1.zarr", "s3://night/l1.zarr", scans=[25650])
        print(format_comparison(comparison))
        raise SystemExit(comparison.status(tolerance=1e-6))
    """
    one, two = _open_both(first, second)
    return compare_products(one, two, scans, leave_out, origins, L1_RECORDS)


def _open_both(first: str | Path, second: str | Path) -> list[CalibratedSession]:
    """Open two L1 stores, or say in one sentence what both are."""
    found = [identify(store) for store in (first, second)]
    if all(item.kind is Kind.PRODUCT for item in found):
        return [CalibratedSession(store) for store in (first, second)]
    sentence = " and ".join(
        f"{item.name} is {'no L1 store: it is ' if item.kind is not Kind.PRODUCT else ''}{item.description}"
        for item in found
    )
    raise StoreError(f"{sentence}; two L1 stores are compared")


def _describe_band(record: ObservationRecord) -> dict[Fact, str]:
    """Describe what was recorded once a band, by category and name."""
    provenance, attributes = record.provenance, record.attributes
    return {
        ("engine", "version"): describe_text(provenance.get("engine_version")),
        ("input", "L0 session"): describe_text(provenance.get("l0_store")),
        ("input", "L0 digest"): describe_text(provenance.get("l0_digest")),
        ("scan", "source"): describe_text(attributes.get("source")),
        ("scan", "observing mode"): describe_text(attributes.get("mode")),
        ("scan", "forward efficiency"): describe_value(provenance.get("forward_efficiency")),
        ("scan", "steps done"): describe_steps(record),
        ("reference files", "atmosphere table"): describe_file(
            provenance.get("atm_file"), provenance.get("atm_sha256")
        ),
        ("reference files", "telescope profile"): describe_file(
            provenance.get("telescope_profile"), provenance.get("telescope_sha256")
        ),
        ("reference files", "limits of quality"): describe_limits(record),
        ("loads", "scan of the loads"): describe_loads(record) or ABSENT,
        ("verdicts", "verdict"): describe_verdict(record),
    }


L1_RECORDS = RecordFormat(
    _describe_band,
    _FIGURES,
    "results (medians over the pixels)",
    "parameters, reference files, loads, results and verdicts",
)
"""Records of an L1 store that are compared."""


def describe_loads(record: ObservationRecord) -> str:
    """List the scans whose loads were used, with the reason for the choice; empty without any."""
    scans = record.provenance.get("calibration_scans")
    if not isinstance(scans, Sequence) or isinstance(scans, str) or not scans:
        return ""
    return f"{'+'.join(map(str, scans))} ({record.provenance.get('calibration_reason') or 'no reason recorded'})"
