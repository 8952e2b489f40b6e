"""Warnings about scans that are planned, beside what is filled in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.ingest.rows import BandPlan, Floats, ScanPlan
from cal_pipeline.heterodyne.physics.constants import SECONDS_A_DAY

_PAUSE = 3600.0
"""Time between rows of one scan above which they may be two scans of one number [s]."""

_SHOWN = 3
"""Pixels that a warning names."""


def warn_of_pause(mjd: Floats) -> list[str]:
    """Warn of a long pause within a scan, as where a folder holds two nights that count from 1.

    Parameters
    ----------
    mjd : ndarray, shape (N,)
        Middle of each row [d].

    Returns
    -------
    list of str
        A warning if two successive rows are more than an hour apart.

    Examples
    --------
    >>> warn_of_pause(np.array([60000.0, 60001.0]))
    ['rows pause for 24.0 h: two scans may have the same number']
    """
    longest = float(np.diff(np.sort(mjd)).max(initial=0.0)) * SECONDS_A_DAY
    if longest <= _PAUSE:
        return []
    return [f"rows pause for {longest / 3600.0:.1f} h: two scans may have the same number"]


def compare_with_loads(plan: ScanPlan, plans: dict[int, ScanPlan]) -> ScanPlan:
    """Warn where the last loads of a scan have other channels or pixels, which calibration does not take.

    Parameters
    ----------
    plan : ScanPlan
        The scan.
    plans : dict of int to ScanPlan
        All scans.

    Returns
    -------
    ScanPlan
        The scan with what it lacks, or has beyond its loads, among its warnings.
    """
    warnings = list(plan.warnings)
    for band in plan.bands:
        source = band.groups.get("source")
        if source is None or "calibration" in band.groups:
            continue
        number = int(source.coordinates["lloadsn"][1][0])
        loads = {other.name: other for other in plans[number].bands}.get(band.name) if number in plans else None
        if loads is not None and "calibration" in loads.groups:
            doubts = [f"loads of scan {number} {doubt}" for doubt in _find_differences(band, loads)]
            warnings += [f"{band.name}: {doubt}" if band.name else doubt for doubt in doubts]
    return replace(plan, warnings=tuple(warnings))


def _find_differences(band: BandPlan, loads: BandPlan) -> list[str]:
    source, calibration = band.groups["source"], loads.groups["calibration"]
    differences = []
    if source.shape[0] != calibration.shape[0]:
        differences.append(f"have {format_count(calibration.shape[0], 'channel')}, not {source.shape[0]}: not taken")
    own, others = (group.coordinates["frontend_backends"][1].tolist() for group in (source, calibration))
    for verb, here, there in (("lack", own, others), ("have", others, own)):
        only = [text for text in here if text not in there]
        if only:
            more = f" and {len(only) - _SHOWN} more" if len(only) > _SHOWN else ""
            here_too = "" if verb == "lack" else ", which this scan lacks"
            differences.append(f"{verb} {', '.join(map(repr, only[:_SHOWN]))}{more}{here_too}: not taken")
    return differences
