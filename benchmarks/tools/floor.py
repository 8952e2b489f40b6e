"""Cost of decoding, one multiplication, encoding and writing: a lower bound for any calibration.

Every chunk of counts that a calibration needs is read and decoded. Chunks of ONs are multiplied by a constant, encoded
and written, with a chunk of empty flags each. Nothing is calibrated and nothing is fsynced; zarr-python takes part in
`through_zarr` only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from .measure import CORES

FACTOR = 1.2345678e-3
"""Not a power of two, whose products with integers compress, unlike antenna temperatures."""

Encode = Callable[[np.ndarray], bytes]


def make_lz4() -> Encode:
    """Make the codec of `spectra` in L1: lz4 with bit shuffling, and a CRC-32C."""
    import google_crc32c
    from numcodecs import Blosc

    codec = Blosc("lz4", 1, Blosc.BITSHUFFLE)

    def encode(values: np.ndarray) -> bytes:
        data = bytes(codec.encode(values))
        return data + google_crc32c.value(data).to_bytes(4, "little")

    return encode


def make_zstd(level: int = 1) -> Encode:
    """Make zstd with its checksum, the codec of the counts and of small arrays."""
    from numcodecs import Zstd

    codec = Zstd(level=level, checksum=True)
    return lambda values: codec.encode(values)


CODECS = {"lz4": make_lz4, "zstd": make_zstd}
"""Codecs of the spectra."""


def run_directly(session: Path, output: Path, codec: str = "lz4", threads: int = CORES) -> None:
    """Send the chunks of all scans of a session straight through the codecs.

    Parameters
    ----------
    session, output : Path
        L0, and a folder to make.
    codec : {"lz4", "zstd"}
        Codec of what is written.
    threads : int
        Threads that share the chunks.
    """
    from numcodecs import Zstd

    decode, encode, encode_flags = Zstd().decode, CODECS[codec](), make_zstd(-1)
    jobs = [job for scan in sorted(session.glob("scan_*")) for job in _list_chunks(scan)]
    output.mkdir(parents=True)

    def work(job: tuple[int, tuple[Path, bool, int]]) -> None:
        number, (chunk, is_on, n_pixels) = job
        counts = np.frombuffer(decode(chunk.read_bytes()), np.int32)
        values = _scale(counts, n_pixels)
        if is_on:
            (output / f"{number}").write_bytes(encode(values))
            (output / f"{number}_flags").write_bytes(encode_flags(np.zeros(values.size, np.uint16)))

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, enumerate(jobs)):
            pass


def run_through_zarr(session: Path, output: Path, threads: int = CORES) -> None:
    """Send the chunks of all scans of a session through zarr-python, with the codecs of L1."""
    for scan in sorted(session.glob("scan_*")):
        _copy_through_zarr(scan, output / scan.name, threads)


def _copy_through_zarr(scan: Path, output: Path, threads: int) -> None:
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

    counts, loads = (zarr.open_array(scan / group / "data_5d", mode="r") for group in ("source", "calibration"))
    ons, n_pixels = _find_ons(scan), int(np.prod(counts.shape[2:4]))
    shape = (*counts.shape[:4], len(ons))
    layout: dict[str, Any] = {"shape": shape, "chunks": counts.chunks, "config": {"write_empty_chunks": True}}
    lz4 = [BloscCodec(typesize=8, cname="lz4", clevel=1, shuffle="bitshuffle"), Crc32cCodec()]
    spectra = zarr.create_array(output / "spectra", dtype="f8", compressors=lz4, **layout)
    flags = zarr.create_array(output / "flags", dtype="u2", compressors=[ZstdCodec(level=-1, checksum=True)], **layout)

    def work(job: tuple[zarr.Array, int, int]) -> None:
        array, first, subscan = job
        channels = slice(first, first + array.chunks[0])
        block = array[channels, ..., subscan]
        values = _scale(block.reshape(-1), n_pixels)
        if array is counts and subscan in ons:
            spectra[channels, ..., ons.index(subscan)] = values.reshape(block.shape)
            flags[channels, ..., ons.index(subscan)] = np.zeros(block.shape, np.uint16)

    jobs = [
        (array, first, subscan)
        for array in (loads, counts)
        for subscan in range(array.shape[4])
        for first in range(0, array.shape[0], array.chunks[0])
    ]
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, jobs):
            pass


def _scale(counts: np.ndarray, n_pixels: int) -> np.ndarray:
    """Scale differences from dump to dump, which compress like antenna temperatures."""
    values = np.zeros(counts.size)
    np.multiply(counts[n_pixels:] - counts[:-n_pixels], FACTOR, out=values[n_pixels:])
    return values


def _list_chunks(scan: Path) -> list[tuple[Path, bool, int]]:
    """List file, whether it is of an ON, and number of pixels, of each chunk of a scan."""
    found, ons = [], _find_ons(scan)
    for group in ("calibration", "source"):
        array = scan / group / "data_5d"
        metadata = json.loads((array / "zarr.json").read_text())
        chunks = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        grid = [range(-(-n // c)) for n, c in zip(metadata["shape"], chunks, strict=True)]
        if chunks[4] != 1 or len(grid[1]) * len(grid[2]) * len(grid[3]) > 1:
            raise ValueError(
                f"{array}: chunks {chunks} of {metadata['shape']}, expected to divide channels and subscans"
            )
        n_pixels = int(np.prod(metadata["shape"][2:4]))
        for subscan in grid[4]:
            is_on = group == "source" and subscan in ons
            found += [(array / "c" / f"{channel}/0/0/0/{subscan}", is_on, n_pixels) for channel in grid[0]]
    return found


def _find_ons(scan: Path) -> list[int]:
    import zarr

    phases = zarr.open_array(scan / "source" / "sobsmode", mode="r")[...]
    return [k for k, phase in enumerate(phases) if str(phase).endswith("ON")]
