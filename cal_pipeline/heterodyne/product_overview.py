"""Overview of an L1 store: its scans, what came out, and what they were made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.overview import (
    UNKNOWN,
    WIDTH,
    format_failures,
    format_properties,
    format_table,
    format_unfinished_run,
    format_verdict,
)
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.records import ObservationRecord, read_records
from cal_pipeline.core.text import elide_middle, format_count, format_with_error, make_printable
from cal_pipeline.heterodyne.compare import describe_loads
from cal_pipeline.heterodyne.product import CalibratedSession


@dataclass(frozen=True)
class BandResult:
    """Results of a band of an L1 scan, medians over its pixels; None where they are not known.

    Parameters
    ----------
    scan : int
        Scan number.
    band : str
        Name of the band; empty where the scan is not divided.
    source, telescope, mode, strategy : str
        Source, telescope, observing mode and strategy of the water vapour fit.
    verdict : str
        Verdict on its quality.
    checks : tuple of str
        Checks that it does not pass.
    pwv_mm, pwv_err_mm, pwv_err_total_mm : float or None
        Water vapour, its statistical error, and its total error sqrt(pwv_err² + pwv_err_model²)
        [mm].
    t_rec_ssb_K, t_sys_dsb_K : float or None
        Receiver (SSB) and system temperature (DSB), those of ``qa`` [K].
    loads : str
        Scans of the loads, and why these.
    atm, profile : str
        Atmosphere table and telescope profile.
    parameter_files : tuple of str
        Files that parameters came from.
    engine, time, l0_store : str
        Version of the engine, time at which it was made, session it was made from.
    """

    scan: int
    band: str
    source: str
    telescope: str
    mode: str
    strategy: str
    verdict: str
    checks: tuple[str, ...]
    pwv_mm: float | None
    pwv_err_mm: float | None
    pwv_err_total_mm: float | None
    t_rec_ssb_K: float | None
    t_sys_dsb_K: float | None
    loads: str
    atm: str
    profile: str
    parameter_files: tuple[str, ...]
    engine: str
    time: str
    l0_store: str


@dataclass(frozen=True)
class ProductOverview:
    """Overview of an L1 store.

    Parameters
    ----------
    store : str
        Path or URL.
    schema_version, engine_version : str
        Versions of the format and of the engine that made the store.
    bands : tuple of BandResult
        Results, in the order of scan and band.
    failures : tuple of dict
        Scans that failed: ``scan_number``, ``step``, ``error_class``, ``message``.
    run : dict or None
        Record of the run that wrote the store.
    run_state : str
        Its state, running, finished or interrupted; empty if there is no record. A run whose process
        is gone was interrupted, whatever its record says.
    """

    store: str
    schema_version: str
    engine_version: str
    bands: tuple[BandResult, ...]
    failures: tuple[Mapping[str, Any], ...]
    run: Mapping[str, Any] | None = None
    run_state: str = ""


def product_overview(product: CalibratedSession) -> ProductOverview:
    """Describe an L1 store; of its arrays only the errors of the water vapour are read.

    Parameters
    ----------
    product : CalibratedSession
        L1 store.

    Returns
    -------
    ProductOverview
    """
    root = product.root
    attributes = read_group_attributes(root, "")
    records = read_records(product)
    errors = root.each(lambda record: _total_error(root, record.path), records)
    return ProductOverview(
        str(product.path),
        str(attributes.get("cal_schema_version") or ""),
        str(attributes.get("cal_engine_version") or ""),
        tuple(_result(record, error) for record, error in zip(records, errors, strict=True)),
        tuple(product.failures),
        product.run,
        product.run_state,
    )


def _total_error(root: StorePath, path: str) -> float | None:
    """Compute the median over pixels and pairs of the total error of the water vapour [mm]."""
    try:
        terms = [open_reader(root, f"{path}/{name}").read() for name in ("pwv_err", "pwv_err_model")]
        total = np.hypot(*(np.asarray(term, np.float64) for term in terms))
    except (CalibrationError, ValueError, RuntimeError):
        return None
    finite = total[np.isfinite(total)]
    return float(np.median(finite)) if finite.size else None


def _result(record: ObservationRecord, total_error: float | None) -> BandResult:
    attributes, provenance = record.attributes, record.provenance

    def text(values: Mapping[str, Any], name: str) -> str:
        return "" if values.get(name) is None else str(values[name])

    return BandResult(
        scan=record.number,
        band=record.part,
        source=text(attributes, "source"),
        telescope=text(attributes, "telescope"),
        mode=text(attributes, "mode"),
        strategy=text(attributes, "cal_strategy"),
        verdict=record.verdict,
        checks=tuple(record.checks),
        pwv_mm=record.figure("pwv_mm_median"),
        pwv_err_mm=record.figure("pwv_err_mm_median"),
        pwv_err_total_mm=total_error,
        t_rec_ssb_K=record.figure("t_rec_ssb_median_K"),
        t_sys_dsb_K=record.figure("t_sys_median_K"),
        loads=describe_loads(record),
        atm=text(provenance, "atm_file"),
        profile=text(provenance, "telescope_profile"),
        parameter_files=tuple(record.parameter_files),
        engine=text(provenance, "engine_version"),
        time=text(provenance, "time"),
        l0_store=text(provenance, "l0_store"),
    )


def format_product(overview: ProductOverview) -> str:
    """Write an overview of an L1 store as text.

    Parameters
    ----------
    overview : ProductOverview
        Overview.

    Returns
    -------
    str
        Lines of at most 100 characters.
    """
    kind = CalibratedSession.kind
    n_scans = len({band.scan for band in overview.bands})
    failed = f", {len(overview.failures)} failed" if overview.failures else ""
    titles = ("scan", "source", "mode", "PWV [mm]", "T_rec SSB [K]", "T_sys DSB [K]", "verdict")
    lines = [
        elide_middle(make_printable(overview.store), WIDTH),
        f"L1 store of {format_count(n_scans, 'scan')}{failed}; format {overview.schema_version or UNKNOWN}",
        *format_unfinished_run(overview.run, overview.run_state, kind),
        *format_properties(overview.bands, _PROPERTIES, lambda band: band.scan),
        *format_table(titles, [_row(band) for band in overview.bands]),
    ]
    return "\n".join([*lines, *format_failures(overview.failures, kind)])


_PROPERTIES: dict[str, Callable[[BandResult], str]] = {
    "engine": lambda band: band.engine,
    "made from": lambda band: band.l0_store,
    "made at": lambda band: band.time.partition("T")[0],
    "telescope": lambda band: band.profile,
    "atmosphere": lambda band: f"{band.atm} ({band.strategy})" if band.atm else band.strategy,
    "parameters": lambda band: ", ".join(band.parameter_files) or "no file",
    # The age of loads differs from scan to scan; how they were chosen does not.
    "loads": lambda band: band.loads.partition("(")[2].rstrip(")").partition(",")[0],
}
"""Common properties of scans."""


def _row(band: BandResult) -> tuple[str, ...]:
    return (
        f"{band.scan} {band.band}".rstrip(),
        elide_middle(make_printable(band.source or UNKNOWN), 20),
        elide_middle(make_printable(band.mode or UNKNOWN), 12),
        _with_error(band.pwv_mm, band.pwv_err_total_mm),
        _rounded(band.t_rec_ssb_K),
        _rounded(band.t_sys_dsb_K),
        format_verdict(band.verdict, band.checks),
    )


def _with_error(value: float | None, error: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.4g}" if error is None else format_with_error(value, error)


def _rounded(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f}"
