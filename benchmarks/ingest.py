"""Ingest of FITS files against the straightforward way: throughput, and peak memory, of a table and of images.

    python benchmarks/ingest.py [folder] [--repeat 5] [--only table images small_images]

Files are made once into the folder, best on a RAM disk: what a disk takes is not meant. Each way runs in a fresh
process whose imports are done and whose code is compiled; the two ways take turns. Ingest is the public function, from
finding the files to the published session: headers, plan, SHA-256 of each file, rounding, checks, zstd, fsync.
Straightforward (`naive`) is what a careful user would write: astropy, `np.rint`, whole arrays, zarr-python; it neither
finds out what is in the files, nor hashes, nor checks, and is given the order of the rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

COLUMNS = 1500
"""Bytes of other columns in a row, about as many as in SDFITS files of the Green Bank Telescope."""

PROFILE = """
schema = 1
name = "benchmark_{reader}"
reader = "{reader}"
files = ["*.fits"]
hdu = {hdu}
{data}
counts = "i32"
[scan]
number = "SCAN"
source = {{ value = "M82" }}
[map]
mjd = "MJD"
exptime = {{ value = 1.0 }}
elevation = {{ value = 1.0 }}
pamb = {{ value = 400.0 }}
tamb = {{ value = 280.0 }}
signal_freq = {{ value = 4.6e11 }}
freq_res = {{ value = 1e6 }}
[pixel]
receiver = "PIXEL"
id = "PX{{receiver:02d}}"
[[phase]]
when = {{ PHASE = "ON" }}
is = "ON"
[[phase]]
when = {{ PHASE = "OFF" }}
is = "OFF"
[time]
scale = "utc"
is = "middle"
[group]
dumps = "{dumps}"
"""


@dataclass(frozen=True)
class Case:
    """Files of one scan, OFF and ON in turn."""

    reader: str
    channels: int
    dumps: int
    pixels: int
    subscans: int

    @property
    def name(self) -> str:
        return f"{self.reader}_{self.channels}_{self.dumps}_{self.pixels}_{self.subscans}"


CASES = {
    "table": Case("table", 16384, 20, 7, 24),
    "images": Case("image", 16384, 20, 7, 24),
    "small_images": Case("image", 1024, 20, 64, 40),
}
WARM = {"table": Case("table", 64, 2, 2, 2), "image": Case("image", 64, 2, 2, 2)}


def make_counts(case: Case, seed: int) -> np.ndarray:
    """Make counts of a receiver of uneven gain, with the noise of 1e-3 of a second and a MHz, [dump][channel]."""
    rng = np.random.default_rng(seed)
    gain = 1e7 * (1.0 + 0.3 * np.sin(np.arange(case.channels) / 300.0))
    return (gain * (1.0 + 1e-3 * rng.normal(size=(case.dumps, case.channels)))).astype(">f4")


def prepare(case: Case, folder: Path) -> Path:
    """Make the files and the profile of a case, once."""
    place = folder / case.name
    if not place.exists():
        partial = folder / f"{case.name}.part"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        (make_table if case.reader == "table" else make_images)(case, partial)
        is_table = case.reader == "table"
        text = PROFILE.format(
            reader=case.reader,
            hdu=1 if is_table else 0,
            data='data = "DATA"' if is_table else "",
            dumps="scan" if is_table else "row",
        )
        (partial / "profile.toml").write_text(text)
        partial.rename(place)
    return place


def make_table(case: Case, place: Path) -> None:
    """Write a table: the pixels of a dump after each other, dump after dump."""
    row = [("SCAN", ">i4"), ("PIXEL", ">i4"), ("PHASE", "S4"), ("MJD", ">f8"), ("PAD", f"S{COLUMNS}")]
    table = np.zeros((case.subscans, case.dumps, case.pixels), [*row, ("DATA", ">f4", (case.channels,))])
    table["SCAN"], table["PIXEL"] = 1, np.arange(case.pixels)
    for subscan in range(case.subscans):
        table["PHASE"][subscan] = b"ON" if subscan % 2 else b"OFF"
        table["MJD"][subscan] = 59000.0 + (subscan * 2 * case.dumps + np.arange(case.dumps)[:, np.newaxis]) / 86400.0
        for pixel in range(case.pixels):
            table["DATA"][subscan, :, pixel] = make_counts(case, subscan * case.pixels + pixel)
    fits.BinTableHDU(table.ravel()).writeto(place / "table.fits")


def make_images(case: Case, place: Path) -> None:
    """Write a file for each pixel and subscan, with as many cards as a telescope writes."""
    for subscan in range(case.subscans):
        for pixel in range(case.pixels):
            unit = fits.PrimaryHDU(make_counts(case, subscan * case.pixels + pixel))
            time_of = 59000.0 + (subscan * 2 * case.dumps + 0.5 * case.dumps) / 86400.0
            cards = {"SCAN": 1, "PIXEL": pixel, "PHASE": "ON" if subscan % 2 else "OFF", "MJD": time_of}
            unit.header.update(cards | {f"KEY{k}": k * 0.1 for k in range(30)})
            unit.writeto(place / f"{subscan:03d}_{pixel:02d}.fits")


def ingest_files(place: Path, case: Case, output: Path) -> None:
    """Ingest the files of a case."""
    from cal_pipeline.ingest import ingest

    ingest(place, output, profile=place / "profile.toml")


def write_naively(place: Path, case: Case, output: Path) -> None:
    """Read everything, round, put it in order, write."""
    import zarr

    shape = (case.channels, case.dumps, case.pixels, 1, case.subscans)
    counts = np.empty(shape, np.int32)
    if case.reader == "table":
        data = fits.getdata(place / "table.fits", 1)["DATA"]
        data = data.reshape(case.subscans, case.dumps, case.pixels, 1, case.channels)
        counts[...] = np.rint(data).transpose(4, 1, 2, 3, 0)
    else:
        for subscan in range(case.subscans):
            for pixel in range(case.pixels):
                counts[:, :, pixel, 0, subscan] = np.rint(fits.getdata(place / f"{subscan:03d}_{pixel:02d}.fits")).T
    chunks = (min(case.channels, 2048), *shape[1:4], 1)
    array = zarr.create_array(output, name="scan_000001/source/data_5d", shape=shape, chunks=chunks, dtype="i4")
    array[...] = counts


WAYS = {"ingest": ingest_files, "naive": write_naively}


def read_peak_memory() -> float:
    """Read the largest memory of this process [MB]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def serve(way: str, folder: Path, name: str) -> None:
    """Run one way when a line comes in; answer with wall clock and processor time [s] and peak memory [MB]."""
    case = CASES[name]
    output = folder / f"output_{way}.zarr"
    for settings in (WARM[case.reader], None):
        place = prepare(settings or case, folder)
        for line in ["\n"] if settings else sys.stdin:
            shutil.rmtree(output, ignore_errors=True)
            before = time.perf_counter(), time.process_time()
            WAYS[way](place, settings or case, output)
            took = time.perf_counter() - before[0], time.process_time() - before[1]
            if not settings and line:
                print(json.dumps([*took, read_peak_memory()]), flush=True)
    shutil.rmtree(output, ignore_errors=True)


def compare(name: str, folder: Path, repeat: int) -> None:
    """Let both ways take turns, and print medians."""
    prepare(WARM[CASES[name].reader], folder)
    place = prepare(CASES[name], folder)
    size = sum(path.stat().st_size for path in place.glob("*.fits")) / 1e6
    runs: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    command = [sys.executable, __file__, str(folder), "--serve"]
    servers = {
        way: subprocess.Popen([*command, way, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for way in WAYS
    }
    for _ in range(repeat):
        for way, server in servers.items():
            print(file=server.stdin, flush=True)
            runs[way].append(json.loads(server.stdout.readline()))
    for server in servers.values():
        server.communicate()
    number = len(list(place.glob("*.fits")))
    print(f"{name}: {size:.0f} MB in {number} files (medians of {repeat})")
    for way, results in runs.items():
        wall, processor = (statistics.median(column) for column in list(zip(*results, strict=True))[:2])
        peak = max(result[2] for result in results)
        print(f"  {way:8} {wall:6.2f} s {size / wall:5.0f} MB/s, processor {processor:5.2f} s, peak {peak:5.0f} MB")
    ratio = statistics.median(b[0] / a[0] for a, b in zip(*runs.values(), strict=True))
    print(f"  naive / ingest {ratio:.2f} on the wall clock")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(tempfile.gettempdir()) / "cal_pipeline_benchmark")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.serve:
        serve(given.serve[0], given.folder, given.serve[1])
        return
    for name in given.only:
        compare(name, given.folder, given.repeat)


if __name__ == "__main__":
    main()
