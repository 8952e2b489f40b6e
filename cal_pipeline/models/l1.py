"""Reading an L1 store."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cal_pipeline.errors import StoreError
from cal_pipeline.models.chunks import group_attributes
from cal_pipeline.models.storage import LocalPlace, open_place

if TYPE_CHECKING:
    import xarray


class CalibratedSession:
    """An L1 store.

    Parameters
    ----------
    path : str or Path
        The store.

    Attributes
    ----------
    place : Place
        Where it is.
    path : Path or str
        The folder, or the address.
    numbers : list of int
        Scans it holds, ascending.
    failures : list of dict
        Scans that could not be calibrated: ``scan_number``, ``step``, ``error_class``, ``message``.

    Raises
    ------
    StoreError
        If there is no such store.
    """

    def __init__(self, path: str | Path) -> None:
        self.place = open_place(path)
        self._is_local = isinstance(self.place, LocalPlace)
        self.path: Any = self.place.path if isinstance(self.place, LocalPlace) else self.place.name
        if self.place.get("zarr.json") is None:
            raise StoreError(f"{self.path} is no L1 store (no zarr.json in it)")
        self.numbers = sorted(
            int(match[1])
            for name in self.place.members()
            if (match := re.fullmatch(r"scan_(\d{6})", name)) and self.place.exists(f"{name}/zarr.json")
        )
        self.failures: list[dict[str, Any]] = json.loads(self.place.get("failures.json") or b"[]")

    def attributes(self, number: int) -> dict[str, Any]:
        """Attributes of a scan, of its first band where it has several."""
        name, *_ = self.bands(number)
        return group_attributes(self.place, name)

    def bands(self, number: int) -> list[str]:
        """Paths of the bands of a scan; that of the scan where it has but one."""
        scan = f"scan_{number:06d}"
        if not self.place.exists(f"{scan}/zarr.json"):
            raise StoreError(f"{self.path} has no scan {number}; it has scans {self.numbers}")
        bands = [int(match[1]) for name in self.place.members(scan) if (match := re.fullmatch(r"band_(\d+)", name))]
        return [f"{scan}/band_{band}" for band in sorted(bands)] or [scan]

    def open_scan(self, number: int, band: int | None = None) -> xarray.Dataset:
        """Open a scan, lazily.

        Parameters
        ----------
        number : int
            Scan number.
        band : int, optional
            Band of a scan with several.

        Returns
        -------
        xarray.Dataset
        """
        import xarray

        group = f"scan_{number:06d}" + (f"/band_{band}" if band is not None else "")
        if not self.place.exists(f"{group}/zarr.json"):
            raise StoreError(f"{self.path} has no {group}; it has scans {self.numbers}")
        where, inner = (self.path, group) if self._is_local else (self.place.below(group).as_zarr(), None)
        dataset: xarray.Dataset = xarray.open_zarr(where, group=inner, consolidated=False, chunks=None)
        return dataset

    def __repr__(self) -> str:
        return f"<CalibratedSession {self.path}: {len(self.numbers)} scans, {len(self.failures)} failed>"
