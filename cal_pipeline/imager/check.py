"""Check of a store of the imager: every object is read and held against the format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.check import CheckReport
from cal_pipeline.core.store.check_store import StoreFormat, check_observations
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.product import Key
from cal_pipeline.imager.check_images import check_cal, check_mosaic, check_rate, judge_image_values
from cal_pipeline.imager.check_ramps import check_ramp, judge_ramp_values, may_lack_all_chunks
from cal_pipeline.imager.kinds import CAL, KINDS, MOSAIC, RAMPS, RATE, find_kind

_FORMATS = {
    RAMPS: StoreFormat(RAMPS.name, RAMPS, False, judge_ramp_values, check_ramp, may_lack_all_chunks),
    RATE: StoreFormat(RATE.name, RATE, True, judge_image_values, check_rate),
    CAL: StoreFormat(CAL.name, CAL, True, judge_image_values, check_cal),
    MOSAIC: StoreFormat(MOSAIC.name, MOSAIC, True, judge_image_values, check_mosaic),
}


def check_store(store: str | Path, wanted: Sequence[Key] | None = None) -> CheckReport:
    """Check a store of ramps, rates, calibrated images or mosaics: every object is read.

    Reported are chunks (inner chunks of shards too) that are absent or do not decode, wrong shapes,
    types, axes and units, attributes that are missing or not what the format says, samples that are
    not finite and flagged good, errors that are no errors, and records that contradict the store.
    One chunk per thread is in memory at a time.

    Parameters
    ----------
    store : str or Path
        Folder, ZIP file or URL.
    wanted : sequence of int, optional
        Numbers of exposures, or names of mosaics: only these.

    Returns
    -------
    CheckReport

    Raises
    ------
    StoreError
        If `store` is none of these, or lacks one of `wanted`.

    Examples
    --------
    >>> report = check_store("visit.zarr")
    >>> report.kind, report.noun, report.findings
    ('ramp store', 'exposure', [])
    """
    root = open_store(store)
    kind = find_kind(root)
    if kind is None:
        raise StoreError(f"{root} is no store of an imager; expected one of {', '.join(KINDS)}")
    return check_observations(root, _FORMATS[kind], wanted)
