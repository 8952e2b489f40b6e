"""Reading an L1 store."""

from __future__ import annotations

import json
import operator
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.metadata import group_attributes
from cal_pipeline.core.store.paths import LocalStorePath, open_store
from cal_pipeline.core.text import count_of, ranges_of
from cal_pipeline.heterodyne.kinds import Kind, identify, identify_store

if TYPE_CHECKING:
    import xarray


class CalibratedSession:
    """L1 store.

    Parameters
    ----------
    path : str or Path
        Folder, ZIP file or URL such as ``s3://bucket/l1.zarr``.

    Attributes
    ----------
    root : StorePath
        Where it is.
    path : Path or str
        Path of a folder; name of a ZIP file; URL.
    numbers : list of int
        Scans it holds, ascending.
    failures : list of dict
        Scans that could not be calibrated: ``scan_number``, ``step``, ``error_class``, ``message``.

    Raises
    ------
    StoreError
        If there is no such store; the message says what is there instead.

    Examples
    --------
    ::

        product = CalibratedSession("l1.zarr")
        for number in product.numbers:
            scan = product.open_scan(number)
    """

    def __init__(self, path: str | Path) -> None:
        self.root = open_store(path)
        self._is_local = isinstance(self.root, LocalStorePath)
        self.path: Any = self.root.path if isinstance(self.root, LocalStorePath) else self.root.name
        metadata = self.root.get("zarr.json")
        if not _says_it_is_l1(metadata):
            found = identify(path) if self._is_local else identify_store(self.root)
            if found.kind is not Kind.PRODUCT:
                raise StoreError(f"{self.path} is no L1 store: it is {found.description}")
        self.numbers = sorted(
            int(match[1])
            for name in self.root.members()
            if (match := re.fullmatch(r"scan_(\d{6})", name)) and self.root.exists(f"{name}/zarr.json")
        )
        self.failures = self._read_failures()

    def _read_failures(self) -> list[dict[str, Any]]:
        try:
            failures = json.loads(self.root.get("failures.json") or b"[]")
        except ValueError as error:
            raise StoreError(f"{self.path}/failures.json cannot be read: {error}") from error
        if not isinstance(failures, list) or not all(isinstance(item, dict) for item in failures):
            raise StoreError(f"{self.path}/failures.json holds no list of failures")
        return failures

    def attributes(self, number: int) -> dict[str, Any]:
        """Return the attributes of a scan, of its first band where it has several."""
        name, *_ = self.bands(number)
        return group_attributes(self.root, name)

    def bands(self, number: int) -> list[str]:
        """Return the paths of the bands of a scan, or the path of an undivided scan."""
        scan = f"scan_{number:06d}"
        if not self.root.exists(f"{scan}/zarr.json"):
            raise StoreError(f"{self.path} has no scan {number}; it has {self._scans()}")
        bands = [int(match[1]) for name in self.root.members(scan) if (match := re.fullmatch(r"band_(\d+)", name))]
        return [f"{scan}/band_{band}" for band in sorted(bands)] or [scan]

    def open_scan(self, number: SupportsIndex, band: SupportsIndex | str | None = None) -> xarray.Dataset:
        """Open a scan, lazily.

        Parameters
        ----------
        number : int
            Scan number.
        band : int or str, optional
            Band of a scan that has several: 0, ``"0"`` or ``"band_0"``. The only one needs no name.

        Returns
        -------
        xarray.Dataset
            Arrays of the scan; nothing is read until they are used.

        Raises
        ------
        StoreError
            If there is no such scan or band, or if the scan has several bands and none is named.

        Examples
        --------
        ::

            scan = CalibratedSession("l1.zarr").open_scan(25650, band=1)
        """
        import xarray

        group = self._choose_band(operator.index(number), band)
        where, inner = (self.path, group) if self._is_local else (self.root.child(group).as_zarr(), None)
        dataset: xarray.Dataset = xarray.open_zarr(where, group=inner, consolidated=False, chunks=None)
        return dataset

    def _choose_band(self, number: int, band: SupportsIndex | str | None) -> str:
        """Return the path of the band that is meant."""
        paths = self.bands(number)
        divided = "/" in paths[0]
        if band is None:
            if len(paths) == 1:
                return paths[0]
            first = paths[0].rpartition("_")[2]
            raise StoreError(f"{self.path}: scan {number} has {self._bands(paths)}; name one, as in band={first}")
        if not divided:
            raise StoreError(f"{self.path}: scan {number} has no bands; open it without band={band!r}")
        path = f"{paths[0].partition('/')[0]}/band_{_band_number(band)}"
        if path not in paths:
            raise StoreError(f"{self.path}: scan {number} has no band {band!r}; it has {self._bands(paths)}")
        return path

    @staticmethod
    def _bands(paths: list[str]) -> str:
        numbers = ranges_of([int(path.rpartition("_")[2]) for path in paths])
        return f"bands {numbers}" if len(paths) > 1 else f"band {numbers}"

    def _scans(self) -> str:
        return f"scans [{ranges_of(self.numbers)}]" if self.numbers else "no scan"

    def __repr__(self) -> str:
        return f"<CalibratedSession {self.path}: {count_of(len(self.numbers), 'scan')}, {len(self.failures)} failed>"


def _says_it_is_l1(content: bytes | None) -> bool:
    """Tell whether the metadata of a group carry the version of the L1 format."""
    try:
        return "cal_schema_version" in json.loads(content or b"{}").get("attributes", {})
    except (ValueError, AttributeError, TypeError):
        return False


def _band_number(band: SupportsIndex | str) -> str:
    """Return the number in 0, ``"0"`` or ``"band_0"``, as text."""
    if isinstance(band, str):
        number = band.removeprefix("band_")
        return str(int(number)) if number.isascii() and number.isdigit() else band
    return str(operator.index(band))
