"""Cost of decoding, one multiplication, encoding and writing: a lower bound for any calibration.

    python benchmarks/floor.py session.zarr [--scan 1] [--threads 2] [--precision radiometric] [--zarr] [--repeat 5]

Every chunk of counts that a calibration needs is read and decoded. Chunks of ONs are multiplied by
a constant, encoded with the codec of L1, written with a chunk of flags each, and fsynced. Nothing
is calibrated, and zarr-python is used only with ``--zarr``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs import Blosc, Zstd
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

FACTOR = 1.2345678e-3
"""Not a power of two, whose products with integers compress, unlike antenna temperatures."""
SPECTRA_CODEC = Blosc("lz4", 1, Blosc.BITSHUFFLE)


def direct_floor(session: Path, scan: int, output: Path, threads: int, precision: str = "lossless") -> float:
    """Measure the time for the chunks of a scan with direct calls of the codecs [s]."""
    decode = Zstd().decode
    flags_codec = Zstd(level=-1, checksum=True)
    root = session / f"scan_{scan:06d}"
    jobs, n_pixels, shift = _jobs(root), _pixels(root), _shift(root, precision)
    os.sync()
    start = time.perf_counter()
    output.mkdir(parents=True)

    def work(job: tuple[int, Path, bool]) -> None:
        number, chunk, is_on = job
        values = _scaled(np.frombuffer(decode(chunk.read_bytes()), np.int32), n_pixels, shift if is_on else None)
        if is_on:
            for file, data in (
                (output / f"{number}", _encoded(values)),
                (output / f"{number}_flags", flags_codec.encode(np.zeros(values.size, np.uint16))),
            ):
                file.write_bytes(data)
                disk.submit(_to_disk, file)

    with ThreadPoolExecutor(1) as disk, ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, jobs))
    return time.perf_counter() - start


def zarr_floor(session: Path, scan: int, output: Path, threads: int, precision: str = "lossless") -> float:
    """Measure the time for the chunks of a scan through zarr-python [s]."""
    root = session / f"scan_{scan:06d}"
    counts = zarr.open_array(root / "source" / "data_5d", mode="r")
    loads = zarr.open_array(root / "calibration" / "data_5d", mode="r")
    ons = _ons(root)
    codecs = [BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"), Crc32cCodec()]
    shape = (*counts.shape[:4], len(ons))
    n_pixels, shift = _pixels(root), _shift(root, precision)
    os.sync()
    start = time.perf_counter()
    spectra = zarr.create_array(output, name="s", shape=shape, chunks=counts.chunks, dtype="f8", compressors=codecs)
    config = {"write_empty_chunks": True}
    flags = zarr.create_array(
        output,
        name="f",
        shape=shape,
        chunks=counts.chunks,
        dtype="u2",
        compressors=[ZstdCodec(level=-1, checksum=True)],
        config=config,
    )

    def work(job: tuple[zarr.Array, int, int, int | None]) -> None:
        array, first, subscan, on = job
        channels = slice(first, first + array.chunks[0])
        block = array[channels, ..., subscan]
        values = _scaled(block.reshape(-1), n_pixels, None if on is None else shift)
        if on is not None:
            spectra[channels, ..., on] = values.reshape(block.shape)
            flags[channels, ..., on] = np.zeros(block.shape, np.uint16)

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


def _scaled(counts: np.ndarray, n_pixels: int, shift: float | None) -> np.ndarray:
    """Scale, and round by `shift`, dump differences, which compress like antenna temperatures."""
    values = np.zeros(counts.size)
    np.multiply(counts[n_pixels:] - counts[:-n_pixels], FACTOR, out=values[n_pixels:])
    if shift:
        values += shift
        values -= shift
    return values


def _pixels(root: Path) -> int:
    return int(np.prod(_metadata(root / "source" / "data_5d")["shape"][2:4]))


def _metadata(array: Path) -> dict[str, Any]:
    return json.loads((array / "zarr.json").read_text())


def _shift(root: Path, precision: str) -> float | None:
    """Compute the constant whose addition and subtraction rounds to at most 2 % of the noise.

    None for the precision ``lossless``.
    """
    if precision == "lossless":
        return None
    file = next(file for _, file, is_on in _jobs(root) if is_on)
    values = _scaled(np.frombuffer(Zstd().decode(file.read_bytes()), np.int32), _pixels(root), None)
    noise = 1.4826 * np.median(np.abs(values)) / np.sqrt(2.0)
    return 1.5 * 2.0 ** (52 + np.floor(np.log2(0.02 * noise)))


def _encoded(values: np.ndarray) -> bytes:
    data = bytes(SPECTRA_CODEC.encode(values))
    return data + google_crc32c.value(data).to_bytes(4, "little")


def _jobs(root: Path) -> list[tuple[int, Path, bool]]:
    """Number, file and whether it is of an ON, of each chunk."""
    found = []
    ons = _ons(root)
    for group in ("calibration", "source"):
        array = root / group / "data_5d"
        metadata = _metadata(array)
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
            measure(given.session, given.scan, Path(folder) / f"floor{k}", given.threads, given.precision)
            for k in range(given.repeat)
        ]
    print(f"{statistics.median(times):.3f} s   ({min(times):.3f} to {max(times):.3f})")


if __name__ == "__main__":
    main()
