"""Axes of a scan: receivers, arrays and bands in order, and the rows of each band on them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.ingest.rows import Integers, RowTable
from cal_pipeline.heterodyne.phases import OFFS, ONS

SOURCE = (*ONS, *OFFS)
"""Phases of the group ``source``."""

MISSING = "missing_"
"""Start of the id of a pixel without any row."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True)
class BandRows:
    """Rows of one band of a scan, in order of time, with their pixels.

    Parameters
    ----------
    name : str
        Name of its group, such as ``"band_0"``; empty where the scan has one band.
    band : str
        The band as recorded.
    receivers, arrays : tuple of str
        Receivers (R) and arrays (A) on the axes of the band.
    index : ndarray, shape (N,)
        Indices of its rows in the table.
    receiver, array : ndarray, shape (N,)
        Place of each row on the two axes.
    phase : ndarray of int, shape (N,)
        Code of the phase of each row, the same for all scans.
    of_source : ndarray of bool, shape (N,)
        True for phases of the group ``source``.
    """

    name: str
    band: str
    receivers: tuple[str, ...]
    arrays: tuple[str, ...]
    index: Integers
    receiver: Integers
    array: Integers
    phase: Integers
    of_source: NDArray[np.bool_]

    @property
    def pixel(self) -> Integers:
        """Index of the pixel of each row, r·A + a."""
        return self.receiver * len(self.arrays) + self.array

    def name_pixel(self, pixel: int) -> str:
        """Name a pixel by receiver and array."""
        receiver, array = divmod(pixel, len(self.arrays))
        return f"receiver {self.receivers[receiver]!r}, array {self.arrays[array]!r}"


def number_names(names: Sequence[str]) -> list[int]:
    """Number names along an axis: as numbers where all are numbers, else as text.

    Parameters
    ----------
    names : sequence of str
        Distinct names.

    Returns
    -------
    list of int
        Place of each name on the sorted axis. Texts of equal numbers share a place.

    Examples
    --------
    >>> number_names(["10", "9", "09"])
    [1, 0, 0]
    >>> number_names(["LFAV", "LFAH"])
    [1, 0]
    """
    numeric = all(_NUMBER.fullmatch(name) for name in names)
    # Decimals, since floats round whole numbers of more than 15 digits.
    keys: list[Decimal] | list[str] = [Decimal(name) for name in names] if numeric else list(names)
    places = {key: place for place, key in enumerate(sorted(set(keys)))}  # type: ignore[type-var]
    return [places[key] for key in keys]


class Names:
    """Distinct texts of a column of the table, coded once for all scans.

    Parameters
    ----------
    column : ndarray of str, shape (N,)
        Text of each row.
    """

    def __init__(self, column: NDArray[np.object_]) -> None:
        self.names, self.codes = np.unique(column, return_inverse=True)

    def place(self, index: Integers) -> tuple[list[str], Integers]:
        """Sort the names of some rows.

        Parameters
        ----------
        index : ndarray, shape (n,)
            The rows.

        Returns
        -------
        list of str
            The names on the axis.
        ndarray, shape (n,)
            Place of each row on it.
        """
        codes, inverse = np.unique(self.codes[index], return_inverse=True)
        texts = [str(name) for name in self.names[codes]]
        places = number_names(texts)
        axis = [""] * (max(places) + 1)
        for text, place in zip(reversed(texts), reversed(places), strict=True):
            axis[place] = text
        return axis, np.array(places)[inverse]


@dataclass(frozen=True)
class RowNames:
    """Receivers, arrays, bands and phases of all rows.

    Parameters
    ----------
    receiver, array, band, phase : Names
        The columns.
    of_source : ndarray of bool
        True for each distinct phase of the group ``source``.
    """

    receiver: Names
    array: Names
    band: Names
    phase: Names
    of_source: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: RowTable) -> RowNames:
        """Code the names in a table of rows."""
        phase = Names(rows.phase)
        of_source = np.isin(phase.names.astype(str), SOURCE)
        return cls(Names(rows.receiver), Names(rows.array), Names(rows.band), phase, of_source)


def split_bands(names: RowNames, index: Integers) -> list[BandRows]:
    """Split the rows of a scan into bands and place them on the axes of each.

    Bands that share an array have the same receivers and arrays, those that the scan has in any of
    them: a pixel that is lost in one band is missing there. Bands of separate arrays, as those of
    two frontends, have axes of their own.

    Parameters
    ----------
    names : RowNames
        Receivers, arrays, bands and phases of all rows.
    index : ndarray, shape (N,)
        Rows of the scan in order of time.

    Returns
    -------
    list of BandRows
        The bands in order.
    """
    receivers, receiver = names.receiver.place(index)
    arrays, array = names.array.place(index)
    bands, band = names.band.place(index)
    family = _join_bands(band, array, len(bands))
    phase = names.phase.codes[index]
    of_source = names.of_source[phase]
    result = []
    for number, name in enumerate(bands):
        related = family[band] == family[number]
        own = band == number
        on_r, on_a = np.unique(receiver[related]), np.unique(array[related])
        result.append(
            BandRows(
                name=f"band_{number}" if len(bands) > 1 else "",
                band=name,
                receivers=tuple(receivers[place] for place in on_r),
                arrays=tuple(arrays[place] for place in on_a),
                index=index[own],
                receiver=np.searchsorted(on_r, receiver[own]),
                array=np.searchsorted(on_a, array[own]),
                phase=phase[own],
                of_source=of_source[own],
            )
        )
    return result


def _join_bands(band: Integers, array: Integers, n_bands: int) -> Integers:
    """Label bands such that those with an array in common, directly or through others, have one label."""
    label = np.arange(n_bands)
    if n_bands == 1:
        return label
    pairs = np.unique(np.stack([array, band]), axis=1)
    for one, other in zip(pairs.T[:-1], pairs.T[1:], strict=True):
        if one[0] == other[0]:
            label[label == label[other[1]]] = label[one[1]]
    return label


def name_pixels(rows: RowTable, band: BandRows) -> tuple[list[str], list[str]]:
    """Collect the ids of the pixels of a band.

    Parameters
    ----------
    rows : RowTable
        The table.
    band : BandRows
        The band.

    Returns
    -------
    list of str, length R·A
        Id of each pixel at r·A + a: that of its first row. A pixel without any row is called
        ``missing_<receiver>_<array>``.
    list of str
        Warnings about pixels with no id, several ids or one that others have, too.
    """
    ids = [f"{MISSING}{receiver}_{array}" for receiver in band.receivers for array in band.arrays]
    pixels, first = np.unique(band.pixel, return_index=True)
    for pixel, row in zip(pixels.tolist(), band.index[first].tolist(), strict=True):
        ids[pixel] = str(rows.pixel_id[row])
    warnings = []
    changed = np.unique(band.pixel[rows.pixel_id[band.index] != np.array(ids, dtype=object)[band.pixel]])
    if changed.size:
        warnings.append(f"the id of {band.name_pixel(int(changed[0]))} changes within the scan: the first is taken")
    absent = sorted(set(range(len(ids))) - set(pixels.tolist()))
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        warnings.append(f"no rows at all of {band.name_pixel(absent[0])}{more}: filled as missing")
    repeated = [text for text, count in Counter(ids).items() if count > 1]
    if repeated:
        warnings.append(f"pixel id {repeated[0]!r} stands for {ids.count(repeated[0])} pixels: they get _0, _1, ...")
    return ids, warnings
