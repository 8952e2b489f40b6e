"""Hand-made L1 stores: a few numbers each, no pipeline behind them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cal_pipeline import CalibratedSession
from cal_pipeline.core.store.arrays import create_writer
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.heterodyne.compare import compare_l1_stores

AXES = ("channel", "dump", "receiver")


def record(scan: int, **changes: Any) -> dict[str, Any]:
    """Attributes of an L1 scan.

    Parameters
    ----------
    scan : int
        Scan number.
    **changes
        ``pwv``, ``t_rec``, ``t_sys``: medians; ``verdict``, ``checks``; ``parameters``, ``origins``; anything else
        is an attribute (``source``, …) or, where the provenance has it, one of these.
    """
    parameters = {
        "workers": 1,
        "output_file": "x.zarr",
        "steps": {"loads": {"image_gain": 1.0}, "gain": {"skip": True}},
    }
    provenance = {
        "engine_version": "0.1.0",
        "time": "2026-11-29T13:24:02+00:00",
        "parameters": changes.pop("parameters", parameters),
        "parameter_origins": changes.pop("origins", {"steps.loads.image_gain": "cfg/ccat_chai_otf.asdf"}),
        "l0_store": "/data/session.zarr",
        "calibration_scans": [scan],
        "calibration_reason": "own",
        "telescope_profile": "CCAT",
        "telescope_sha256": "9" * 64,
        "forward_efficiency": [0.95],
        "atm_file": "atm.asdf",
        "atm_sha256": "b" * 64,
    }
    verdicts = [{"name": name, "verdict": "questionable", "pixels": []} for name in changes.pop("checks", [])]
    qa = {
        "pwv_mm_median": changes.pop("pwv", 0.5),
        "t_rec_ssb_median_K": changes.pop("t_rec", 170.0),
        "t_sys_median_K": changes.pop("t_sys", 120.0),
        "verdict": changes.pop("verdict", "pass"),
        "verdicts": verdicts,
        "thresholds": {"file": "quality.toml", "sha256": "3" * 64},
        "pixels": {},
    }
    for name in [name for name in changes if name in provenance]:
        provenance[name] = changes.pop(name)
    attributes = {"scan_number": scan, "source": "ORION", "mode": "otf", "cal_strategy": "full"}
    return attributes | changes | {"qa": qa, "provenance": provenance, "cal_step": {"loads": "COMPLETE"}}


def write_array(
    root: StorePath, path: str, values: Any, units: str = "K", chunks: tuple[int, ...] | None = None
) -> None:
    """Write an array of an L1 store."""
    values = np.asarray(values)
    kind = "str" if values.dtype.kind == "U" else values.dtype.name
    shape = values.shape
    create_writer(root, path, shape, chunks or shape, kind, AXES[: values.ndim], {"units": units}).write(values)


def write_product(
    path: Path, scans: dict[str, dict[str, Any]], arrays: dict[str, Any] | None = None, failures: Any = ()
) -> Path:
    """Write an L1 store.

    Parameters
    ----------
    path : Path
        Store to write.
    scans : dict
        Attributes by path: ``scan_000001``, or ``scan_000001/band_0``.
    arrays : dict, optional
        Arrays of every band by name; a few if not given.
    failures : sequence of dict
        Content of ``failures.json``.
    """
    root = LocalStorePath(path)
    write_group(root, "", {"cal_schema_version": "1.0", "cal_engine_version": "0.1.0"})
    root.put("failures.json", json.dumps(list(failures)).encode())
    if arrays is None:
        arrays = {"spectra": np.arange(12.0).reshape(4, 3), "flags": np.zeros((4, 3), "uint16"), "pixel": ["A", "B"]}
    for scan, attributes in scans.items():
        if "/" in scan:
            write_group(root, scan.partition("/")[0], {})
        write_group(root, scan, attributes)
        for name, values in arrays.items():
            write_array(root, f"{scan}/{name}", values)
    return path


def assert_identical(first: str | Path, second: str | Path, scans: Sequence[int] | None = None) -> list[str]:
    """Fail unless two L1 stores hold the same arrays, bit for bit, of every scan that both should have.

    Parameters
    ----------
    first, second : str or Path
        The stores.
    scans : sequence of int, optional
        Scan numbers; all of `first` if not given.

    Returns
    -------
    list of str
        Paths of the arrays that were compared.
    """
    differences = compare_l1_stores(first, second, scans).arrays
    compared = [item.path for item in differences]
    for number in CalibratedSession(first).numbers if scans is None else scans:
        assert any(re.fullmatch(rf"scan_{number:06d}/(band_\d+/)?spectra", path) for path in compared), number
    assert any("/spectra" in path for path in compared), "the stores hold no scan"
    assert [item for item in differences if not item.within(0.0)] == []
    return compared
