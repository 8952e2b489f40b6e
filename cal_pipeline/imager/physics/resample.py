"""Images resampled to another pixel grid by drizzling."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.imager.dq import LASTING
from cal_pipeline.imager.physics.image import Flags, Floats, Image, find_good
from cal_pipeline.imager.physics.projection import Grid, Projection, cut_grid, find_footprint, map_pixels

LEAST_WEIGHT = 1e-3
"""Part of a pixel that must be covered at least."""

_POSITION_STEPS = 2.0**20
"""Steps per pixel to which positions are rounded."""


class Resampled(NamedTuple):
    """Image on another pixel grid.

    Attributes
    ----------
    data, err : ndarray of float32, shape (y, x)
        Values per pixel and their standard errors, NaN where there is none.
    weight : ndarray of float32, shape (y, x)
        Area of image pixels that went in [image pixels]; 0 where there is no value.
    dq : ndarray of uint32, shape (y, x)
        OR of the data quality of all that went in, without events.
    """

    data: Floats
    err: Floats
    weight: Floats
    dq: Flags


def resample(image: Image, source: Projection, target: Grid) -> Resampled:
    """Resample an image to a grid: each pixel's flux goes to the pixels that it covers.

    Only good pixels take part. Values are per pixel: they change with the pixels' area on the sky.
    The errors of neighbours in the result are correlated; `err` is that of one pixel alone.

    Parameters
    ----------
    image : Image, shape (y, x)
        Image.
    source : Projection
        Projection of the image.
    target : Grid
        Grid of the result.

    Returns
    -------
    Resampled
        Values, their errors from squared weights, weights and data quality. Weights below 1e-3
        count as none.

    Notes
    -----
    Fruchter and Hook, PASP 114, 144 (2002), with whole pixels (pixfrac 1, square kernel). Drizzle
    averages surface brightness, hence the values are divided by the area of each pixel [pixels of
    the target] before. Positions are rounded to 1e-6 pixel: a shift by whole pixels then copies
    values, and no flag crosses to a neighbour that is covered by rounding only.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.image import make_image
    >>> projection = Projection((150.0, 2.0), (1.0, 1.0), ((-1e-5, 0.0), (0.0, 1e-5)))
    >>> image = make_image([[1.0, 3.0]], [[1.0, 1.0]])
    >>> result = resample(image, projection, Grid(projection.moved(0.5, 0), (1, 3)))
    >>> result.data.tolist(), (result.err**2).round(3).tolist(), result.weight.tolist()
    ([[1.0, 2.0, 3.0]], [[1.0, 0.5, 1.0]], [[0.5, 1.0, 0.5]])
    """
    result = _make_empty(target.shape)
    footprint = find_footprint(Grid(source, image.data.shape), target.projection)
    if footprint is None or not image.data.size:
        return result
    overlap = [
        slice(max(part.start, 0), min(part.stop, size)) for part, size in zip(footprint, target.shape, strict=True)
    ]
    if any(part.start >= part.stop for part in overlap):
        return result
    # Drizzle's clipping of images at the edges of its output can lose pixels, and crash: its output
    # holds all of the image.
    rows, columns = (slice(part.start - 1, part.stop + 1) for part in footprint)
    drizzled = _drizzle(image, source, cut_grid(target, rows, columns))
    within = tuple(slice(p.start - r.start, p.stop - r.start) for p, r in zip(overlap, (rows, columns), strict=True))
    for whole, part in zip(result, drizzled, strict=True):
        whole[tuple(overlap)] = part[within]
    return result


def _drizzle(image: Image, source: Projection, target: Grid) -> Resampled:
    """Drizzle an image onto a grid that contains it."""
    # All other steps start faster without it.
    from drizzle.resample import Drizzle

    good = _pad(find_good(image.data, image.err, image.dq))
    rows, columns = good.shape
    y, x = np.ogrid[0.0:rows, 0.0:columns]
    x, y, area = map_pixels(source, target.projection, x, y)
    adder = Drizzle(kernel="square", fillval="NaN", fillval2="NaN", out_shape=target.shape, disable_ctx=True)
    adder.add_image(
        _divide(_pad(image.data), area, good),
        exptime=1.0,  # times count as weights when images are averaged
        pixmap=np.rint(np.stack([x, y], axis=-1) * _POSITION_STEPS) / _POSITION_STEPS,
        data2=np.square(_divide(_pad(image.err), area, good)),
        dq=_pad(image.dq) & LASTING,
        weight_map=good.astype(np.float32),
        pixfrac=1.0,
    )
    none = adder.out_wht < LEAST_WEIGHT
    return Resampled(
        np.where(none, np.float32(np.nan), adder.out_img),
        np.sqrt(np.where(none, np.float32(np.nan), adder.out_img2[0])),
        np.where(none, np.float32(0), adder.out_wht),
        np.where(none, np.uint32(0), adder.out_dq),
    )


def _make_empty(shape: tuple[int, int]) -> Resampled:
    """Make the result of an image that covers nothing."""
    data, err = np.full((2, *shape), np.nan, np.float32)
    return Resampled(data, err, np.zeros(shape, np.float32), np.zeros(shape, np.uint32))


def _pad(array: NDArray[Any]) -> NDArray[Any]:
    """Pad an array with zeros to two rows and columns, of which drizzle needs that many."""
    missing = [(0, max(2 - size, 0)) for size in array.shape]
    return np.pad(array, missing) if any(after for _, after in missing) else array


def _divide(values: Floats, area: NDArray[np.float64], good: NDArray[np.bool_]) -> Floats:
    """Divide values by areas; 0 for pixels that are not good."""
    return np.divide(values, area, out=np.zeros(values.shape), where=good).astype(np.float32)
