"""Frequency axes of loads and of what they calibrate."""

from __future__ import annotations

import math
from dataclasses import replace

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.heterodyne.coordinates import read_arrays
from cal_pipeline.heterodyne.schema import SOURCE_COORDINATES

Axis = tuple[float, float, float]
"""Sky frequencies of the first and the last channel, and distance of two channels [Hz]; NaN where not known."""

_BAND_SHIFT = 0.1
"""Shift of a band, over its width, up to which its loads are its own."""

_DOPPLER_SHIFT = 1e-3
"""The same over its frequency: narrow bands shift by more than their width between two sources."""

_WIDTH = 0.01
"""Relative difference of the distance of channels up to which it is the same."""

_OF_AXIS = ("signal_freq", "freq_off", "ref_channel", "freq_res")


def find_axis(n_channels: int, signal_freq: float, freq_off: float, ref_channel: float, freq_res: float) -> Axis:
    """Find the frequency axis of a band in the signal sideband.

    Parameters
    ----------
    n_channels : int
        Number of channels.
    signal_freq, freq_off, freq_res : float
        Frequency, offset and distance of channels [Hz].
    ref_channel : float
        Reference channel, from 0.

    Returns
    -------
    tuple of float
        Sky frequencies of the first and the last channel, and distance of two channels [Hz].

    Examples
    --------
    >>> find_axis(1001, 87e9, 0.0, 0.0, 1e6)
    (87000000000.0, 88000000000.0, 1000000.0)
    """
    first = signal_freq + freq_off - ref_channel * freq_res
    return first, first + (n_channels - 1) * freq_res, freq_res


def read_axis(store: StorePath, group: str, shape: tuple[int, ...], subscan: int) -> Axis:
    """Read the frequency axis of a subscan of a group.

    Parameters
    ----------
    store : StorePath
        The session.
    group : str
        Path of the group in it.
    shape : tuple of int
        (C, D, R, A, S) of the counts.
    subscan : int
        The subscan.

    Returns
    -------
    tuple of float
        See :func:`find_axis`; NaN where it was not recorded, cannot be read or makes no sense. Offset and reference
        channel are 0 where they were not recorded.
    """
    wanted = {name: replace(SOURCE_COORDINATES[name], required=False) for name in _OF_AXIS}
    try:
        recorded = read_arrays(store, group, wanted, shape)
    except ObservationError:
        return math.nan, math.nan, math.nan
    sound = {name: values for name, values in recorded.items() if not wanted[name].find_unsound(values).any()}
    defaults = {name: 0.0 for name in ("freq_off", "ref_channel") if name not in recorded}
    found = {name: float(values[subscan]) for name, values in sound.items()} | defaults
    return find_axis(shape[0], *(found.get(name, math.nan) for name in _OF_AXIS))


def are_tuned_alike(one: Axis, other: Axis) -> bool:
    """Tell whether loads on one frequency axis calibrate another.

    Parameters
    ----------
    one, other : tuple of float
        Sky frequencies of the first and the last channel, and distance of two channels [Hz].

    Returns
    -------
    bool
        False if the ends are apart by more than a tenth of the band and a thousandth of the frequency, which the
        Doppler shift between two sources does not reach, or if the distances of channels differ. What is not
        known is alike.

    Examples
    --------
    >>> band = (87.0e9, 88.0e9, 1e6)
    >>> are_tuned_alike(band, (87.02e9, 88.02e9, 1e6)), are_tuned_alike(band, (89.0e9, 90.0e9, 1e6))
    (True, False)
    """
    width = max(abs(one[1] - one[0]), abs(other[1] - other[0]))
    reach = max(_BAND_SHIFT * width, _DOPPLER_SHIFT * abs(one[0]))
    # Comparisons with NaN are false.
    apart = abs(one[0] - other[0]) > reach or abs(one[1] - other[1]) > reach
    return not (apart or abs(one[2] - other[2]) > _WIDTH * abs(one[2]))


def describe_axis(axis: Axis) -> str:
    """Describe a frequency axis by its ends, as ``"87 to 88 GHz"``.

    Examples
    --------
    >>> describe_axis((87e9, 88e9, 1e6))
    '87 to 88 GHz'
    """
    return f"{axis[0] / 1e9:.6g} to {axis[1] / 1e9:.6g} GHz"
