"""From an object store to an object store, each request late and the bandwidth limited."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

from .tools import sessions
from .tools.measure import calibrate, is_tiny, median_of, rounds, size_of
from .tools.slow_store import RunningStore, open_store

LATENCY = 0.05
"""Time that each request waits [s]."""
BANDWIDTH = 100e6
"""Bytes that pass in a second, in each direction."""


class ObjectStore:
    """Scans of 184 MB, lossless, read from a store and written to it; 50 ms a request, 100 MB/s each way."""

    timeout = 1800

    def setup_cache(self) -> dict[str, float]:
        session = sessions.three()
        with open_store() as store, patch.dict(os.environ, store.environment):
            store.control(load=session, **{"as": "bucket/l0.zarr"})
            # Imports, compiled code and the event loop are there before anything is measured.
            run_scans(store, 1)
            store.control(latency=0.0 if is_tiny() else LATENCY, rate=BANDWIDTH)
            runs = [[run_scans(store, number) for number in (1, 3)] for _ in range(rounds(3))]
        return summarise(session, runs)

    setup_cache.timeout = 1800

    def track_further_scan_over_transfer(self, found: dict[str, float]) -> float:
        return found["further / transfer"]

    track_further_scan_over_transfer.unit = "ratio"

    def track_whole_run_over_transfer(self, found: dict[str, float]) -> float:
        return found["whole / transfer"]

    track_whole_run_over_transfer.unit = "ratio"

    def track_time(self, found: dict[str, float], what: str) -> float:
        return found[what]

    track_time.params = [("further scan", "whole run")]
    track_time.param_names = ["what"]
    track_time.unit = "s"

    def track_requests_of_a_further_scan(self, found: dict[str, float]) -> float:
        return found["requests"]

    track_requests_of_a_further_scan.unit = "requests"


def run_scans(store: RunningStore, number: int) -> dict[str, float]:
    """Calibrate so many scans; return time [s], bytes written and number of requests."""
    store.control(reset=1)
    wall, *_ = calibrate("s3://bucket/l0.zarr", output_file="s3://bucket/l1.zarr", scans=f"1:{number}")
    kinds = store.control(reset=1)["kinds"]
    store.control(drop="bucket/l1.zarr")
    written = sum(size for kind, (_, size) in kinds.items() if "put" in kind.lower())
    return {"wall": wall, "written": written, "requests": sum(count for count, _ in kinds.values())}


def summarise(session: Path, runs: list[list[dict[str, float]]]) -> dict[str, float]:
    """Compare with the time for one transfer of each byte, in the direction that has more of them."""
    read = size_of(session) / 3.0
    further = [(many["wall"] - one["wall"]) / 2.0 for one, many in runs]
    transfers = [max(read, (many["written"] - one["written"]) / 2.0) / BANDWIDTH for one, many in runs]
    whole = [many["wall"] for _, many in runs]
    wholes = [max(3.0 * read, many["written"]) / BANDWIDTH for _, many in runs]
    return {
        "further scan": median_of(further),
        "whole run": median_of(whole),
        "further / transfer": median_of(a / b for a, b in zip(further, transfers, strict=True)),
        "whole / transfer": median_of(a / b for a, b in zip(whole, wholes, strict=True)),
        "requests": median_of((many["requests"] - one["requests"]) / 2.0 for one, many in runs),
    }
