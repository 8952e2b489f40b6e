"""Arrays of a page: envelopes and images that can be reduced to a budget, and their coding in few bytes."""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Reduction = Literal["mean", "max", "extreme", "or"]

MISSING = -32768
"""Code of NaN."""

_LARGEST = 32767
"""Largest code of a value, in size."""

_COARSEST = 4.0
"""Widest step between codes, in steps that the eye cannot see."""

_FEWEST_TO_LEAVE_OUT = 4
"""Number of values up to which the range is that of all."""

_SMALLEST_FLOAT, _LARGEST_FLOAT, _ROUNDING = 1.2e-38, 3e38, 1.2e-7
"""Range and relative rounding of 32-bit floats."""

_LEVEL = 4
"""Level of deflation: 6 takes 2.6 times as long for 2.5 %, 9 takes 50 times as long for 5 %."""

_FEWEST_BINS = 16
"""Number of bins below which an envelope is no longer reduced."""

_FEWEST_PIXELS = 16
"""Length of an axis below which an image is no longer reduced along it."""


@dataclass(frozen=True)
class Envelope:
    """Curves as the least, largest and mean value of bins of channels, so that no channel is left out.

    Parameters
    ----------
    low, high : ndarray, shape (rows, bins)
        Least and largest finite value of each bin; NaN without any.
    mean : ndarray, shape (rows, bins), or None
        Mean of the finite values; None if it is not kept.
    n_channels : int
        Channels of a curve.
    per_bin : int
        Channels of a bin; the last bin may have fewer.
    weight : float
        Share of the budget that the curves deserve, relative to others.

    Examples
    --------
    >>> envelope = Envelope.of([[1.0, 5.0, 2.0, float("nan")]]).halved()
    >>> envelope.low.tolist(), envelope.high.tolist(), envelope.mean.tolist(), envelope.per_bin
    ([[1.0, 2.0]], [[5.0, 2.0]], [[3.0, 2.0]], 2)
    """

    low: Floats
    high: Floats
    mean: Floats | None
    n_channels: int
    per_bin: int = 1
    weight: float = 1.0

    @classmethod
    def of(cls, values: ArrayLike, most_bins: int = 8192, weight: float = 1.0, with_mean: bool = True) -> Envelope:
        """Bin curves.

        Parameters
        ----------
        values : array_like, shape (..., channels)
            Curves, one or several.
        most_bins : int
            Largest number of bins.
        weight : float
            Share of the budget, relative to others.
        with_mean : bool
            Whether the mean of each bin is kept beside its extremes.

        Returns
        -------
        Envelope
        """
        curves = np.atleast_2d(np.asarray(values, np.float64))
        curves = np.where(np.isfinite(curves), curves, np.nan).reshape(-1, curves.shape[-1])
        found = cls(curves, curves, curves if with_mean else None, curves.shape[-1], 1, weight)
        while found.low.shape[-1] > most_bins and found.can_shrink:
            found = found.halved()
        return found

    @property
    def n_values(self) -> int:
        """Number of values that are kept."""
        return int(self.low.size) * (1 if self.low is self.high else 2 if self.mean is None else 3)

    @property
    def can_shrink(self) -> bool:
        """Tell whether it has bins to merge."""
        return bool(self.low.shape[-1] > _FEWEST_BINS)

    @classmethod
    def across(cls, values: ArrayLike, weight: float = 1.0) -> Envelope:
        """Make the envelope of several spectra of each element.

        Parameters
        ----------
        values : array_like, shape (spectra, rows, channels)
            Spectra.
        weight : float
            Share of the budget, relative to others.

        Returns
        -------
        Envelope
            Extremes and mean over the spectra, in each channel.

        Examples
        --------
        >>> Envelope.across([[[1.0, 2.0]], [[3.0, 2.0]]]).mean.tolist()
        [[2.0, 2.0]]
        """
        stack = np.asarray(values, np.float64)
        with warnings.catch_warnings():
            # A channel without any value stays NaN.
            warnings.simplefilter("ignore", RuntimeWarning)
            low, high, mean = (function(stack, axis=0) for function in (np.nanmin, np.nanmax, np.nanmean))
        return cls(low, high, mean, stack.shape[-1], 1, weight)

    def halved(self) -> Envelope:
        """Merge neighbouring bins."""
        mean = None if self.mean is None else _merge_pairs(self.mean, _average_two)
        low, high = _merge_pairs(self.low, np.fmin), _merge_pairs(self.high, np.fmax)
        return replace(self, low=low, high=high, mean=mean, per_bin=2 * self.per_bin)

    def encode(self) -> tuple[dict[str, Any], list[bytes]]:
        """Encode for a page; return the description and the streams of its arrays."""
        levels = (
            [self.low] if self.low is self.high else [self.low, self.high, *([] if self.mean is None else [self.mean])]
        )
        coded = encode_rounded(levels)
        described = {
            "kind": "envelope",
            "channels": self.n_channels,
            "per": self.per_bin,
            "arrays": [item for item, _ in coded],
        }
        return described, [stream for _, stream in coded]


@dataclass(frozen=True)
class Raster:
    """An image or another matrix, which may be reduced.

    Parameters
    ----------
    values : ndarray, shape (rows, columns)
        Numbers; NaN where there is none. Whole numbers with `reduction` ``"or"``.
    reduction : {"mean", "max", "extreme", "or"}
        Value that stands for a pair of neighbours: their mean, the larger one, the one that is
        farther from the median of the image, or the bits that are set in either.
    weight : float
        Share of the budget, relative to others.
    per : tuple of int
        Rows and columns of the original image in one of this.
    full : tuple of int
        Shape of the original image.

    Examples
    --------
    >>> Raster([[0.0, 9.0], [0.0, 0.0]], "max").values.shape
    (2, 2)
    """

    values: Any
    reduction: Reduction = "mean"
    weight: float = 1.0
    per: tuple[int, int] = (1, 1)
    full: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.dtype.kind == "f":
            values = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "full", values.shape if self.full == (0, 0) else self.full)

    @property
    def n_values(self) -> int:
        """Number of values that are kept."""
        return int(self.values.size)

    @property
    def can_shrink(self) -> bool:
        """Tell whether it has neighbours to merge."""
        return bool(max(self.values.shape) > _FEWEST_PIXELS)

    def halved(self) -> Raster:
        """Merge neighbours along the longer axis."""
        axis = int(np.argmax(self.values.shape))
        merged = _merge_pairs(np.moveaxis(self.values, axis, -1), self._merging())
        per = (2 * self.per[0], self.per[1]) if axis == 0 else (self.per[0], 2 * self.per[1])
        return replace(self, values=np.moveaxis(merged, -1, axis), per=per)

    def _merging(self) -> Callable[..., Any]:
        if self.reduction == "or":
            return np.bitwise_or
        if self.reduction == "extreme":
            middle = _middle(self.values)

            def keep_farther(first: Floats, second: Floats) -> Floats:
                near = np.nan_to_num(np.abs(first - middle), nan=-1.0)
                far = np.nan_to_num(np.abs(second - middle), nan=-1.0)
                return np.where(far > near, second, first)

            return keep_farther
        return np.fmax if self.reduction == "max" else _average_two

    def encode(self) -> tuple[dict[str, Any], list[bytes]]:
        """Encode for a page; return the description and the stream of its array."""
        if self.values.dtype.kind in "uib":
            coded, stream = encode_exact(self.values.astype(np.int32))
        else:
            coded, stream = encode_rounded([self.values])[0]
        return {"kind": "raster", "per": list(self.per), "full": list(self.full), "arrays": [coded]}, [stream]


@dataclass(frozen=True)
class Points:
    """Points in rows, neighbours of which may be averaged.

    Parameters
    ----------
    values : ndarray, shape (columns, rows, points)
        Coordinates and values of the points; NaN where there is none. Points of a row are
        neighbours, such as consecutive ones along a track.
    weight : float
        Share of the budget, relative to others.

    Examples
    --------
    >>> Points(np.array([[[0.0, 1.0, 2.0]], [[5.0, 7.0, 9.0]]])).halved().values.tolist()
    [[[0.5, 2.0]], [[6.0, 9.0]]]
    """

    values: Floats
    weight: float = 1.0

    @property
    def n_values(self) -> int:
        """Number of values that are kept."""
        return int(self.values.size)

    @property
    def can_shrink(self) -> bool:
        """Tell whether its rows have neighbours to merge."""
        return bool(self.values.shape[-1] > 1)

    def halved(self) -> Points:
        """Average neighbours."""
        return replace(self, values=_merge_pairs(self.values, _average_two))

    def encode(self) -> tuple[dict[str, Any], list[bytes]]:
        """Encode for a page; return the description and a stream for each column."""
        coded = [encode_rounded([column.ravel()])[0] for column in self.values]
        return {"kind": "points", "arrays": [item for item, _ in coded]}, [stream for _, stream in coded]


@dataclass(frozen=True)
class Column:
    """A column of points, in the place of an array of a trace.

    Parameters
    ----------
    points : Points
        The points.
    index : int
        The column.
    """

    points: Points
    index: int


@dataclass(frozen=True)
class Exact:
    """An array that is neither reduced nor rounded.

    Parameters
    ----------
    values : array_like
        Numbers; NaN where there is none.

    Examples
    --------
    >>> Exact([1.5, 2.5]).encode()[0]["arrays"][0]["type"]
    'f8'
    """

    values: Any
    can_shrink = False
    weight = 1.0

    def encode(self) -> tuple[dict[str, Any], list[bytes]]:
        """Encode for a page; return the description and the stream of the array."""
        values = np.asarray(self.values)
        as_type: type[np.generic] = np.int32 if values.dtype.kind in "uib" else np.float64
        coded, stream = encode_exact(values.astype(as_type))
        return {"kind": "array", "arrays": [coded]}, [stream]


def _merge_pairs(values: NDArray[Any], merge: Callable[[Any, Any], Any]) -> NDArray[Any]:
    """Merge neighbours along the last axis; a last one without a neighbour stays."""
    if values.shape[-1] % 2:
        values = np.concatenate([values, values[..., -1:]], axis=-1)
    merged: NDArray[Any] = merge(values[..., 0::2], values[..., 1::2])
    return merged


def _average_two(first: Floats, second: Floats) -> Floats:
    """Average numbers, or return the one that is finite."""
    return np.where(np.isnan(first), second, np.where(np.isnan(second), first, 0.5 * (first + second)))


def _middle(values: NDArray[Any]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else 0.0


def choose_step(values: ArrayLike) -> float:
    """Choose a step between values that the eye cannot see.

    Parameters
    ----------
    values : array_like
        Numbers, adjacent along the last axis.

    Returns
    -------
    float
        A sixteenth of the noise, or 1/4096 of the range of most values if that is more; 0 if most are equal.

    Examples
    --------
    >>> choose_step([[0.0, 4096.0, 0.0, 4096.0]]) >= 1.0
    True
    """
    rows = np.atleast_2d(np.asarray(values, np.float64))
    finite = rows[np.isfinite(rows)]
    if finite.size == 0:
        return 1.0
    # A spike is one value, however few there are.
    left_out = max(finite.size // 100, 1) if finite.size > _FEWEST_TO_LEAVE_OUT else 0
    ends = [left_out, finite.size - 1 - left_out]
    low, high = np.partition(finite, ends)[ends]
    changes = np.abs(np.diff(rows, axis=-1))
    changes = changes[np.isfinite(changes)]
    noise = 1.05 * float(np.median(changes)) if changes.size else 0.0
    return max(float(high - low) / 4096.0, noise / 16.0)


def encode_rounded(levels: Sequence[NDArray[Any]]) -> list[tuple[dict[str, Any], bytes]]:
    """Encode numbers in steps that the eye cannot see, so that all are within half of a step.

    Parameters
    ----------
    levels : sequence of ndarray
        Numbers with a step in common; NaN where there is none. The first tells it.

    Returns
    -------
    list of tuple
        Of each array what is needed for decoding, and the stream. The codes have 16 bits; where the farthest value
        would make their step four times as wide, numbers are floats (but for 16 values or fewer), so that a spike
        neither is cut off nor makes the others coarse.

    Examples
    --------
    >>> low, high = np.linspace(1.0, 2.0, 100), np.linspace(2.0, 3.0, 100)
    >>> [described["type"] for described, _ in encode_rounded([low, high])]
    ['q2', 'q2']
    >>> high[50] = 1e9
    >>> [described["type"] for described, _ in encode_rounded([low, high])]
    ['f4', 'f4']
    """
    step, offset = choose_step(levels[0]), _middle(levels[0])
    farthest = max((_largest(level - offset) for level in levels), default=0.0)
    needed = farthest / _LARGEST
    # What is reduced to the last shows no noise, and must be short.
    if needed <= _COARSEST * step or levels[0].shape[-1] <= _FEWEST_BINS:
        return [quantise(level, max(needed, step) or 1.0, offset) for level in levels]
    # Below the smallest normal float of 32 bits, digits are lost.
    is_short = _SMALLEST_FLOAT <= farthest + abs(offset) < _LARGEST_FLOAT and _ROUNDING * abs(offset) <= step
    return [encode_exact(level.astype(np.float32 if is_short else np.float64)) for level in levels]


def _largest(values: NDArray[Any]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.abs(finite).max()) if finite.size else 0.0


def quantise(values: NDArray[Any], step: float, offset: float) -> tuple[dict[str, Any], bytes]:
    """Round numbers to codes of 16 bits and deflate them.

    Parameters
    ----------
    values : ndarray
        Numbers; NaN has a code of its own.
    step, offset : float
        Value = offset + step code.

    Returns
    -------
    described : dict
        What is needed for decoding.
    stream : bytes
        The low bytes of all codes, then the high bytes, deflated; of differences between neighbours
        where these are smaller.

    Examples
    --------
    >>> described, stream = quantise(np.array([1.0, 2.0, np.nan]), 0.5, 1.0)
    >>> described["shape"], described["step"]
    ([3], 0.5)
    """
    is_known = np.isfinite(values)
    scaled = np.rint((np.where(is_known, values, offset) - offset) / step)
    codes = np.clip(scaled, -_LARGEST, _LARGEST).astype(np.int16)
    codes[~is_known] = MISSING
    flat, change = codes.ravel(), np.diff(codes.ravel(), prepend=np.int16(0))
    # Differences wrap around, and so does their sum.
    is_smooth = np.abs(change.astype(np.int32)).mean() < np.abs(flat.astype(np.int32)).mean() if flat.size else False
    chosen = np.ascontiguousarray(change if is_smooth else flat, "<i2")
    planes = chosen.view(np.uint8).reshape(-1, 2).T
    described = {"type": "q2", "shape": list(values.shape), "step": step, "offset": offset, "delta": bool(is_smooth)}
    return described, zlib.compress(planes.tobytes(), _LEVEL)


def encode_exact(values: NDArray[Any]) -> tuple[dict[str, Any], bytes]:
    """Deflate numbers as they are.

    Parameters
    ----------
    values : ndarray
        Numbers of 32 or 64 bits.

    Returns
    -------
    described : dict
        Type and shape.
    stream : bytes
        The deflated bytes, all first ones before all second ones.

    Examples
    --------
    >>> encode_exact(np.arange(3, dtype=np.int32))[0]
    {'type': 'i4', 'shape': [3]}
    """
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    planes = little.reshape(-1).view(np.uint8).reshape(-1, little.dtype.itemsize).T
    described = {"type": f"{little.dtype.kind}{little.dtype.itemsize}", "shape": list(values.shape)}
    return described, zlib.compress(planes.tobytes(), _LEVEL)


def smallest_power(count: int, most: int) -> int:
    """Return the smallest power of two by which `count` is divided into at most `most` parts.

    Examples
    --------
    >>> smallest_power(8192, 1000), smallest_power(10, 1000)
    (16, 1)
    """
    return 2 ** max(0, math.ceil(math.log2(count / most))) if count > most else 1
