"""Reading an L1 store."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zarr

from cal_pipeline.errors import StoreError

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
    path : Path
        Where it is.
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
        self.path = Path(path).absolute()
        if not (self.path / "zarr.json").is_file():
            raise StoreError(f"{self.path} is no L1 store (no zarr.json in it)")
        self.numbers = sorted(
            int(match[1]) for item in self.path.iterdir() if (match := re.fullmatch(r"scan_(\d{6})", item.name))
        )
        listed = self.path / "failures.json"
        self.failures: list[dict[str, Any]] = json.loads(listed.read_text(encoding="utf-8")) if listed.is_file() else []

    def attributes(self, number: int) -> dict[str, Any]:
        """Attributes of a scan, of its first band where it has several."""
        path = self.path / f"scan_{number:06d}"
        bands = sorted(path.glob("band_*"))
        return dict(zarr.open_group(bands[0] if bands else path, mode="r").attrs)

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
        if not (self.path / group / "zarr.json").is_file():
            raise StoreError(f"{self.path} has no {group}; it has scans {self.numbers}")
        dataset: xarray.Dataset = xarray.open_zarr(self.path, group=group, consolidated=False, chunks=None)
        return dataset

    def __repr__(self) -> str:
        return f"<CalibratedSession {self.path}: {len(self.numbers)} scans, {len(self.failures)} failed>"
