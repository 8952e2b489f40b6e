"""Report of an L1 store: an overview of the session, and a page for each scan."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from cal_pipeline.core.errors import CalibrationError, StoreError
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.records import ObservationRecord
from cal_pipeline.core.text import format_count, format_ranges
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.report.page.blocks import Page, note
from cal_pipeline.report.page.document import LIMIT, ReportDocument
from cal_pipeline.report.receiver_band import BandArrays
from cal_pipeline.report.receiver_scan import describe_scan
from cal_pipeline.report.receiver_session import describe_session
from cal_pipeline.report.receiver_summary import BandSummary, summarize_band

logger = logging.getLogger(__name__)


def write_report(
    location: str | Path | CalibratedSession,
    path: str | Path,
    wanted: Sequence[int] | None = None,
    overwrite: bool = False,
    limit: int = LIMIT,
) -> None:
    """Write the report of an L1 store as one HTML file, which needs no network.

    Scans are read one by one, their spectra once, block by block. A scan that cannot be read gets a
    page that says so.

    Parameters
    ----------
    location : str, Path or CalibratedSession
        The L1 store.
    path : str or Path
        File to write.
    wanted : sequence of int, optional
        Scans to show; all if not given.
    overwrite : bool
        Whether an existing file may be replaced.
    limit : int
        Largest size of the file [bytes]; curves are reduced to envelopes to meet it.

    Raises
    ------
    StoreError
        If there is no such store or scan.
    OutputExistsError
        If the file exists and may not be replaced.

    Examples
    --------
    >>> write_report("l1.zarr", "l1_report.html")
    >>> Path("l1_report.html").stat().st_size < 3_000_000
    True
    """
    product = location if isinstance(location, CalibratedSession) else CalibratedSession(location)
    numbers = _choose(product, wanted)
    name = str(product.path).rstrip("/").rsplit("/", 1)[-1]
    subtitle = format_count(len(numbers), "scan")
    title = f"Report of {name}"
    with ReportDocument(path, title, subtitle, len(numbers), name, limit, overwrite) as report:
        summaries: list[BandSummary] = []
        unreadable: dict[int, str] = {}
        for number in numbers:
            page = f"scan-{number}"
            try:
                bands = _read_scan(product, number, page)
                report.add_page(describe_scan(f"Scan {number}", page, bands))
                summaries += [summary for _, summary in bands]
            except Exception as error:
                # Whatever is wrong with a scan, the others have their pages.
                logger.debug("%s", page, exc_info=True)
                unreadable[number] = str(error) or repr(error)
                said = f"Scan {number} cannot be read: {unreadable[number]}"
                report.add_page(Page(page, f"Scan {number}", [note(said, "bad")]))
        report.add_overview(describe_session(product, summaries, unreadable, numbers))


def _choose(product: CalibratedSession, wanted: Sequence[int] | None) -> list[int]:
    """Choose the scans to show.

    Raises
    ------
    StoreError
        If a wanted scan is not in the store.
    """
    if wanted is None:
        return list(product.numbers)
    absent = sorted(set(wanted) - set(product.numbers))
    if absent:
        has = f"scans [{format_ranges(product.numbers)}]" if product.numbers else "no scan"
        raise StoreError(f"{product.path} has no scan {format_ranges(absent)}; it has {has}")
    return [number for number in product.numbers if number in set(wanted)]


def _read_scan(product: CalibratedSession, number: int, page: str) -> list[tuple[BandArrays, BandSummary]]:
    """Read records and small arrays of the bands of a scan.

    Raises
    ------
    CalibrationError
        If the attributes of a band cannot be read, or the scan has no array at all.
    """
    bands = []
    for path in product.bands(number):
        record = ObservationRecord(path, read_group_attributes(product.root, path), product.kind)
        arrays = BandArrays(product.root, record)
        bands.append((arrays, summarize_band(arrays, page)))
    if all(arrays.frequency is None and not arrays.pixels for arrays, _ in bands):
        reasons = "; ".join(f"{name}: {reason}" for arrays, _ in bands for name, reason in arrays.problems.items())
        raise CalibrationError(f"no array of it can be read ({reasons})")
    return bands
