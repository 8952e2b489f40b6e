"""Parts that a scan of a session lacks while the session is being written."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cal_pipeline.core.errors import LayoutError, ObservationError
from cal_pipeline.core.observation import Lacks
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.coordinates import read_arrays
from cal_pipeline.heterodyne.listing import list_bands
from cal_pipeline.heterodyne.schema import CALIBRATION_COORDINATES, SOURCE_COORDINATES, Coordinate

COUNTS = "data_5d"
"""Array of the counts."""

_GROUPS: Mapping[str, Mapping[str, Coordinate]] = {
    "source": SOURCE_COORDINATES,
    "calibration": CALIBRATION_COORDINATES,
}


def find_lacks(root: StorePath, group: str) -> Lacks:
    """Find what a scan that is being written lacks.

    A fault is a group or array that is absent or does not open, an array whose shape differs from
    that of the counts, and an absent chunk of any array but the counts, unless its fill value is
    legitimate and all its chunks are absent. Some absent chunks of counts may be missing dumps.

    Parameters
    ----------
    root : StorePath
        The session.
    group : str
        Path of the scan in it.

    Returns
    -------
    Lacks

    Examples
    --------
    >>> from cal_pipeline.core.store.opening import open_store
    >>> find_lacks(open_store("session.zarr"), "scan_000001")
    Lacks(fault='', doubt='')
    """
    doubts: list[str] = []
    try:
        read_group_attributes(root, group)
        inner = [
            f"{band}/{name}" for band, _ in list_bands(root, group) for name in root.members(band) if name in _GROUPS
        ]
        if not inner:
            raise LayoutError(f"{root}/{group} has no group source or calibration")
        for path in inner:
            doubts += _find_doubts(root, path)
    except (OSError, ValueError, ObservationError) as error:
        return Lacks(fault=str(error) or repr(error))
    return Lacks(doubt="; ".join(doubts))


def _find_doubts(root: StorePath, path: str) -> list[str]:
    """Open all arrays of a group; describe absent chunks of the counts."""
    read_group_attributes(root, path)
    counts = open_reader(root, f"{path}/{COUNTS}")
    if counts.ndim != 5:
        raise LayoutError(f"{counts.name} has {counts.ndim} axes, expected 5")
    read_arrays(root, path, _GROUPS[path.rpartition("/")[2]], counts.shape)
    absent = counts.absent_chunks()
    if not absent:
        return []
    sizes = [[min(part.stop, n) - part.start for part, n in zip(parts, counts.shape, strict=True)] for parts in absent]
    found = f"{counts.name}: {format_count(len(absent), 'chunk is', 'chunks are')} not stored"
    if sum(map(math.prod, sizes)) == math.prod(counts.shape):
        raise LayoutError(f"{found}, none at all")
    return [found]
