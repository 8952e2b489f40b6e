"""Combined frames: mean or median of several images of one scene, without outliers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.core.errors import ObservationError
from cal_pipeline.imager.dq import DQ, LASTING
from cal_pipeline.imager.physics.image import Flags, Floats, Image, find_good, make_image

Method = Literal["mean", "median"]

MEDIAN_ERRORS = np.array([np.nan, 1.0, 1.0, 1.160, 1.092, 1.198, 1.135, 1.214, 1.160, 1.223, math.sqrt(math.pi / 2)])
"""Standard error of the median of n normal deviates over that of their mean; the last one is for all n from 10 on."""

_ROWS = 64
_DO_NOT_USE = np.uint32(DQ.DO_NOT_USE)
_OUTLIER = np.uint32(DQ.OUTLIER)
_LASTING = LASTING
_INSERTION = 32


def combine_frames(
    data: Sequence[NDArray[Any]] | NDArray[Any],
    err: Sequence[NDArray[Any]] | NDArray[Any],
    dq: Sequence[NDArray[Any]] | NDArray[Any],
    method: Method = "mean",
    sigma: float = 4.0,
    factors: Sequence[float] | NDArray[np.float64] | None = None,
) -> Image:
    """Combine frames pixel by pixel, without the samples far from their median.

    Of the good samples of a pixel those go that are more than `sigma` of their own error from the
    median of all of them, once. If all of them would, all stay, and the pixel becomes OUTLIER.

    Parameters
    ----------
    data, err : sequence of ndarray, or ndarray, shape (k, y, x)
        Values of k frames and their standard errors.
    dq : sequence of ndarray of uint32, or ndarray, shape (k, y, x)
        Data quality.
    method : {"mean", "median"}
        Mean, unweighted, or median of the samples kept.
    sigma : float
        Distance beyond which a sample is an outlier [its error]; 0: none is.
    factors : sequence of float, length k, or None
        Factors of the frames, without errors; None: 1.

    Returns
    -------
    Image, shape (y, x)
        Combined frame. `err` is sqrt(sum of err²)/n, for medians times :data:`MEDIAN_ERRORS`. `dq`
        is the OR of the samples kept, without events; of all samples, with DO_NOT_USE, where none
        is good. There data and error are NaN. Variances are zero.

    Raises
    ------
    ObservationError
        Without any frame.

    Notes
    -----
    Weights from Poisson errors would bias the mean low, because errors follow the noise. Distances
    in units of the samples' own scatter would find nothing: of five samples none is ever 1.8
    standard deviations from their mean (Shiffler, Am. Stat. 42, 79, 1988). The variance of the
    median of few normal deviates: Chu, Ann. Math. Stat. 26, 112 (1955). The factor for 10 and more
    frames is the limit for many, at most 7 % too large (10 frames).

    Examples
    --------
    >>> data = np.array([10.0, 11.0, 12.0, 99.0]).reshape(4, 1, 1)
    >>> combined = combine_frames(data, np.ones((4, 1, 1)), np.zeros((4, 1, 1), np.uint32))
    >>> combined.data.item(), round(combined.err.item(), 3)
    (11.0, 0.577)
    """
    if not len(data):
        raise ObservationError("No frames to combine: found 0, expected at least 1")
    shape = data[0].shape
    scale = np.ones(len(data)) if factors is None else np.asarray(factors, np.float64)
    combined = make_image(np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint32))
    # By rows: a block of all frames is small, and the frames need not be stacked.
    for start in range(0, shape[0], _ROWS):
        rows = slice(start, start + _ROWS)
        values, errors = (np.stack([frame[rows] for frame in array], dtype=np.float32) for array in (data, err))
        flags = np.stack([frame[rows] for frame in dq], dtype=np.uint32)
        results = _combine(
            _flatten(values), _flatten(errors), _flatten(flags), scale, method == "median", sigma, MEDIAN_ERRORS
        )
        for whole, result in zip((combined.data, combined.err, combined.dq), results, strict=True):
            whole[rows] = result.reshape(whole[rows].shape)
    return combined


def _flatten(block: NDArray[Any]) -> NDArray[Any]:
    """Reshape a block (k, ...) to (k, n)."""
    return block.reshape(len(block), -1)


@compiled
def _median_in_place(values: NDArray[np.float64]) -> float:
    """Sort values (n,) and return their median."""
    n = values.size
    if n > _INSERTION:
        values.sort()
    else:
        for i in range(1, n):  # insertion is fastest for few
            value = values[i]
            j = i
            while j > 0 and values[j - 1] > value:
                values[j] = values[j - 1]
                j -= 1
            values[j] = value
    return float(0.5 * (values[(n - 1) // 2] + values[n // 2]))


@compiled
def _combine(
    data: Floats,
    err: Floats,
    dq: Flags,
    scale: NDArray[np.float64],
    use_median: bool,
    sigma: float,
    median_errors: NDArray[np.float64],
) -> tuple[Floats, Floats, Flags]:
    """Combine frames (k, n) into data, error and data quality (n,)."""
    n_frames, n_pixels = data.shape
    combined = np.empty(n_pixels, np.float32)
    error = np.empty(n_pixels, np.float32)
    quality = np.empty(n_pixels, np.uint32)
    good = np.empty(n_frames, np.int64)
    sample = np.empty(n_frames)
    for i in range(n_pixels):
        n = 0
        flags_of_all = np.uint32(0)
        for k in range(n_frames):
            flags_of_all |= dq[k, i]
            if np.isfinite(data[k, i]) and np.isfinite(err[k, i]) and not dq[k, i] & _DO_NOT_USE:
                good[n] = k
                sample[n] = scale[k] * data[k, i]
                n += 1
        if n == 0:
            combined[i] = error[i] = np.nan
            quality[i] = (flags_of_all & _LASTING) | _DO_NOT_USE
            continue
        flags = np.uint32(0)
        median = 0.0
        if sigma > 0.0 or use_median:
            median = _median_in_place(sample[:n])
        if sigma > 0.0:
            n_kept = 0
            for j in range(n):
                k = good[j]
                if not abs(scale[k] * data[k, i] - median) > sigma * scale[k] * err[k, i]:
                    good[n_kept] = k  # never ahead of j
                    n_kept += 1
            if n_kept == 0:
                flags |= _OUTLIER
            elif n_kept < n:
                n = n_kept
                for j in range(n):
                    sample[j] = scale[good[j]] * data[good[j], i]
                if use_median:
                    median = _median_in_place(sample[:n])
        total = variance = 0.0
        for j in range(n):
            k = good[j]
            total += scale[k] * data[k, i]
            variance += (scale[k] * err[k, i]) ** 2
            flags |= dq[k, i] & _LASTING
        combined[i] = median if use_median else total / n
        factor = median_errors[min(n, median_errors.size - 1)] if use_median else 1.0
        error[i] = factor * np.sqrt(variance) / n
        quality[i] = flags
    return combined, error, quality


def normalize(image: Image, method: Method = "median") -> Image:
    """Divide an image by the median or mean of its good pixels.

    Parameters
    ----------
    image : Image
        Image, for example a flat-field exposure.
    method : {"median", "mean"}
        Level that becomes 1.

    Returns
    -------
    Image
        Data and errors over the level, variances over its square.

    Raises
    ------
    ObservationError
        If the level is not above 0, or no pixel is good.

    Examples
    --------
    >>> normalize(make_image([[1.0, 2.0, 4.0]], [[0.1, 0.1, 0.1]])).data
    array([[0.5, 1. , 2. ]], dtype=float32)
    """
    good = image.data[find_good(image.data, image.err, image.dq)]
    level = (np.median if method == "median" else np.mean)(good.astype(np.float64)) if good.size else np.nan
    if not level > 0.0:
        raise ObservationError(
            f"The image cannot be normalized: found {level:.6g} as {method} of its {good.size} good "
            "pixels, expected above 0"
        )
    return scale_image(image, 1.0 / float(level))


def scale_image(image: Image, factor: float) -> Image:
    """Multiply an image by a factor without error.

    Parameters
    ----------
    image : Image
        Image.
    factor : float
        Factor of the data; its absolute value and square are those of errors and variances.

    Examples
    --------
    >>> scale_image(make_image([3.0], [1.0], var_rnoise=[1.0]), 2.0).var_rnoise
    array([4.], dtype=float32)
    """
    variance_factor = factor * factor
    return Image(
        _multiply(image.data, factor),
        _multiply(image.err, abs(factor)),
        _multiply(image.var_poisson, variance_factor),
        _multiply(image.var_rnoise, variance_factor),
        _multiply(image.var_flat, variance_factor),
        image.dq.copy(),
    )


def _multiply(values: NDArray[Any], factor: float) -> Floats:
    """Multiply in double precision."""
    return (values * np.float64(factor)).astype(np.float32)
