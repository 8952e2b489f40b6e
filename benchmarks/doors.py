"""Arrays straight through their codecs against zarr-python, with each of its codec pipelines.

    python benchmarks/doors.py [folder] [--repeat 7] [--only chunks arrays floor small medium]

Prints medians of alternating measurements: wall time, CPU time of the process, and both divided by
those of direct access. Sessions are simulated once into the folder, which should be on a RAM disk:
a disk takes the same time for both ways, and hides the difference. The package has no switch between
them; this program replaces the functions that choose.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import floor
import numpy as np
import sessions
import zarr

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.store import arrays
from cal_pipeline.core.store.local_path import LocalStorePath

CORES = len(os.sched_getaffinity(0))
FUSED = "zarr.core.codec_pipeline.FusedCodecPipeline"

Measure = Callable[[], tuple[float, float]]
"""Measures wall and CPU time [s]."""


@contextmanager
def door(name: str) -> Iterator[None]:
    """Read and write arrays within the block directly, through zarr, or through its fused pipeline."""
    if name == "direct":
        yield
        return
    settings = {"codec_pipeline.path": FUSED} if name == "fused" else {}
    with (
        zarr.config.set(settings),
        patch.object(arrays, "find_decoders", lambda _: None),
        patch.object(arrays, "DirectWriter", arrays.ZarrWriter),
    ):
        yield


def doors() -> list[str]:
    """Names of the doors that this release of zarr has."""
    import zarr.core.codec_pipeline as pipelines

    return ["direct", "zarr", *(["fused"] if hasattr(pipelines, "FusedCodecPipeline") else [])]


def timed(work: Callable[[], object], number: int = 1) -> tuple[float, float]:
    """Wall and CPU time of one of `number` operations that `work` does [s]."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - wall) / number, (time.process_time() - cpu) / number


def compare(title: str, repeat: int, measure: Callable[[str], tuple[float, float]], scale: float = 1e3) -> None:
    """Print the medians of one measurement through each door [ms, or s with a scale of 1]."""
    names = doors()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(repeat + 1):
        # The first turn warms up; each starts with another door.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            with door(name):
                times = measure(name)
            if turn:
                found[name].append(times)
    unit = "ms" if scale > 1 else "s"
    direct = [statistics.median(values) for values in zip(*found["direct"], strict=True)]
    print(f"{title} [{unit}]")
    for name in names:
        wall, cpu = (statistics.median(values) for values in zip(*found[name], strict=True))
        ratios = f"x{wall / direct[0]:.2f} wall, x{cpu / direct[1]:.2f} CPU"
        print(f"  {name:8} {wall * scale:8.3f} wall {cpu * scale:8.3f} CPU   {ratios}", flush=True)


def chunks(folder: Path, repeat: int) -> None:
    """One chunk read and decoded, encoded and written, by one thread."""
    noise = np.random.default_rng(1).normal(0.0, 1.0, 2**18 * 8)
    for words, dtype, size, number in (
        ("2 MB of float64, lz4 and CRC-32C", "float64", 2**18, 8),
        ("2 MB of int64, zstd with checksum", "int64", 2**18, 8),
        ("1 kB of float64, lz4 and CRC-32C", "float64", 2**7, 64),
    ):
        values = (noise[: size * number] * 1000.0).astype(dtype)
        parts = [values[k * size : (k + 1) * size] for k in range(number)]

        def write(name: str, dtype: str = dtype, parts: list[np.ndarray] = parts) -> tuple[float, float]:
            size, number = parts[0].size, len(parts)
            root = LocalStorePath(folder / f"{name}_{dtype}_{size}")
            writer = arrays.create_writer(root, "a", (size * number,), (size,), dtype, ("x",), {})
            return timed(lambda: [writer.write_chunk((k,), part) for k, part in enumerate(parts)], number)

        def read(name: str, dtype: str = dtype, parts: list[np.ndarray] = parts) -> tuple[float, float]:
            size, number = parts[0].size, len(parts)
            reader = arrays.open_reader(LocalStorePath(folder / f"{name}_{dtype}_{size}"), "a")
            slices = [(slice(k * size, (k + 1) * size),) for k in range(number)]
            return timed(lambda: [reader.read(part) for part in slices], number)

        compare(f"write {words}", repeat, write)
        compare(f"read {words}", repeat, read)


def small_arrays(folder: Path, repeat: int) -> None:
    """Arrays opened, created, and read and written whole (7 numbers)."""
    names = [str(k) for k in range(32)]
    values = np.arange(7.0)

    def root(name: str) -> LocalStorePath:
        return LocalStorePath(folder / f"arrays_{name}")

    def create(name: str) -> list[arrays.ArrayWriter]:
        return [arrays.create_writer(root(name), item, (7,), (7,), "float64", ("x",), {}) for item in names]

    compare("create an array", repeat, lambda name: timed(lambda: create(name), len(names)))
    compare(
        "create and write an array of 7",
        repeat,
        lambda name: timed(lambda: [writer.write(values) for writer in create(name)], len(names)),
    )
    compare(
        "open an array",
        repeat,
        lambda name: timed(lambda: [arrays.open_reader(root(name), item) for item in names], len(names)),
    )
    compare(
        "open and read an array of 7",
        repeat,
        lambda name: timed(lambda: [arrays.open_reader(root(name), item).read() for item in names], len(names)),
    )


def floors(folder: Path, outputs: Path, repeat: int) -> None:
    """One scan read, decoded, encoded and written, without calibration (``floor.py``)."""
    session = sessions.medium(folder)

    def measure(name: str) -> tuple[float, float]:
        way = floor.direct_floor if name == "direct" else floor.zarr_floor
        output = outputs / "floor"
        times = timed(lambda: way(session, 1, output, CORES))
        shutil.rmtree(output)
        return times

    compare("scan of 184 MB without calibration", repeat, measure, scale=1.0)


def scans(session: Path, outputs: Path, repeat: int, few: int, many: int) -> Callable[[str], tuple[float, float]]:
    """Measurement of a further scan of a session, from runs of `few` and `many` scans."""

    def run(last: int) -> tuple[float, float]:
        output = outputs / "l1.zarr"
        settings = {"output_file": str(output), "configure_log": False, "scans": f"1:{last}"}
        times = timed(lambda: CalibrationPipeline.call(str(session), **settings))
        shutil.rmtree(output)
        return times

    def measure(_: str) -> tuple[float, float]:
        if not few:
            return run(many)
        long, short = run(many), run(few)
        return tuple((a - b) / (many - few) for a, b in zip(long, short, strict=True))

    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("bench"))
    parser.add_argument("--repeat", type=int, default=7)
    kinds = ("chunks", "arrays", "floor", "small", "medium")
    parser.add_argument("--only", nargs="+", choices=kinds, default=kinds)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.WARNING)
    print(f"Python {platform.python_version()}, zarr {zarr.__version__}, NumPy {np.__version__}, {CORES} cores")
    outputs = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        if "chunks" in given.only:
            chunks(outputs, given.repeat)
        if "arrays" in given.only:
            small_arrays(outputs, given.repeat)
        if "floor" in given.only:
            floors(given.folder, outputs, given.repeat)
        if "small" in given.only:
            measure = scans(sessions.small(given.folder), outputs, given.repeat, 2, 10)
            compare("a further small scan, calibrated", given.repeat, measure)
        if "medium" in given.only:
            measure = scans(sessions.medium(given.folder), outputs, given.repeat, 0, 1)
            compare("scan of 184 MB, calibrated", given.repeat, measure, scale=1.0)
    finally:
        shutil.rmtree(outputs)


if __name__ == "__main__":
    main()
