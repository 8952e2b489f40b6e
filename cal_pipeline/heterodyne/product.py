"""Reading an L1 store."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.product import Product, ProductKind
from cal_pipeline.core.text import format_count, format_ranges, make_printable
from cal_pipeline.heterodyne.calibrated_scan import CalibratedScan
from cal_pipeline.heterodyne.kinds import INGESTED, Kind, identify, identify_store
from cal_pipeline.heterodyne.scan_collection import ScanCollection
from cal_pipeline.heterodyne.scan_view import Pixels
from cal_pipeline.heterodyne.schema import L1_SCHEMA_VERSION

if TYPE_CHECKING:
    from typing import Self

    import xarray
    from astropy.table import QTable
    from matplotlib.axes import Axes

    from cal_pipeline.heterodyne.averages import Selection, Weights


class CalibratedSession(ScanCollection[CalibratedScan], Product):
    """L1 store: calibrated scans by number.

    ``session[25650]`` is a :class:`~cal_pipeline.heterodyne.calibrated_scan.CalibratedScan`;
    iteration yields numbers, ``values()`` scans.

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

    >>> from cal_pipeline import open_l1
    >>> session = open_l1("l1.zarr")
    >>> len(session), 1 in session, list(session)
    (1, True, [1])
    >>> session.select(source="SIM-ORION").table()["pwv"].unit
    Unit("mm")
    >>> session[1].average().sigma.attrs["units"]
    'K'
    """

    shown_columns = ("scan", "band", "source", "mode", "pixels", "pwv", "t_sys", "duration", "verdict")

    kind = ProductKind("scan", "L1 store", L1_SCHEMA_VERSION, "L0 scan")

    def _refuse_other_kind(self, marks: Mapping[str, Any]) -> None:
        """Refuse a product of another kind, an L0 session by this name."""
        if INGESTED.marks(marks):
            raise StoreError(f"{self.path} is no L1 store: it is {identify_store(self.root).description}")
        super()._refuse_other_kind(marks)

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
            If there is no such scan or band, or if the scan has several bands and none is named. Also
            when an array is read that has gone since.

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
        if isinstance(self.root, LocalStorePath):
            from cal_pipeline.core.store.present import PresentStore  # zarr, which only readers need

            where, inner = PresentStore(self.root.path, read_only=True), group
        else:
            where, inner = self.root.child(group).as_zarr(), None
        # Xarray names no file where this is broken.
        read_group_attributes(self.root, group)
        dataset: xarray.Dataset = xarray.open_zarr(where, group=inner, consolidated=False, chunks=None)
        return dataset

    def average(
        self,
        pixels: Pixels = None,
        weights: Weights = "sigma",
        flags: Selection = "good",
        band: SupportsIndex | str | None = None,
        frame: str | None = None,
    ) -> xarray.Dataset:
        """Average the spectra of all scans over dumps, subscans and pixels; :meth:`select` chooses scans.

        Parameters
        ----------
        pixels : str or sequence of str, optional
            Names of the pixels; all if not given.
        weights : {"sigma", "equal"}
            Weight of each sample: 1/sigma², or 1.
        flags : {"good", "all"}
            Samples to average: those without a flag, or all that are numbers.
        band : int or str, optional
            Band, where scans have several.
        frame : {"lsrk", "lsrd", "barycent", "topocent"}, optional
            Standard of rest in which scans are aligned. By default that is ``"lsrk"``, or with a warning
            ``"topocent"`` where L1 lacks what it takes.

        Returns
        -------
        xarray.Dataset
            As of :meth:`CalibratedScan.average()
            <cal_pipeline.heterodyne.calibrated_scan.CalibratedScan.average>`, on the frequencies of the
            first scan.

        Raises
        ------
        ValueError
            If there is no scan, if scans are of several sources, their channels differ in width or do
            not overlap, or for any reason of the average of a scan.
        MissingInputError
            If `frame` is given and L1 lacks what it takes.

        Warns
        -----
        UserWarning
            If scans cannot be aligned in the LSRK.

        Notes
        -----
        Alignment is by whole channels, at the rest frequency of the line: what is left is at most half a
        channel there. Between scans whose frames differ by 30 km/s it grows by 1e-4 of the distance from
        the line.

        Examples
        --------
        >>> from cal_pipeline import open_l1
        >>> mean = open_l1("l1.zarr").select(source="SIM-ORION").average()
        >>> mean.attrs["scan_numbers"], mean.spectrum.dims
        ([1], ('channel',))
        """
        from cal_pipeline.heterodyne.aligned_average import average_aligned

        return average_aligned(
            [scan.band(band) if band is not None else scan for scan in self.values()], pixels, weights, flags, frame
        )

    def plot_pwv(self, axes: Axes | None = None) -> Axes:
        """Plot the water vapour of all scans over time, with its total error, by verdict.

        Parameters
        ----------
        axes : matplotlib.axes.Axes, optional
            Axes to draw on; new ones if not given.

        Returns
        -------
        matplotlib.axes.Axes

        Examples
        --------
        >>> from cal_pipeline import open_l1
        >>> open_l1("l1.zarr").plot_pwv().get_ylabel()
        'PWV [mm]'
        """
        from cal_pipeline.heterodyne.session_plots import plot_pwv

        return plot_pwv(self.table(), axes)

    def plot_t_sys(self, axes: Axes | None = None) -> Axes:
        """Plot the system temperature (DSB) of all scans over time, the median of each.

        Parameters
        ----------
        axes : matplotlib.axes.Axes, optional
            Axes to draw on; new ones if not given.

        Returns
        -------
        matplotlib.axes.Axes

        Examples
        --------
        >>> from cal_pipeline import open_l1
        >>> open_l1("l1.zarr").plot_t_sys().get_ylabel()
        '$T_{sys}$, DSB [K]'
        """
        from cal_pipeline.heterodyne.session_plots import plot_t_sys

        return plot_t_sys(self.table(), axes)

    def plot_sky(self, axes: Axes | None = None) -> Axes:
        """Plot how well the fitted sky matches the observed one in all scans, over time.

        Parameters
        ----------
        axes : matplotlib.axes.Axes, optional
            Axes to draw on; new ones if not given.

        Returns
        -------
        matplotlib.axes.Axes

        Examples
        --------
        >>> from cal_pipeline import open_l1
        >>> open_l1("l1.zarr").plot_sky().get_ylabel()
        'rms of sky, observed - fit [K]'
        """
        from cal_pipeline.heterodyne.session_plots import plot_sky

        return plot_sky(self.table(), axes)

    def _open(self, number: int) -> CalibratedScan:
        return CalibratedScan(self, number)

    def _make_table(self) -> QTable:
        from cal_pipeline.heterodyne.scan_table import make_scan_table

        return make_scan_table(self)

    @property
    def _listed(self) -> list[int]:
        return sorted({*self.numbers, *(failure.get("scan_number", -1) for failure in self.failures)})

    def _restrict(self, numbers: Sequence[int]) -> Self:
        part = super()._restrict(numbers)
        part.failures = [failure for failure in self.failures if failure.get("scan_number", -1) in numbers]
        return part

    def _explain_missing(self, number: int) -> str:
        for failure in self.failures:
            if failure.get("scan_number") == number:
                words = f"{failure.get('error_class')}: {failure.get('message')}"
                return make_printable(f"it failed in step {failure.get('step')}: {words}")
        return ""

    def _headline(self) -> str:
        noun = format_count(len(self.numbers), self.kind.noun)
        state = f", run {self.run_state}" if self.run_state in ("running", "interrupted") else ""
        return f"<{type(self).__name__} {make_printable(self.path)}: {noun}, {len(self.failures)} failed{state}>"

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
