"""What decoding, one multiplication, encoding and writing cost alone: no calibration is faster than that.

    python benchmarks/floor.py session.zarr [--scan 1] [--threads 2] [--precision radiometric] [--zarr] [--repeat 5]

Every chunk of counts that calibration needs is read and decoded; those of the ONs are multiplied, encoded with the
codec of L1 and written, with a chunk of flags each, and brought to the disk. Nothing is computed and Zarr is not used;
with ``--zarr`` the same goes through zarr-python.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import google_crc32c
import numpy as np
import zarr
from numcodecs import Blosc, Zstd
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

FACTOR = 2.0**-20


def direct_floor(session: Path, scan: int, output: Path, threads: int, precision: str = "lossless") -> float:
    """Seconds for the chunks of a scan, straight through the codecs."""
    decode = Zstd().decode
    encode = _encoder(precision)
    flags_codec = Zstd(level=-1, checksum=True)
    jobs = _jobs(session / f"scan_{scan:06d}")
    shutil.rmtree(output, ignore_errors=True)
    os.sync()
    start = time.perf_counter()
    output.mkdir(parents=True)

    def work(job: tuple[int, Path, bool]) -> list[Path]:
        number, chunk, is_on = job
        counts = np.frombuffer(decode(chunk.read_bytes()), np.int32)
        values = counts * FACTOR
        if not is_on:
            return []
        if precision == "radiometric":
            values += 1.5 * 2.0**43
            values -= 1.5 * 2.0**43
        files = [output / f"{number}", output / f"{number}_flags"]
        files[0].write_bytes(encode(values))
        files[1].write_bytes(flags_codec.encode(np.zeros(values.size, np.uint16)))
        return files

    with ThreadPoolExecutor(threads) as pool:
        written = [file for files in pool.map(work, jobs) for file in files]
        list(pool.map(_to_disk, written))
    return time.perf_counter() - start


def zarr_floor(session: Path, scan: int, output: Path, threads: int, precision: str = "lossless") -> float:
    """The same through zarr-python."""
    root = session / f"scan_{scan:06d}"
    counts = zarr.open_array(root / "source" / "data_5d", mode="r")
    loads = zarr.open_array(root / "calibration" / "data_5d", mode="r")
    ons = _ons(root)
    codec = ZstdCodec(level=-1, checksum=True)
    codecs = (
        [codec] if precision == "lossless" else [BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"), Crc32cCodec()]
    )
    shape = (*counts.shape[:4], len(ons))
    shutil.rmtree(output, ignore_errors=True)
    os.sync()
    start = time.perf_counter()
    spectra = zarr.create_array(output, name="s", shape=shape, chunks=counts.chunks, dtype="f8", compressors=codecs)
    config = {"write_empty_chunks": True}
    flags = zarr.create_array(
        output, name="f", shape=shape, chunks=counts.chunks, dtype="u2", compressors=[codec], config=config
    )

    def work(job: tuple[zarr.Array, int, int, int | None]) -> None:
        array, first, subscan, on = job
        channels = slice(first, first + array.chunks[0])
        values = array[channels, ..., subscan] * FACTOR
        if on is not None:
            if precision == "radiometric":
                values += 1.5 * 2.0**43
                values -= 1.5 * 2.0**43
            spectra[channels, ..., on] = values
            flags[channels, ..., on] = np.zeros(values.shape, np.uint16)

    jobs = [
        (array, first, subscan, ons.index(subscan) if array is counts and subscan in ons else None)
        for array in (loads, counts)
        for subscan in range(array.shape[4])
        for first in range(0, array.shape[0], array.chunks[0])
    ]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, jobs))
        list(pool.map(_to_disk, (file for file in output.rglob("*") if file.is_file())))
    return time.perf_counter() - start


def _encoder(precision: str) -> Callable[[np.ndarray], bytes]:
    if precision == "lossless":
        return Zstd(level=-1, checksum=True).encode
    blosc = Blosc("lz4", 1, Blosc.BITSHUFFLE)

    def encode(values: np.ndarray) -> bytes:
        data = bytes(blosc.encode(values))
        return data + google_crc32c.value(data).to_bytes(4, "little")

    return encode


def _jobs(root: Path) -> list[tuple[int, Path, bool]]:
    """Number, file and whether it is of an ON, of each chunk."""
    found = []
    ons = _ons(root)
    for group in ("calibration", "source"):
        array = root / group / "data_5d"
        metadata = json.loads((array / "zarr.json").read_text())
        chunks = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        grid = [range(-(-n // c)) for n, c in zip(metadata["shape"], chunks, strict=True)]
        if chunks[4] != 1:
            raise ValueError(f"{array}: chunks of {chunks[4]} subscans, expected 1")
        for subscan in grid[4]:
            is_on = group == "source" and subscan in ons
            found += [(array / "c" / f"{channel}/0/0/0/{subscan}", is_on) for channel in grid[0]]
    return [(number, file, is_on) for number, (file, is_on) in enumerate(found)]


def _ons(root: Path) -> list[int]:
    phases = zarr.open_array(root / "source" / "sobsmode", mode="r")[...]
    return [k for k, phase in enumerate(phases) if str(phase).endswith("ON")]


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("session", type=Path)
    parser.add_argument("--scan", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--precision", choices=["lossless", "radiometric"], default="lossless")
    parser.add_argument("--zarr", action="store_true")
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    measure = zarr_floor if given.zarr else direct_floor
    with tempfile.TemporaryDirectory(dir=given.session.parent) as folder:
        times = [
            measure(given.session, given.scan, Path(folder) / "floor", given.threads, given.precision)
            for _ in range(given.repeat)
        ]
    print(f"{statistics.median(times):.3f} s   ({min(times):.3f} to {max(times):.3f})")


if __name__ == "__main__":
    main()
