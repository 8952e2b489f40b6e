"""Ingest of FITS files against the straightforward way: throughput, and peak memory, of a table and of images.

Ingest is the public function, from finding the files to the published session: headers, plan, SHA-256 of each file,
rounding, checks, zstd, fsync. Straightforward (`naive`) is what a careful user would write: astropy, `np.rint`, whole
arrays, zarr-python; it neither finds out what is in the files, nor hashes, nor checks, and is given the order of the
rows. Each way runs in a process of its own whose code is compiled; the ways take turns.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .tools.child import Child
from .tools.measure import (
    Times,
    alternate,
    find_folder,
    is_tiny,
    median,
    ratio,
    read_peak_memory,
    scratch,
    take_time,
)

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
class Files:
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
    "table": Files("table", 16384, 20, 7, 24),
    "images": Files("image", 16384, 20, 7, 24),
    "small_images": Files("image", 1024, 20, 64, 40),
}
TINY = {"table": Files("table", 64, 2, 2, 2), "image": Files("image", 64, 2, 2, 2)}
WAYS = ("ingest", "naive")


class Ingest:
    """One scan of 225 MB, in a table or in images."""

    timeout = 1800
    params = (tuple(CASES), WAYS)
    param_names = ("files", "way")

    def setup_cache(self) -> dict[str, dict[str, float]]:
        return {name: compare_ways(TINY[files.reader] if is_tiny() else files) for name, files in CASES.items()}

    setup_cache.timeout = 1800

    def track_time_of_a_gigabyte(self, costs: dict[str, dict[str, float]], files: str, way: str) -> float:
        return costs[files][way] / costs[files]["gigabytes"]

    track_time_of_a_gigabyte.unit = "s/GB"

    def track_processor_time(self, costs: dict[str, dict[str, float]], files: str, way: str) -> float:
        return costs[files][f"{way}, processor"]

    track_processor_time.unit = "s"

    def track_peak_memory(self, costs: dict[str, dict[str, float]], files: str, way: str) -> float:
        return costs[files][f"{way}, memory"]

    track_peak_memory.unit = "MB"

    def track_ingest_over_naive(self, costs: dict[str, dict[str, float]], files: str) -> float:
        return costs[files]["ingest / naive"]

    track_ingest_over_naive.params = [tuple(CASES)]
    track_ingest_over_naive.param_names = ["files"]
    track_ingest_over_naive.unit = "ratio"


def compare_ways(files: Files) -> dict[str, float]:
    """Let both ways take turns, each in a process of its own."""
    place = prepare(files, find_folder())
    children = {way: Child(serve, way, place, json.dumps(asdict(files))) for way in WAYS}
    peaks = dict.fromkeys(WAYS, 0.0)

    def ask(way: str) -> Times:
        wall, processor, kernel, peaks[way] = children[way].ask()
        return wall, processor, kernel

    found = alternate(5, {way: lambda way=way: ask(way) for way in WAYS})
    for child in children.values():
        child.close()
    costs = {"gigabytes": sum(path.stat().st_size for path in place.glob("*.fits")) / 1e9}
    for way in WAYS:
        costs |= {way: median(found, way), f"{way}, processor": median(found, way, 1), f"{way}, memory": peaks[way]}
    return costs | {"ingest / naive": ratio(found, "ingest", "naive")}


def serve(way: str, place: str, files: str) -> None:
    """Run one way for each line of input; answer with wall clock and processor time [s] and peak memory [MB]."""
    run = {"ingest": ingest_files, "naive": write_naively}[way]
    for _ in sys.stdin:
        with scratch() as folder:
            output = folder / "session.zarr"
            times = take_time(lambda output=output: run(Path(place), Files(**json.loads(files)), output))
        print(json.dumps([*times, read_peak_memory()]), flush=True)


def prepare(files: Files, folder: Path) -> Path:
    """Make the files and the profile, once."""
    place = folder / files.name
    if not place.exists():
        partial = folder / f"{files.name}.part"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        is_table = files.reader == "table"
        (make_table if is_table else make_images)(files, partial)
        data, dumps = ('data = "DATA"', "scan") if is_table else ("", "row")
        text = PROFILE.format(reader=files.reader, hdu=int(is_table), data=data, dumps=dumps)
        (partial / "profile.toml").write_text(text)
        partial.rename(place)
    return place


def make_counts(files: Files, seed: int) -> np.ndarray:
    """Make counts of a receiver of uneven gain, with the noise of 1e-3 of a second and a MHz, [dump][channel]."""
    rng = np.random.default_rng(seed)
    gain = 1e7 * (1.0 + 0.3 * np.sin(np.arange(files.channels) / 300.0))
    return (gain * (1.0 + 1e-3 * rng.normal(size=(files.dumps, files.channels)))).astype(">f4")


def make_table(files: Files, place: Path) -> None:
    """Write a table: the pixels of a dump after each other, dump after dump."""
    from astropy.io import fits

    row = [("SCAN", ">i4"), ("PIXEL", ">i4"), ("PHASE", "S4"), ("MJD", ">f8"), ("PAD", f"S{COLUMNS}")]
    table = np.zeros((files.subscans, files.dumps, files.pixels), [*row, ("DATA", ">f4", (files.channels,))])
    table["SCAN"], table["PIXEL"] = 1, np.arange(files.pixels)
    for subscan in range(files.subscans):
        table["PHASE"][subscan] = b"ON" if subscan % 2 else b"OFF"
        table["MJD"][subscan] = 59000.0 + (subscan * 2 * files.dumps + np.arange(files.dumps)[:, np.newaxis]) / 86400.0
        for pixel in range(files.pixels):
            table["DATA"][subscan, :, pixel] = make_counts(files, subscan * files.pixels + pixel)
    fits.BinTableHDU(table.ravel()).writeto(place / "table.fits")


def make_images(files: Files, place: Path) -> None:
    """Write a file for each pixel and subscan, with as many cards as a telescope writes."""
    from astropy.io import fits

    for subscan in range(files.subscans):
        for pixel in range(files.pixels):
            unit = fits.PrimaryHDU(make_counts(files, subscan * files.pixels + pixel))
            time_of = 59000.0 + (subscan * 2 * files.dumps + 0.5 * files.dumps) / 86400.0
            cards = {"SCAN": 1, "PIXEL": pixel, "PHASE": "ON" if subscan % 2 else "OFF", "MJD": time_of}
            unit.header.update(cards | {f"KEY{k}": k * 0.1 for k in range(30)})
            unit.writeto(place / f"{subscan:03d}_{pixel:02d}.fits")


def ingest_files(place: Path, files: Files, output: Path) -> None:
    """Ingest the files."""
    from cal_pipeline.ingest import ingest

    ingest(place, output, profile=place / "profile.toml")


def write_naively(place: Path, files: Files, output: Path) -> None:
    """Read everything, round, put it in order, write."""
    import zarr
    from astropy.io import fits

    shape = (files.channels, files.dumps, files.pixels, 1, files.subscans)
    counts = np.empty(shape, np.int32)
    if files.reader == "table":
        data = fits.getdata(place / "table.fits", 1)["DATA"]
        data = data.reshape(files.subscans, files.dumps, files.pixels, 1, files.channels)
        counts[...] = np.rint(data).transpose(4, 1, 2, 3, 0)
    else:
        for subscan in range(files.subscans):
            for pixel in range(files.pixels):
                counts[:, :, pixel, 0, subscan] = np.rint(fits.getdata(place / f"{subscan:03d}_{pixel:02d}.fits")).T
    chunks = (min(files.channels, 2048), *shape[1:4], 1)
    array = zarr.create_array(output, name="scan_000001/source/data_5d", shape=shape, chunks=chunks, dtype="i4")
    array[...] = counts
