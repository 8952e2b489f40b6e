"""Reading an L1 store."""

from __future__ import annotations

import operator
import re
from pathlib import Path
from typing import TYPE_CHECKING, SupportsIndex

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.product import Product, ProductKind
from cal_pipeline.core.text import format_ranges
from cal_pipeline.heterodyne.kinds import Kind, identify, identify_store
from cal_pipeline.heterodyne.schema import L1_SCHEMA_VERSION

if TYPE_CHECKING:
    import xarray


class CalibratedSession(Product):
    """L1 store.

    Parameters
    ----------
    path : str or Path
        Folder, ZIP file or URL such as ``s3://bucket/l1.zarr``.

    Attributes
    ----------
    root : StorePath
        The store.
    path : Path or str
        Path of a folder; name of a ZIP file; URL.
    numbers : list of int
        Scans it holds, ascending.
    failures : list of dict
        Scans that could not be calibrated: ``scan_number``, ``step``, ``error_class``, ``message``.
    run : dict or None
        Record of the run that wrote the store (``run.json``): ``state``, ``host``, ``pid``, ``started``,
        ``ended``, ``scans`` (``asked``, ``done``, ``failed``), ``parameters_sha256``. None if there is none.

    Raises
    ------
    StoreError
        If there is no such store; the message says what is there instead.

    Examples
    --------
    ``l1.zarr`` is the one in the example of :class:`~cal_pipeline.CalibrationPipeline`:

    >>> from cal_pipeline import CalibratedSession
    >>> product = CalibratedSession("l1.zarr")
    >>> [(number, product.open_scan(number).attrs["source"]) for number in product.numbers]
    [(1, 'SIM-ORION')]
    """

    kind = ProductKind("scan", "L1 store", L1_SCHEMA_VERSION, "L0 scan")

    def _refuse_unmarked(self, path: str | Path) -> None:
        """Say what a store is that its root does not mark, unless its scans show it to be one."""
        found = identify(path) if self._is_local else identify_store(self.root)
        if found.kind is not Kind.PRODUCT:
            raise StoreError(f"{self.path} is no L1 store: it is {found.description}")

    def groups(self, number: int) -> list[str]:
        """Return the paths of the bands of a scan, or the path of an undivided scan.

        Parameters
        ----------
        number : int
            Scan number.

        Raises
        ------
        StoreError
            If there is no such scan.

        Examples
        --------
        >>> CalibratedSession("l1.zarr").groups(1)
        ['scan_000001']
        """
        (scan,) = super().groups(number)
        bands = [int(match[1]) for name in self.root.members(scan) if (match := re.fullmatch(r"band_([0-9]+)", name))]
        return [f"{scan}/band_{band}" for band in sorted(bands)] or [scan]

    def bands(self, number: int) -> list[str]:
        """Return the paths of the bands of a scan, or the path of an undivided scan.

        Examples
        --------
        >>> CalibratedSession("l1.zarr").bands(1)  # one with two bands has scan_000001/band_0 and band_1
        ['scan_000001']
        """
        return self.groups(number)

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
        >>> scan = CalibratedSession("l1.zarr").open_scan(1)
        >>> scan.spectra.dims
        ('channel', 'dump', 'receiver', 'array', 'subscan')
        >>> f"T_sys {float(scan.t_sys.median()):.0f} K, noise of a dump {float(scan.sigma.median()):.2f} K"
        'T_sys 230 K, noise of a dump 0.14 K'
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
        numbers = format_ranges([int(path.rpartition("_")[2]) for path in paths])
        return f"bands {numbers}" if len(paths) > 1 else f"band {numbers}"


def _band_number(band: SupportsIndex | str) -> str:
    """Return the number in 0, ``"0"`` or ``"band_0"``, as text."""
    if isinstance(band, str):
        number = band.removeprefix("band_")
        return str(int(number)) if number.isascii() and number.isdigit() else band
    return str(operator.index(band))
