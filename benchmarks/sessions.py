"""Sessions that the benchmarks run on; each is simulated once into the folder of the benchmarks."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import zarr

from cal_pipeline.simulate import Drift, Otf, Scan, TotalPower, preset, simulate

PAIRS = ("OFF", "ON")


def _make(path: Path, name: str, **settings: object) -> Path:
    if not path.exists():
        draft = path.with_name("draft.zarr")
        simulate(preset(name, **settings), draft, overwrite=True)
        draft.rename(path)
    return path


def large(folder: Path) -> Path:
    """Scan of 110 million samples (440 MB): 16384 channels, 20 dumps, 14 pixels, 24 subscans."""
    sequence = TotalPower(pattern=PAIRS, cycles=12, dumps=20)
    return _make(folder / "large.zarr", "sofia_lfa", channels=16384, sequence=sequence)


def medium(folder: Path) -> Path:
    """One scan of 184 MB: 16384 channels, 20 dumps, 7 pixels, 20 subscans."""
    sequence = TotalPower(pattern=PAIRS, cycles=10, dumps=20)
    return _make(folder / "medium.zarr", "sofia_hfa", channels=16384, sequence=sequence)


def drifting(folder: Path) -> Path:
    """Two scans of 184 MB as in `medium`, whose gain drifts by 2 % an hour: the first has loads before and after."""
    sequence = TotalPower(pattern=PAIRS, cycles=10, dumps=20)
    drift = Drift(gain_per_hour=0.02)
    return _make(
        folder / "drifting.zarr", "sofia_hfa", channels=16384, sequence=sequence, scans=(Scan(),) * 2, drift=drift
    )


def night(folder: Path) -> Path:
    """Forty scans of 92 MB: 16384 channels, 20 dumps, 7 pixels, 10 subscans.

    Eight scans are simulated, 32 are links.
    """
    path, draft = folder / "night.zarr", folder / "night_draft.zarr"
    if not path.exists():
        sequence = TotalPower(pattern=PAIRS, cycles=5, dumps=20)
        _make(draft, "sofia_hfa", channels=16384, sequence=sequence, scans=(Scan(),) * 8)
        for number in range(9, 41):
            copy = draft / f"scan_{number:06d}"
            shutil.copytree(draft / f"scan_{(number - 1) % 8 + 1:06d}", copy, copy_function=os.link)
            metadata = json.loads((copy / "zarr.json").read_text())
            metadata["attributes"]["scan_number"] = number
            (copy / "zarr.json").unlink()
            (copy / "zarr.json").write_text(json.dumps(metadata))
        draft.rename(path)
    return path


def small(folder: Path) -> Path:
    """Two hundred scans of 1024 channels, 4 dumps, 7 pixels and 7 subscans."""
    sequence = Otf(rows=4, dumps=4, rows_per_off=2)
    return _make(folder / "small.zarr", "sofia_hfa", channels=1024, sequence=sequence, scans=(Scan(),) * 200)


def huge(folder: Path) -> Path:
    """One scan of 40 GB in memory: 16384 channels, 2800 dumps, 7 pixels, 31 subscans.

    Simulated are 256 channels without noise; the others are the same files again, so that it fits a
    disk.
    """
    path, copies = folder / "huge.zarr", 64
    if path.exists():
        return path
    draft = folder / "draft.zarr"
    sequence = TotalPower(pattern=(*PAIRS * 15, "OFF"), dumps=2800, exptime=0.1)
    chunks = (256, 2800, 7, 1, 1)
    config = preset("sofia_hfa", channels=256, sequence=sequence, chunks=chunks, noise=False, lines=())
    simulate(config, draft, overwrite=True)
    for group in (draft / "scan_000001").iterdir():
        if group.is_dir():
            for name, change in (("freq_res", 1.0 / copies), ("ref_channel", copies)):
                array = zarr.open_array(group / name, mode="r+")
                array[...] = array[...] * change
            counts = group / "data_5d"
            metadata = json.loads((counts / "zarr.json").read_text())
            metadata["shape"][0] *= copies
            (counts / "zarr.json").write_text(json.dumps(metadata))
            for copy in range(1, copies):
                shutil.copytree(counts / "c" / "0", counts / "c" / str(copy), copy_function=os.link)
    draft.rename(path)
    return path
