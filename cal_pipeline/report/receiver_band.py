"""Arrays of a band of an L1 scan for a report: those that are missing or damaged are noted, the others shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.interface import ArrayReader
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.records import ObservationRecord, as_mapping
from cal_pipeline.report.page.blocks import Axis
from cal_pipeline.report.receiver_samples import SampleReaders, ScanSamples, read_samples

Floats = NDArray[np.float64]

MJD_EPOCH = np.datetime64("1858-11-17T00:00:00", "ms")


class BandArrays:
    """Arrays of a band.

    Parameters
    ----------
    root : StorePath
        The L1 store.
    record : ObservationRecord
        Record of the band.

    Attributes
    ----------
    problems : dict
        Arrays that could not be read, with the reason.
    pixels : list of str
        Names of the pixels, in the order of receivers and arrays; different from each other.
    frequency : ndarray, shape (C,), or None
        Sky frequency in the signal sideband [Hz].
    """

    def __init__(self, root: StorePath, record: ObservationRecord) -> None:
        self._root, self.record = root, record
        self.problems: dict[str, str] = {}
        self.frequency = self.read("signal_freqs")
        names = self.read("pixel", is_text=True)
        count = self._count_pixels() if names is None else names.size
        listed = [f"pixel {k}" for k in range(count)] if names is None else [str(name) for name in names.ravel()]
        self.pixels = [f"{name} ({k})" if listed.count(name) > 1 else name for k, name in enumerate(listed)]

    def _count_pixels(self) -> int:
        reader = self.open("t_rec_ssb")
        return 0 if reader is None else int(np.prod(reader.shape[1:3]))

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the band."""
        return self.record.attributes

    def open(self, name: str) -> ArrayReader | None:
        """Open an array; None, with a note of the problem, if that is not possible."""
        try:
            return open_reader(self._root, f"{self.record.path}/{name}")
        except (CalibrationError, OSError, ValueError, RuntimeError) as error:
            self.problems[name] = str(error)
            return None

    def read(self, name: str, is_text: bool = False) -> NDArray[Any] | None:
        """Read a whole array; None, with a note of the problem, if that is not possible."""
        reader = self.open(name)
        try:
            if reader is None:
                return None
            values = reader.read()
            return np.asarray(values) if is_text else np.asarray(values, np.float64)
        except (CalibrationError, OSError, ValueError, TypeError, RuntimeError) as error:
            self.problems[name] = str(error)
            return None

    def rows(self, name: str) -> Floats | None:
        """Read an array [C,R,A] as (P, C)."""
        values = self.read(name)
        if values is None or values.ndim != 3 or values.shape[1] * values.shape[2] != len(self.pixels):
            return None
        return values.reshape(len(values), -1).T

    def mean_rows(self, name: str) -> Floats | None:
        """Read an array [C,R,A,S] block by block, and average it over S: (P, C)."""
        reader = self.open(name)
        if reader is None or reader.ndim != 4:
            return None
        parts = []
        try:
            for start in range(0, reader.shape[0], reader.chunks[0]):
                rows = slice(start, min(start + reader.chunks[0], reader.shape[0]))
                values = np.asarray(reader.read((rows, *[slice(None)] * 3)), np.float64)
                known = np.isfinite(values)
                number = known.sum(axis=-1)
                total = np.where(known, values, 0.0).sum(axis=-1)
                parts.append(np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0))
        except (CalibrationError, OSError, ValueError, RuntimeError) as error:
            self.problems[name] = str(error)
            return None
        return np.concatenate(parts).reshape(reader.shape[0], -1).T

    def samples(self) -> ScanSamples | None:
        """Read spectra and flags, each block once; None, with a note of the problem, if that is not possible."""
        readers = [self.open(name) for name in ("spectra", "flags", "sigma")]
        spectra, flags, sigma = readers
        if spectra is None or flags is None or sigma is None:
            return None
        shape = spectra.shape
        if spectra.ndim != 5 or flags.shape != shape or sigma.shape != (shape[0], *shape[2:]):
            self.problems["spectra"] = f"shapes {shape} of spectra, {flags.shape} of flags, {sigma.shape} of sigma"
            return None
        try:
            return read_samples(self._add_shares(spectra, flags, sigma))
        except (CalibrationError, OSError, ValueError, RuntimeError) as error:
            self.problems["spectra"] = str(error)
            return None

    def _add_shares(self, spectra: ArrayReader, flags: ArrayReader, sigma: ArrayReader) -> SampleReaders:
        """Add the shares of the OFFs in the noise; L1 before version 1.2 has none."""
        n_pixels, n_ons = spectra.shape[2] * spectra.shape[3], spectra.shape[4]
        unknown = np.full((1, n_pixels, n_ons), np.nan), np.full((1, n_pixels, n_ons), -1)
        share, off = unknown
        per_dump = False
        if self._root.exists(f"{self.record.path}/ref_share/zarr.json"):
            reader, found, which = self.open("ref_share"), self.read("ref_share"), self.read("ref_off")
            if reader is not None and found is not None and which is not None and found.shape == which.shape:
                share = found.reshape(len(found), n_pixels, n_ons)
                off = which.reshape(share.shape).astype(np.int64)
                per_dump = reader.attributes.get("reference") == "dump"
        return SampleReaders(spectra, flags, sigma, share, off, per_dump)

    def times(self) -> NDArray[Any] | None:
        """Read the times of the ONs, UTC."""
        mjd = self.read("mjd")
        if mjd is None or not np.isfinite(mjd).any():
            return None
        times: NDArray[Any] = MJD_EPOCH + np.rint(mjd[np.isfinite(mjd)] * 86_400e3).astype("timedelta64[ms]")
        return times

    def offsets(self) -> tuple[Floats, Floats] | None:
        """Read the mean offsets of the pixels (P,), (P,) [deg]; None where they are not known."""
        found = []
        for name in ("pixel_offset_lon", "pixel_offset_lat"):
            if not self._root.exists(f"{self.record.path}/{name}/zarr.json"):
                return None
            values = self.read(name)
            if values is None or values.ndim != 3 or not np.isfinite(values).any(axis=-1).all():
                return None
            found.append(np.nanmean(values, axis=-1).ravel())
        return (found[0], found[1]) if len(found[0]) == len(self.pixels) else None

    def has(self, name: str) -> bool:
        """Tell whether the store has an array."""
        return self._root.exists(f"{self.record.path}/{name}/zarr.json")

    def differences(self, group: str) -> tuple[Mapping[str, Any], Floats] | None:
        """Read the spectra of a group of differences, (K, P, C), with its attributes; None without any."""
        from cal_pipeline.core.store.metadata import read_group_attributes

        path = f"{self.record.path}/{group}"
        if not self._root.exists(f"{path}/zarr.json"):
            return None
        names = [name for name in self._root.members(path) if name.startswith("spectrum_")]
        names.sort(key=lambda name: [int(part) if part.isdigit() else 0 for part in name.split("_")])
        found = [rows for name in names if (rows := self.rows(f"{group}/{name}")) is not None]
        if not found:
            return None
        return as_mapping(read_group_attributes(self._root, path)), np.stack(found)


def list_axes(arrays: BandArrays) -> tuple[list[Axis], str]:
    """Make the horizontal axes of a band: frequency, and velocity where line and pointing are known.

    Parameters
    ----------
    arrays : BandArrays
        The band, with known frequencies.

    Returns
    -------
    axes : list of Axis
        Frequency; velocity.
    remark : str
        Why there is no velocity in the LSR; empty if there is.
    """
    import xarray

    from cal_pipeline.heterodyne.velocity import find_rest_frequency, find_velocities, read_pointing

    frequency = arrays.frequency
    assert frequency is not None
    ends = frequency[[0, -1]]
    axes = [Axis("Frequency [GHz]", *(ends * 1e-9).tolist())]
    read = {name: arrays.read(name) for name in ("mjd", "otf_lon", "otf_lat") if arrays.has(name)}
    axes_of = {"mjd": ("subscan",), "otf_lon": ("dump", "subscan"), "otf_lat": ("dump", "subscan")}
    known = {name: (axes_of[name], values) for name, values in read.items() if values is not None}
    dataset = xarray.Dataset(known, attrs=dict(arrays.attributes))
    try:
        rest = find_rest_frequency(dataset)
    except (CalibrationError, ValueError) as error:
        return axes, f"No velocity axis: {error}"
    try:
        velocities = find_velocities(ends, rest, read_pointing(dataset), "lsrk")
        label, remark = "LSRK velocity, radio [km/s]", ""
    except (CalibrationError, ValueError, KeyError) as error:
        velocities = find_velocities(ends, rest, frame="topocent")
        label, remark = "Topocentric velocity, radio [km/s]", f"No velocity in the LSR: {error}"
    return [*axes, Axis(label, *velocities.tolist())], remark
