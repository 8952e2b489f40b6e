"""Sessions that the benchmarks run on; each is simulated once into the folder of the benchmarks."""

from __future__ import annotations

from pathlib import Path

from cal_pipeline.simulate import Otf, Scan, TotalPower, preset, simulate

PAIRS = ("OFF", "ON")


def _make(path: Path, name: str, **settings: object) -> Path:
    if not path.exists():
        draft = path.with_name("draft.zarr")
        simulate(preset(name, **settings), draft, overwrite=True)
        draft.rename(path)
    return path


def large(folder: Path) -> Path:
    """One scan of 110 million samples (440 MB): 16384 channels, 20 dumps, 14 pixels, 24 subscans."""
    sequence = TotalPower(pattern=PAIRS, cycles=12, dumps=20)
    return _make(folder / "large.zarr", "sofia_lfa", channels=16384, sequence=sequence)


def medium(folder: Path) -> Path:
    """One scan of 184 MB: 16384 channels, 20 dumps, 7 pixels, 20 subscans."""
    sequence = TotalPower(pattern=PAIRS, cycles=10, dumps=20)
    return _make(folder / "medium.zarr", "sofia_hfa", channels=16384, sequence=sequence)


def several(folder: Path) -> Path:
    """Eight scans of 92 MB."""
    sequence = TotalPower(pattern=PAIRS, cycles=5, dumps=20)
    scans = (Scan(),) * 8
    return _make(folder / "several.zarr", "sofia_hfa", channels=16384, sequence=sequence, scans=scans)


def small(folder: Path) -> Path:
    """Two hundred scans of 1024 channels, 4 dumps, 7 pixels and 7 subscans."""
    sequence = Otf(rows=4, dumps=4, rows_per_off=2)
    return _make(folder / "small.zarr", "sofia_hfa", channels=1024, sequence=sequence, scans=(Scan(),) * 200)


def huge(folder: Path) -> Path:
    """One scan of 40 GB in memory; all dumps of a subscan but the first are missing, so that it fits a disk."""
    from cal_pipeline.simulate import Faults, MissingDumps

    dumps = 2800
    faults = Faults(missing=tuple(MissingDumps(s, dumps=tuple(range(1, dumps))) for s in range(31)))
    sequence = TotalPower(pattern=PAIRS, cycles=15, dumps=dumps, exptime=0.1)
    settings = {"channels": 16384, "sequence": sequence, "faults": faults, "chunks": (256, dumps, 7, 1, 1)}
    return _make(folder / "huge.zarr", "sofia_hfa", **settings)
