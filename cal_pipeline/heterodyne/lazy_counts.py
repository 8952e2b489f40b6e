"""Counts of an L0 scan as a dataset, read when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.heterodyne.flat_pixels import flatten_pixels
from cal_pipeline.heterodyne.physics.planck import channel_frequencies
from cal_pipeline.heterodyne.scan import Band
from cal_pipeline.heterodyne.schema import ARRAY, CHANNEL, DUMP, RECEIVER, SUBSCAN

if TYPE_CHECKING:
    import xarray


class _CountsArray(BackendArray):
    """Counts (C, D, R, A, S) of a band, NaN where missing; whole dumps are read, of a range of channels and subscans.

    Parameters
    ----------
    band : Band
        The band.
    """

    def __init__(self, band: Band) -> None:
        self._counts = band.source_counts(StageClock())
        self.shape = self._counts.shape
        self.dtype = np.dtype(np.float64)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        support = indexing.IndexingSupport.BASIC
        values: NDArray[Any] = indexing.explicit_indexing_adapter(key, self.shape, support, self._read)
        return values

    def _read(self, key: tuple[int | slice, ...]) -> NDArray[np.float64]:
        channels, subscans = (np.atleast_1d(np.arange(self.shape[axis])[key[axis]]) for axis in (0, 4))
        if channels.size == 0 or subscans.size == 0:
            return np.empty(self.shape)[key]
        first, last = int(subscans.min()), int(subscans.max())
        block = self._counts.read(slice(int(channels.min()), int(channels.max()) + 1), list(range(first, last + 1)))
        # Axis by axis: two index arrays in one expression would be taken in pairs.
        block = block[channels - channels.min()][..., subscans - first]
        ends = (slice(None) if isinstance(key[axis], slice) else 0 for axis in (0, 4))
        return np.asarray(block[(next(ends), *key[1:4], next(ends))], np.float64)


def open_counts(band: Band) -> xarray.Dataset:
    """Open the counts of a band of an L0 scan, lazily.

    Parameters
    ----------
    band : Band
        The band.

    Returns
    -------
    xarray.Dataset
        ``counts`` (channel, dump, pixel, subscan) [ct], NaN where missing, with frequencies, phases,
        times and elevations as coordinates; no counts are read until they are used.

    Examples
    --------
    >>> from cal_pipeline.heterodyne.session import Session
    >>> counts = open_counts(Session("session.zarr").open_scan(1).bands[0])
    >>> counts.counts.dims, counts.phase.values[:2].tolist()
    (('channel', 'dump', 'pixel', 'subscan'), ['OTF-OFF', 'OTF-ON'])
    """
    import xarray

    at = band.coordinates
    signal, image = channel_frequencies(at.shape[0], **at.frequency_axis(band.first_on))
    axes = (CHANNEL, DUMP, RECEIVER, ARRAY, SUBSCAN)
    lazy = indexing.LazilyIndexedArray(_CountsArray(band))
    times = {"units": "days since 1858-11-17 00:00:00", "calendar": "proleptic_gregorian"}
    coords = {
        "signal_freqs": (CHANNEL, signal, {"long_name": "sky frequency, signal sideband", "units": "Hz"}),
        "image_freqs": (CHANNEL, image, {"long_name": "sky frequency, image sideband", "units": "Hz"}),
        "phase": (SUBSCAN, at.sobsmode.astype(str), {"long_name": "observing phase"}),
        "mjd": (SUBSCAN, at.mjd, {"long_name": "middle of the subscan", **times}),
        "elevation": (SUBSCAN, at.elevation, {"long_name": "elevation", "units": "rad"}),
        "pixel": ((RECEIVER, ARRAY), at.pixel),
    }
    counts = xarray.Variable(axes, lazy, {"long_name": "counts", "units": "ct"})
    raw = xarray.Dataset({"counts": counts}, coords, band.attributes | {"scan_number": band.scan_number})
    return flatten_pixels(xarray.decode_cf(raw, decode_timedelta=False))
