"""FITS files of an invented telescope, and the profile that declares them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

PROFILE = """\
schema = 1
name = "barge"
reader = "table"
files = ["*.fits"]
hdu = "COUNTS"
data = "DATA"
counts = "i32"
file_name = '(?P<number>[0-9]+)_.*'
[match]
OBSERVER = "crew"
[scan]
number = "SCAN"
source = "OBJECT"
telescope = { value = "BARGE" }
instmode = { value = "TP" }
[map]
mjd = "TIME"
exptime = "EXPOSURE"
elevation = { key = "EL", unit = "deg" }
azimuth = { value = 1.5 }
pamb = { value = 560.0 }
tamb = { value = 270.0 }
signal_freq = { value = 90e9 }
freq_res = { value = 1e6 }
thot = { value = 290.0 }
tcold = { value = 77.0 }
[pixel]
receiver = "BEAM"
id = "BARGE_PX{receiver:02d}"
[[phase]]
when = { PHASE = "T*" }
is = "IGNORE"
[[phase]]
when = { PHASE = "A" }
is = "ON"
[[phase]]
when = { PHASE = "B" }
is = "OFF"
[[phase]]
when = { PHASE = "H" }
is = "HOT"
[[phase]]
when = { PHASE = "C" }
is = "COLD"
[time]
scale = "utc"
is = "middle"
"""

CHANNELS = 16

WHOLE = "HCBAAB"
"""Phases of a scan with its loads."""


def write_profile(folder: Path, old: str = "", new: str = "") -> Path:
    """Write the profile, with one text replaced by another."""
    path = folder / "barge.toml"
    path.write_text(PROFILE.replace(old, new) if old else PROFILE)
    return path


def write_files(
    folder: Path, *numbers: int, phases: str = "BA", source: str = "M 82", value: float = 0.0, suffix: str = ""
) -> list[Path]:
    """Write a file for each scan, with two beams; `value` is added to all counts."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write_file(folder / f"{number:06d}_barge{suffix}.fits", number, phases, source, value) for number in numbers
    ]


def write_file(path: Path, number: int, phases: str = "BA", source: str = "M 82", value: float = 0.0) -> Path:
    """Write the file of a scan."""
    beams, subscans = np.meshgrid(np.arange(2), np.arange(len(phases)))
    beams, subscans = beams.ravel(), subscans.ravel()
    data = 1000.0 * number + 100.0 * subscans[:, None] + 50.0 * beams[:, None] + np.arange(CHANNELS) + value
    time = 59000.0 + 0.01 * number + 1e-4 * subscans
    column = fits.Column
    table = fits.BinTableHDU.from_columns(
        [
            column("SCAN", "J", array=np.full(len(beams), number)),
            column("OBJECT", "16A", array=np.full(len(beams), source)),
            column("OBSERVER", "8A", array=np.full(len(beams), "crew")),
            column("PHASE", "1A", array=np.array(list(phases))[subscans]),
            column("BEAM", "J", array=beams),
            column("TIME", "D", array=time),
            column("EXPOSURE", "D", array=np.full(len(beams), 5.0)),
            column("EL", "D", array=np.full(len(beams), 45.0)),
            column("DATA", f"{CHANNELS}E", array=data.astype(">f4")),
        ],
        name="COUNTS",
    )
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)
    return path


def truncate(path: Path) -> Path:
    """Cut a file in the middle of its table."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 2880])
    return path


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return time of modification and content of a folder, its parent, and all that is in them."""
    found = {}
    for path in (folder.parent, *folder.parent.rglob("*")):
        found[str(path)] = (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
    return found
