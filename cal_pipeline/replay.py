"""Calibrates a scan again with the parameters that L1 recorded of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cal_pipeline.errors import StoreError
from cal_pipeline.models.compare import ArrayDifference, compare_stores
from cal_pipeline.models.l1 import CalibratedSession
from cal_pipeline.pipeline import CalibrationPipeline
from cal_pipeline.steps.origins import recorded_parameters

OF_ONE_RUN = frozenset(
    {
        "input_dir",
        "output_dir",
        "output_file",
        "overwrite",
        "post_hooks",
        "pre_hooks",
        "save_results",
        "scans",
        "scheduler",
        "suffix",
        "threads",
        "workers",
    }
)
"""Parameters that say where a run wrote to and who did it, not what was made."""


def recorded_provenance(store: str | Path, scan: int) -> dict[str, Any]:
    """What an L1 store recorded of how a scan was made.

    Parameters
    ----------
    store : str or Path
        The L1 store.
    scan : int
        Scan number.

    Raises
    ------
    StoreError
        If there is no such scan, or it recorded nothing.
    """
    product = CalibratedSession(store)
    if scan not in product.numbers:
        raise StoreError(f"{product.path} has no scan {scan}; it has {product.numbers}")
    provenance: Any = product.attributes(scan).get("provenance")
    if not isinstance(provenance, dict) or "parameters" not in provenance:
        raise StoreError(f"{product.path}: scan {scan} did not record its parameters")
    return provenance


def recorded_pipeline(store: str | Path, scan: int) -> CalibrationPipeline:
    """A pipeline with the parameters that a scan was calibrated with, and no others.

    Parameters
    ----------
    store : str or Path
        The L1 store.
    scan : int
        Scan number.
    """
    config = recorded_parameters(_to_give(recorded_provenance(store, scan)["parameters"]), str(store))
    pipeline: CalibrationPipeline = CalibrationPipeline.from_config_section(config)
    return pipeline


def replay_scan(store: str | Path, scan: int, output: str | Path) -> list[ArrayDifference]:
    """Calibrate a scan again and compare.

    Parameters
    ----------
    store : str or Path
        The L1 store.
    scan : int
        Scan number.
    output : str or Path
        Where to write the scan again.

    Returns
    -------
    list of ArrayDifference
        What differs; the differences to earlier scans (``skydiff``), which are not calibrated, are left out.
    """
    pipeline = recorded_pipeline(store, scan)
    pipeline.scans = [scan]
    pipeline.output_file = str(output)
    pipeline.run(recorded_provenance(store, scan)["l0_store"])
    return compare_stores(store, output, [scan], leave_out=["skydiff"])


def _to_give(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded parameters as they are given to a pipeline."""
    given: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            given[name] = _to_give(value)
        elif value is not None and name not in OF_ONE_RUN:
            given[name] = value
    return given
