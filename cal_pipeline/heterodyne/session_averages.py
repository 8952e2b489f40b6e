"""Averages over scans, aligned by whole channels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.averages import (
    Selection,
    Weights,
    average_scan,
    describe_average,
    name_scan,
)
from cal_pipeline.heterodyne.physics.shared_noise import Averaged, combine_means
from cal_pipeline.heterodyne.schema import CHANNEL

if TYPE_CHECKING:
    import xarray

Floats = NDArray[np.float64]


def average_scans(
    scans: Iterable[xarray.Dataset],
    pixels: str | Sequence[str] | None = None,
    weights: Weights = "sigma",
    flags: Selection = "good",
) -> xarray.Dataset:
    """Average the spectra of several scans over dumps, subscans, pixels and scans.

    Parameters
    ----------
    scans : iterable of xarray.Dataset
        L1 scans, or one band of each; one is in memory at a time.
    pixels : str or sequence of str, optional
        Names of the pixels to average; all if not given.
    weights : {"sigma", "equal"}
        Weight of each sample: 1/sigma², or 1.
    flags : {"good", "all"}
        Samples to average: those without a flag, or all that are numbers.

    Returns
    -------
    xarray.Dataset
        As of :func:`~cal_pipeline.heterodyne.averages.average_scan`, on the frequencies of the first
        scan; the attributes ``scan_numbers`` and ``channel_shifts`` name the scans and by how many
        channels each was moved.

    Raises
    ------
    ValueError
        If there is no scan, if the channels of two scans differ in width or do not overlap, or for
        any reason of `average_scan`.

    Warns
    -----
    UserWarning
        As of `average_scan`.

    Notes
    -----
    A scan whose frequencies are off by more than half a channel is moved by whole channels, so that
    its noise stays independent from channel to channel; what is left is at most half a channel. Scans
    have no OFFs in common: their errors are independent.

    Examples
    --------
    >>> from cal_pipeline import CalibratedSession
    >>> product = CalibratedSession("l1.zarr")
    >>> mean = average_scans([product.open_scan(number) for number in product.numbers])
    >>> mean.attrs["scan_numbers"], mean.attrs["channel_shifts"], mean.sizes["channel"]
    ([1], [0], 64)
    """
    parts = [average_scan(scan, pixels, weights=weights, flags=flags) for scan in scans]
    if not parts:
        raise ValueError("there is no scan to average")
    axis = parts[0].signal_freqs.values
    shifts = [find_shift(axis, part.signal_freqs.values, name_scan(parts[0]), name_scan(part)) for part in parts]
    means = [_moved(part, shift, axis.size) for part, shift in zip(parts, shifts, strict=True)]
    mean = combine_means(Averaged(*(np.stack(arrays, axis=-1) for arrays in zip(*means, strict=True))))
    t_int = sum(_move(part.t_int.values, shift, axis.size, 0.0) for part, shift in zip(parts, shifts, strict=True))
    attributes = {
        "scan_numbers": [part.attrs.get("scan_number") for part in parts],
        "channel_shifts": shifts,
        "pixels": list(dict.fromkeys(name for part in parts for name in part.attrs["pixels"])),
    }
    first = parts[0].drop_vars("image_freqs", errors="ignore")
    made = describe_average(first, (CHANNEL,), mean, np.asarray(t_int), weights, flags, attributes)
    del made.attrs["scan_number"]
    return made


def find_shift(axis: Floats, other: Floats, name: str, other_name: str) -> int:
    """Find by how many channels a frequency axis is shifted against another.

    Parameters
    ----------
    axis, other : ndarray, shape (C,), (C_other,)
        Frequencies of the channels [Hz].
    name, other_name : str
        Names of the scans, for messages.

    Returns
    -------
    int
        Channel of `axis` nearest to the first channel of `other`, before the first one too.

    Raises
    ------
    ValueError
        If the widths of the channels differ so that the axes part by half a channel, or if the axes
        do not overlap.

    Examples
    --------
    >>> axis = 461e9 + 1e6 * np.arange(100.0)
    >>> find_shift(axis, axis + 2.3e6, "scan 1", "scan 2"), find_shift(axis, axis - 0.4e6, "scan 1", "scan 3")
    (2, 0)
    """
    width, other_width = (_width(values) for values in (axis, other))
    length = max(axis.size, other.size)
    if abs(other_width - width) * length > 0.5 * abs(width):
        raise ValueError(
            f"{other_name} has channels of {other_width * 1e-3:.9g} kHz and {name} of {width * 1e-3:.9g} kHz; expected "
            "equal ones; average these scans apart"
        )
    middle = other.size // 2
    shift = round(float((other[middle] - axis[0]) / width)) - middle if width else 0
    if shift >= axis.size or shift + other.size <= 0:
        low, high = (f"{extreme * 1e-9:.6f}" for extreme in (axis.min(), axis.max()))
        raise ValueError(
            f"{other_name} covers {other.min() * 1e-9:.6f} to {other.max() * 1e-9:.6f} GHz and {name} {low} to {high} "
            "GHz; expected overlapping bands; average these scans apart"
        )
    return shift


def _width(axis: Floats) -> float:
    """Compute the width of a channel, with its sign; 0 for a single one."""
    return float((axis[-1] - axis[0]) / (axis.size - 1)) if axis.size > 1 else 0.0


def _moved(part: xarray.Dataset, shift: int, size: int) -> Averaged:
    """Move an average by some channels, onto an axis of `size` channels."""
    fills: dict[str, Any] = {"spectrum": np.nan, "sigma": np.nan, "weight": 0.0, "n_samples": 0}
    return Averaged(*(_move(part[name].values, shift, size, fill) for name, fill in fills.items()))


def _move(values: NDArray[Any], shift: int, size: int, fill: float) -> NDArray[Any]:
    """Move values by some channels; those that are moved out are dropped."""
    moved = np.full(size, fill, values.dtype)
    first, last = max(shift, 0), min(shift + values.size, size)
    moved[first:last] = values[first - shift : last - shift]
    return moved
