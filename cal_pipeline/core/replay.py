"""Calibrates a scan again with the parameters that L1 recorded of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.parameters.origins import recorded_parameters
from cal_pipeline.core.store.compare import ArrayDifference, Comparison
from cal_pipeline.core.store.records import OF_ONE_RUN
from cal_pipeline.core.text import ranges_of
from cal_pipeline.heterodyne.compare import compare
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.pipelines.calibration import CalibrationPipeline


def recorded_provenance(store: str | Path, scan: int) -> dict[str, Any]:
    """Read the provenance of a scan from an L1 store.

    Parameters
    ----------
    store : str or Path
        The L1 store.
    scan : int
        Scan number.

    Raises
    ------
    StoreError
        If there is no such scan, or the scan has no recorded parameters.
    """
    product = CalibratedSession(store)
    if scan not in product.numbers:
        raise StoreError(f"{product.path} has no scan {scan}; it has {ranges_of(product.numbers) or 'none'}")
    provenance: Any = product.attributes(scan).get("provenance")
    if not isinstance(provenance, dict) or "parameters" not in provenance:
        raise StoreError(f"{product.path}: scan {scan} did not record its parameters")
    return provenance


def recorded_pipeline(store: str | Path, scan: int) -> CalibrationPipeline:
    """Make a pipeline with exactly the parameters that a scan was calibrated with.

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
    """Calibrate a scan again and compare the arrays; see :func:`replay_and_compare`."""
    return replay_and_compare(store, scan, output).arrays


def replay_and_compare(store: str | Path, scan: int, output: str | Path) -> Comparison:
    """Calibrate a scan again with the parameters recorded of it, and compare.

    Parameters
    ----------
    store : str or Path
        The L1 store: folder, ZIP file or URL.
    scan : int
        Scan number.
    output : str or Path
        Output store of the replayed scan: folder or URL.

    Returns
    -------
    Comparison
        Differences of the arrays, and of what is recorded of them: of the engine, reference files,
        loads and results. The differences to earlier scans (``skydiff``), which are not calibrated,
        are left out.

    Raises
    ------
    StoreError
        If the store, the scan or the L0 session that was recorded is not there.
    """
    pipeline = recorded_pipeline(store, scan)
    pipeline.scans = [scan]
    pipeline.output_file = str(output)
    pipeline.run(recorded_provenance(store, scan)["l0_store"])
    # Every recorded parameter was given as an argument: its origin tells nothing.
    return compare(store, output, [scan], leave_out=["skydiff"], origins=False)


def _to_give(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded parameters as they are given to a pipeline."""
    given: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            given[name] = _to_give(value)
        elif value is not None and name not in OF_ONE_RUN:
            given[name] = value
    return given
