"""Simulated session as a folder of FITS files: one file for each subscan and pixel."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from cal_pipeline.heterodyne.simulate.config import Receiver, SessionConfig
from cal_pipeline.heterodyne.simulate.errors import require
from cal_pipeline.heterodyne.simulate.fits_cards import BLOCK, format_card, join_cards
from cal_pipeline.heterodyne.simulate.fits_headers import (
    CREATOR,
    Dialect,
    image_cards,
    offset_cards,
    pixel_cards,
    scan_cards,
    subscan_cards,
)
from cal_pipeline.heterodyne.simulate.layout import band_attributes, coordinates, scan_attributes
from cal_pipeline.heterodyne.simulate.plan import ScanPlan

LOAD_ORDER = {"HOT": 0, "COLD": 1, "COL": 1, "SKY": 2, "ZERO": 3}
"""Order in which L0 holds the loads."""

_ARRAY = re.compile(r"(?!.*-B\d+$)[A-Za-z0-9][A-Za-z0-9_+.-]*")
"""Names of arrays that a file name can hold; -B0, -B1 … is the band."""


@dataclass(frozen=True, eq=False)
class FitsFolder:
    """Folder of FITS files to be written beside a session.

    Parameters
    ----------
    path : Path
        The folder.
    config : SessionConfig
        Configuration of the simulation.
    plans : list of ScanPlan
        The scans.
    dialect : Dialect
        Keywords of the telescope.

    Examples
    --------
    >>> from cal_pipeline.simulate import preset, simulate
    >>> config = preset("ccat_chai", channels=8, pixels=2)
    >>> written = simulate(config, "night.zarr", fits="night_fits")
    >>> sorted(path.name for path in written.fits.iterdir())[:3]
    ['000001_0001_CHAI_PX00.fits', '000001_0001_CHAI_PX01.fits', '000001_0002_CHAI_PX00.fits']
    """

    path: Path
    config: SessionConfig
    plans: list[ScanPlan]
    dialect: Dialect

    def check(self, overwrite: bool) -> None:
        """Refuse what the files cannot give back as it is in L0, and folders with other contents.

        Parameters
        ----------
        overwrite : bool
            Files that the simulator wrote earlier may be replaced.

        Raises
        ------
        SimulationError
            With what is refused and a remedy.
        """
        check_folder(self.path, overwrite)
        require(
            self.config.dtype == "int32",
            f"dtype {self.config.dtype!r}: FITS folders hold counts of a spectrometer; choose 'int32'",
        )
        require(not self.config.raw_headers, "raw_headers: FITS folders hold the headers themselves; leave it out")
        for plan in self.plans:
            _check_loads(plan)
            for receiver in plan.receivers:
                _check_arrays(receiver)
        for plan in self.plans:
            for file in self._files(plan):
                file.header(0, 0)

    def write(self, session: zarr.Group) -> int:
        """Write the files of all scans from the counts of the session.

        The folder appears when it is complete, and takes the place of one that was checked before.

        Parameters
        ----------
        session : zarr.Group
            Root of the session.

        Returns
        -------
        int
            Number of files.
        """
        target = Path(os.path.realpath(self.path))
        unfinished = target.with_name(f".{os.getpid()}.{target.name}")
        unfinished.mkdir(parents=True)
        try:
            number = sum([file.write(unfinished, session) for plan in self.plans for file in self._files(plan)])
            _remove_folder(target)
            unfinished.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return number

    def _files(self, plan: ScanPlan) -> Iterator[SubscanFiles]:
        in_time = [*plan.calibration, *plan.observed]
        for band, receiver in enumerate(plan.receivers):
            attributes = scan_attributes(self.config, plan) | band_attributes(receiver)
            level, suffix = (f"/band_{band}", f"-B{band}") if len(plan.receivers) > 1 else ("", "")
            for group, subscans in plan.groups().items():
                arrays = coordinates(self.config, plan, receiver, group, subscans)
                values = {name: array for name, (_, array) in arrays.items()}
                counts = f"{plan.name}{level}/{group}/data_5d"
                first = 1 + in_time.index(subscans[0])
                for index, subscan in enumerate(subscans):
                    yield SubscanFiles(
                        self.dialect, receiver, attributes, values, counts, index, first + index, suffix,
                        subscan.phase.dumps,
                    )  # fmt: skip


def check_folder(path: Path, overwrite: bool) -> None:
    """Refuse a folder that is there, unless all of it is the simulator's and may be replaced.

    Parameters
    ----------
    path : Path
        The folder.
    overwrite : bool
        Files of the simulator may be replaced.

    Raises
    ------
    SimulationError
        With what is there.
    """
    if not path.exists():
        return
    require(path.is_dir(), f"{path} exists and is no folder, so it is never replaced; choose another name")
    entries = sorted(path.iterdir())
    require(
        overwrite or not entries, f"{path} exists; choose another name, or give --overwrite to replace its FITS files"
    )
    foreign = next((entry for entry in entries if not _is_ours(entry)), None)
    require(
        foreign is None, f"{foreign} was not written by {CREATOR}, so {path} is never replaced; choose another name"
    )


def _is_ours(path: Path) -> bool:
    """Tell whether the simulator wrote a file, by a card in the first block of its header."""
    if path.suffix != ".fits" or path.is_symlink() or not path.is_file():
        return False
    with open(path, "rb") as file:
        return f"CREATOR = '{CREATOR}'".encode() in file.read(BLOCK)


def _remove_folder(path: Path) -> None:
    """Remove files of the simulator, and the folder if it is empty then; an error tells that it is not."""
    if path.exists():
        for file in filter(_is_ours, list(path.iterdir())):
            file.unlink()
        path.rmdir()


def _check_loads(plan: ScanPlan) -> None:
    places = [LOAD_ORDER[name] for name in plan.loads.pattern]
    require(
        places == sorted(places),
        f"scan {plan.number}: loads in the order {', '.join(plan.loads.pattern)}; L0 made of FITS files has them in "
        "the order HOT, COLD or COL, SKY, ZERO",
    )


def _check_arrays(receiver: Receiver) -> None:
    names = list(receiver.arrays)
    for name in names:
        require(
            _ARRAY.fullmatch(name) is not None,
            f"{receiver.name}: array {name!r} cannot be part of a file name; it may have letters, digits and _ + . -, "
            "and no -B0, -B1 … at its end",
        )
    require(
        names == sorted(set(names), key=_sorting_key(names)),
        f"{receiver.name}: arrays {', '.join(names)}; L0 made of FITS files has them sorted by name, each once",
    )


def _sorting_key(names: list[str]) -> Any:
    try:
        [float(name) for name in names]
    except ValueError:
        return str
    return float


@dataclass(frozen=True, eq=False)
class SubscanFiles:
    """Files of one subscan of one band, one for each pixel.

    Parameters
    ----------
    dialect : Dialect
        Keywords of the telescope.
    receiver : Receiver
        Receiver of the band.
    attributes : mapping
        Attributes of scan and band.
    values : mapping of str to ndarray
        Small arrays of the group.
    counts : str
        Path of the array of counts in the session.
    index, number : int
        Its place in the group, and its number in the scan from 1 on, in order of time.
    suffix : str
        What file names have for the band after the array.
    dumps : int
        Dumps of the subscan.
    """

    dialect: Dialect
    receiver: Receiver
    attributes: Mapping[str, Any]
    values: Mapping[str, NDArray[Any]]
    counts: str
    index: int
    number: int
    suffix: str
    dumps: int

    def name(self, r: int, a: int) -> str:
        """Return the name of the file of a pixel."""
        scan = f"{self.attributes['scan_number']:06d}_{self.number:04d}"
        return f"{scan}_{self.receiver.arrays[a]}{self.suffix}_PX{r:02d}.fits"

    def header(self, r: int, a: int) -> bytes:
        """Return the header of the file of a pixel."""
        pixel = pixel_cards(self.values, r, a, self.index, self.dialect)
        return join_cards([*self._common, *(format_card(*card) for card in pixel)])

    @cached_property
    def _common(self) -> list[str]:
        cards = image_cards(self.receiver.channels, self.dumps) + scan_cards(self.attributes)
        cards += [("SUBSCAN", self.number, "of the scan, from 1 on")]
        cards += subscan_cards(self.values, self.index, self.dumps)
        cards += offset_cards(self.values, self.index, self.dialect)
        return [format_card(*card) for card in cards]

    def write(self, folder: Path, session: zarr.Group) -> int:
        """Write the files and return their number."""
        counts: Any = session[self.counts]
        # [C,D,R,A] to [R,A,D,C]: each file then is contiguous.
        pixels = np.ascontiguousarray(counts[..., self.index].transpose(2, 3, 1, 0), dtype=">i4")
        padding = bytes(-pixels[0, 0].nbytes % BLOCK)
        for r, a in np.ndindex(pixels.shape[:2]):
            with open(folder / self.name(r, a), "xb") as file:
                file.write(self.header(r, a))
                file.write(pixels[r, a].data)
                file.write(padding)
        return int(pixels.shape[0] * pixels.shape[1])
