"""Digests of L1 arrays, and sums that tell arrays apart to 1e-12."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zarr

RELEASES = ("astropy", "numba", "numpy", "scipy")
"""Packages whose arithmetic results depend on."""


def environment() -> dict[str, Any]:
    """Describe what the last bits of results depend on: Python, releases, instructions of the processor."""
    found = np.show_config(mode="dicts")["SIMD Extensions"]
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "machine": platform.machine(),
        "simd": sorted([*found["baseline"], *found["found"]]),
        "releases": {name: version(name) for name in RELEASES},
    }


def arrays_of(store: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read every array of an L1 store with zarr-python, by its path."""
    files = sorted(store.rglob("zarr.json"))
    paths = [file.parent for file in files if json.loads(file.read_bytes())["node_type"] == "array"]
    return {str(path.relative_to(store)): np.asarray(zarr.open_array(path, mode="r")[...]) for path in paths}


def digest(values: np.ndarray[Any, Any]) -> str:
    """Compute the SHA-256 digest of type, shape and bits of an array."""
    if values.dtype.kind in "TUO":
        content = "\n".join(map(str, values.ravel().tolist())).encode()
    else:
        content = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    header = f"{values.dtype.name if values.dtype.kind not in 'TUO' else 'text'} {values.shape}\n".encode()
    return hashlib.sha256(header + content).hexdigest()


def summarize(values: np.ndarray[Any, Any]) -> list[float]:
    """Sum an array in four ways: number of finite values, and Σ|x|, Σ x·cos(k), Σ x·sin(k²) of these."""
    if values.dtype.kind in "TUO":
        return []
    flat = values.ravel().astype(np.float64)
    finite = np.where(np.isfinite(flat), flat, 0.0)
    k = np.arange(flat.size, dtype=np.float64)
    return [
        float(np.isfinite(flat).sum()),
        float(np.abs(finite).sum()),
        float((finite * np.cos(k)).sum()),
        float((finite * np.sin(k * k % 1000.0)).sum()),
    ]
