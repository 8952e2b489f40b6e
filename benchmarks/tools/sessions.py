"""Sessions that the benchmarks run on, each simulated once into the folder of the benchmarks."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

from .measure import find_folder, is_tiny

PAIRS = ("OFF", "ON")


def _channels(number: int) -> int:
    return number // 64 if is_tiny() else number


def _make(name: str, preset_name: str, **settings: Any) -> Path:
    """Simulate a session unless it is there; another process that makes it is waited for."""
    from cal_pipeline.simulate import preset, simulate

    folder = find_folder()
    path, draft = folder / f"{name}.zarr", folder / f"{name}_draft.zarr"
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            written = simulate(preset(preset_name, **settings), draft, overwrite=True)
            shutil.rmtree(written.truth)
            draft.rename(path)
    return path


def _link_scans(source: Path, name: str, number: int) -> Path:
    """Make a session of `number` scans whose files are hard links to those of a shorter one, in turn."""
    path, draft = source.with_name(f"{name}.zarr"), source.with_name(f"{name}_draft.zarr")
    if path.exists():
        return path
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(source, draft, copy_function=os.link)
    scans = sorted(source.glob("scan_*"))
    for index in range(len(scans), number):
        copy = draft / f"scan_{index + 1:06d}"
        shutil.copytree(scans[index % len(scans)], copy, copy_function=os.link)
        metadata = json.loads((copy / "zarr.json").read_text())
        metadata["attributes"]["scan_number"] = index + 1
        # A link would change the original, too.
        (copy / "zarr.json").unlink()
        (copy / "zarr.json").write_text(json.dumps(metadata))
    draft.rename(path)
    return path


def three() -> Path:
    """Three scans of 184 MB: 16384 channels, 20 dumps, 7 pixels, 20 subscans."""
    from cal_pipeline.simulate import Scan, TotalPower

    sequence = TotalPower(pattern=PAIRS, cycles=10, dumps=20)
    return _make("three", "sofia_hfa", channels=_channels(16384), sequence=sequence, scans=(Scan(),) * 3)


def night() -> Path:
    """Fifteen scans of 184 MB: those of `three`, and links to them."""
    return _link_scans(three(), "night", 15)


def drifting() -> Path:
    """Two scans like those of `three` under a gain that drifts by 2 % an hour; the first has loads before and after."""
    from cal_pipeline.simulate import Drift, Scan, TotalPower

    sequence = TotalPower(pattern=PAIRS, cycles=10, dumps=20)
    drift = Drift(gain_per_hour=0.02)
    return _make(
        "drifting", "sofia_hfa", channels=_channels(16384), sequence=sequence, scans=(Scan(),) * 2, drift=drift
    )


def chopped() -> Path:
    """Two chopped maps of 184 MB: 16384 channels, 20 chop phases, 7 pixels, 20 subscans in beams A and B."""
    from cal_pipeline.simulate import OtfChopped, Scan

    sequence = OtfChopped(rows=5, dumps=20)
    return _make("chopped", "sofia_hfa", channels=_channels(16384), sequence=sequence, scans=(Scan(),) * 2)


def small() -> Path:
    """Two hundred scans of 1024 channels, 4 dumps, 7 pixels and 7 subscans."""
    from cal_pipeline.simulate import Otf, Scan

    sequence, number = Otf(rows=4, dumps=4, rows_per_off=2), 5 if is_tiny() else 200
    return _make("small", "sofia_hfa", channels=_channels(1024), sequence=sequence, scans=(Scan(),) * number)


def thousand() -> Path:
    """A thousand small scans: those of `small`, and links to them."""
    return _link_scans(small(), "thousand", 10 if is_tiny() else 1000)


def sized(channels: int, dumps: int, pixels: int, subscans: int) -> Path:
    """One scan of any size, of up to 64 pixels."""
    from cal_pipeline.simulate import TotalPower

    sequence = TotalPower(pattern=PAIRS, cycles=subscans // 2, dumps=dumps)
    name = f"sized_{channels}_{dumps}_{pixels}_{subscans}"
    return _make(name, "ccat_chai", channels=channels, pixels=pixels, sequence=sequence)


def huge() -> Path:
    """One scan of 40 GB in memory: 16384 channels, 2800 dumps, 7 pixels, 31 subscans.

    Simulated are 256 channels without noise; the others are the same files again, so that it fits a disk.
    """
    import zarr

    from cal_pipeline.simulate import TotalPower

    copies, dumps = (2, 28) if is_tiny() else (64, 2800)
    path = find_folder() / "huge.zarr"
    if path.exists():
        return path
    sequence = TotalPower(pattern=(*PAIRS * 15, "OFF"), dumps=dumps, exptime=0.1)
    draft = _make(
        "huge_part", "sofia_hfa", channels=256, sequence=sequence, chunks=(256, dumps, 7, 1, 1), noise=False, lines=()
    )
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
