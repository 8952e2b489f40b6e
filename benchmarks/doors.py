"""Arrays straight through their codecs against zarr-python, with each of its codec pipelines.

The package has no switch between the ways; this module replaces the functions that choose. It uses names that are not
public, so commits that lack them fail here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from .tools import floor, sessions
from .tools.measure import Times, alternate, calibrate, is_tiny, measure_further, median, scratch, take_time

FUSED = "zarr.core.codec_pipeline.FusedCodecPipeline"
NUMBER = 8
"""Chunks, or small arrays, of one measurement."""
CHUNKS = {
    "2 MB of float64": ("float64", 2**18),
    "2 MB of int64": ("int64", 2**18),
    "1 kB of float64": ("float64", 2**7),
}
"""Type and size of chunks: lz4 and CRC-32C for floats, zstd with checksum for integers."""
WHOLE = ("create an array", "create and write an array of 7", "open an array", "open and read an array of 7")
SCANS = ("a scan of 184 MB without calibration", "a scan of 184 MB", "a further small scan")
WORKS = (*(f"{verb} {chunk}" for chunk in CHUNKS for verb in ("write", "read")), *WHOLE, *SCANS)


@contextmanager
def open_door(name: str) -> Iterator[None]:
    """Read and write arrays within the block directly, through zarr, or through its fused pipeline."""
    import zarr

    from cal_pipeline.core.store import arrays
    from cal_pipeline.core.store.through_zarr import ZarrWriter

    if name == "direct":
        yield
        return
    settings = {"codec_pipeline.path": FUSED} if name == "fused" else {}
    with (
        zarr.config.set(settings),
        patch.object(arrays, "find_decoders", lambda _: None),
        patch.object(arrays, "DirectWriter", ZarrWriter),
    ):
        yield


def list_doors() -> list[str]:
    """List the doors that this release of zarr has."""
    import zarr.core.codec_pipeline as pipelines

    return ["direct", "zarr", *(["fused"] if hasattr(pipelines, "FusedCodecPipeline") else [])]


def open_root(path: Path) -> Any:
    """Open a folder as the package does."""
    try:
        from cal_pipeline.core.store.local_path import LocalStorePath
    except ImportError:
        from cal_pipeline.core.store.paths import LocalStorePath
    return LocalStorePath(path)


class Doors:
    """Time of an operation, or of a scan, through each door."""

    timeout = 1800
    params = (("direct", "zarr", "fused"), WORKS)
    param_names = ("door", "work")

    def setup_cache(self) -> dict[str, dict[str, float]]:
        costs = {}
        with scratch() as folder:
            for work in WORKS:
                make = make_work(folder, work)
                found = alternate(7, {door: make_way(door, make) for door in list_doors()})
                costs[work] = {door: median(found, door) for door in found}
                costs[work] |= {f"{door}, processor": median(found, door, 1) for door in found}
        return costs

    setup_cache.timeout = 1800

    def track_time(self, costs: dict[str, dict[str, float]], door: str, work: str) -> float:
        return 1e3 * costs[work].get(door, float("nan"))

    track_time.unit = "ms"

    def track_processor_time(self, costs: dict[str, dict[str, float]], door: str, work: str) -> float:
        return 1e3 * costs[work].get(f"{door}, processor", float("nan"))

    track_processor_time.unit = "ms"


def make_way(door: str, work: Callable[[str], Times]) -> Callable[[], Times]:
    """Return the measurement of a piece of work through a door."""

    def measure() -> Times:
        with open_door(door):
            return work(door)

    return measure


def make_work(folder: Path, work: str) -> Callable[[str], Times]:
    """Return the measurement of a piece of work by the name of its door."""
    if work in WHOLE:
        return make_small_arrays(folder, work)
    if work == "a further small scan":
        few, many = (1, 3) if is_tiny() else (2, 10)
        return lambda _: measure_further(sessions.small(), few, many)
    if work == "a scan of 184 MB":
        return lambda _: calibrate(sessions.three(), scans="1")
    if work == "a scan of 184 MB without calibration":
        return run_floor
    verb, _, chunk = work.partition(" ")
    return make_chunks(folder, verb, *CHUNKS[chunk])


def run_floor(door: str) -> Times:
    """Measure three scans without calibration, and divide by three."""
    run = floor.run_directly if door == "direct" else floor.run_through_zarr
    with scratch() as folder:
        return take_time(lambda: run(sessions.three(), folder / "floor"), 3)


def make_chunks(folder: Path, verb: str, dtype: str, size: int) -> Callable[[str], Times]:
    """Return the measurement of a chunk that one thread encodes and writes, or reads and decodes."""
    from cal_pipeline.core.store import arrays

    noise = np.random.default_rng(1).normal(0.0, 1.0, size * NUMBER)
    parts = (noise * 1000.0).astype(dtype).reshape(NUMBER, size)

    def write(door: str) -> Times:
        root = open_root(folder / f"{door}_{dtype}_{size}")
        writer = arrays.create_writer(root, "a", (size * NUMBER,), (size,), dtype, ("x",), {})
        return take_time(lambda: [writer.write_chunk((k,), part) for k, part in enumerate(parts)], NUMBER)

    def read(door: str) -> Times:
        reader = arrays.open_reader(open_root(folder / f"{door}_{dtype}_{size}"), "a")
        slices = [(slice(k * size, (k + 1) * size),) for k in range(NUMBER)]
        return take_time(lambda: [reader.read(part) for part in slices], NUMBER)

    return write if verb == "write" else read


def make_small_arrays(folder: Path, work: str) -> Callable[[str], Times]:
    """Return the measurement of arrays that are created, opened, read and written whole."""
    from cal_pipeline.core.store import arrays

    names, values = [str(k) for k in range(NUMBER)], np.arange(7.0)

    def create(root: Any) -> list[Any]:
        return [arrays.create_writer(root, name, (7,), (7,), "float64", ("x",), {}) for name in names]

    def read(root: Any) -> list[Any]:
        return [arrays.open_reader(root, name) for name in names]

    works: dict[str, Callable[[Any], object]] = {
        WHOLE[0]: create,
        WHOLE[1]: lambda root: [writer.write(values) for writer in create(root)],
        WHOLE[2]: read,
        WHOLE[3]: lambda root: [reader.read() for reader in read(root)],
    }

    def measure(door: str) -> Times:
        root = open_root(folder / f"arrays_{door}")
        return take_time(lambda: works[work](root), NUMBER)

    return measure
