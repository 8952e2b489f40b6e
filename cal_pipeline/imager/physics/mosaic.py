"""Mosaic of dithered images: their weighted mean on a common grid."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cal_pipeline.imager.dq import DQ, LASTING
from cal_pipeline.imager.physics.image import Flags, Floats, Image, Mask, cut_image
from cal_pipeline.imager.physics.outlier import FEWEST_VALUES, OutlierLimits, find_outliers
from cal_pipeline.imager.physics.projection import Grid, Projection, cut_grid, find_part
from cal_pipeline.imager.physics.resample import Resampled, resample

_TILE = 512

Mapper = Callable[[Callable[[Any], None], Iterable[Any]], Iterable[Any]]
"""Function that calls another on all items, as `map` does."""


class Mosaic(NamedTuple):
    """Mosaic of images.

    Attributes
    ----------
    data, err : ndarray of float32, shape (y, x)
        Mean values and standard errors, NaN where there is no image. Errors of neighbours are
        correlated: the error of a sum over pixels is larger than from `err` alone.
    weight : ndarray of float32, shape (y, x)
        Sum of exposure time times covered area [s].
    dq : ndarray of uint32, shape (y, x)
        OR of the data quality of all that went in, without events; DO_NOT_USE where there is none.
    """

    data: Floats
    err: Floats
    weight: Floats
    dq: Flags


def average_images(
    images: Sequence[Resampled], exposure_times: Sequence[float], outliers: Mask | None = None
) -> Mosaic:
    """Average images on one grid, weighted with exposure time and covered area.

    Parameters
    ----------
    images : sequence of Resampled, k of them
        Images on one grid.
    exposure_times : sequence of float, length k
        Exposure times [s].
    outliers : ndarray of bool, shape (k, y, x), or None
        Values to leave out; None: nowhere.

    Returns
    -------
    Mosaic

    Examples
    --------
    >>> def constant(value):
    ...     return Resampled(*np.full((3, 1, 1), value), np.zeros((1, 1), np.uint32))
    >>> mosaic = average_images([constant(1.0), constant(3.0)], [30.0, 10.0])
    >>> mosaic.data.item(), mosaic.weight.item()
    (2.0, 60.0)
    """
    shape = images[0].data.shape
    total, squares, weights = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    dq = np.zeros(shape, np.uint32)
    for k, (image, time) in enumerate(zip(images, exposure_times, strict=True)):
        used = image.weight > 0.0
        if outliers is not None:
            used &= ~outliers[k]
        weight = np.where(used, time * image.weight.astype(np.float64), 0.0)
        total += weight * np.where(used, image.data, 0.0)
        squares += np.square(weight * np.where(used, image.err, 0.0))
        weights += weight
        dq |= np.where(used, image.dq & LASTING, np.uint32(0))
    present = weights > 0.0
    divisor = np.where(present, weights, np.nan)
    return Mosaic(
        (total / divisor).astype(np.float32),
        (np.sqrt(squares) / divisor).astype(np.float32),
        weights.astype(np.float32),
        dq | np.where(present, np.uint32(0), np.uint32(DQ.DO_NOT_USE)),
    )


class GridMask(NamedTuple):
    """Mask of some pixels of a grid, in a rectangle that holds all of an image.

    Attributes
    ----------
    rows, columns : slice
        Rectangle.
    mask : ndarray of bool, shape (rows, columns)
        Mask.
    """

    rows: slice
    columns: slice
    mask: Mask


def find_outliers_of_images(
    images: Sequence[Image],
    projections: Sequence[Projection],
    grid: Grid,
    sigma: float = 5.0,
    gradient: float = 1.0,
    mapper: Mapper = map,
) -> list[GridMask]:
    """Find the outliers of images once they are resampled to a grid.

    Parameters
    ----------
    images : sequence of Image, k of them
        Images, of any shapes.
    projections : sequence of Projection, length k
        Their projections.
    grid : Grid
        Grid of the mosaic, from :func:`.compute_grid`.
    sigma, gradient : float
        Limits of :func:`.find_outliers`.
    mapper : callable
        Function like `map`, which may work on several tiles at a time.

    Returns
    -------
    list of GridMask, length k
        Pixels of the grid where the resampled image is an outlier, for :func:`build_mosaic`.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.image import make_image
    >>> projection = Projection((150.0, 2.0), (1.0, 1.0), ((-1e-5, 0.0), (0.0, 1e-5)))
    >>> images = [make_image([[1.0, value]], [[1.0, 1.0]]) for value in (1.0, 1.0, 30.0)]
    >>> found = find_outliers_of_images(images, [projection] * 3, Grid(projection, (1, 2)))
    >>> [outliers.mask.tolist() for outliers in found]
    [[[False, False]], [[False, False]], [[False, True]]]
    """
    found = [
        _make_mask(Grid(projection, image.data.shape), grid)
        for image, projection in zip(images, projections, strict=True)
    ]

    def search(tile: _Tile) -> None:
        resampled = resample_images(images, projections, cut_grid(grid, *tile.outer))
        for k, mask in zip(resampled, _search_tile(resampled, tile, OutlierLimits(sigma, gradient)), strict=True):
            _copy_overlap(GridMask(*tile.inner, mask), found[k])

    list(mapper(search, _divide_into_tiles(grid.shape)))
    return found


def _search_tile(resampled: Mapping[int, Resampled], tile: _Tile, limits: OutlierLimits) -> Mask:
    """Find the outliers (k, y, x) in a tile of images that were resampled to it and its neighbours."""
    if len(resampled) < FEWEST_VALUES:
        return np.zeros((len(resampled), *_shape_of(tile)), np.bool_)
    values, errors = (np.stack([getattr(image, name) for image in resampled.values()]) for name in ("data", "err"))
    return find_outliers(values, errors, *limits)[:, *tile.within]


def _make_mask(image: Grid, grid: Grid) -> GridMask:
    """Make an empty mask for an image."""
    rows, columns = find_part(grid, image)
    return GridMask(rows, columns, np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.bool_))


def _copy_overlap(source: GridMask, target: GridMask) -> None:
    """Copy a mask to another, as far as they overlap."""
    there, here = [], []
    for part, other in zip(source[:2], target[:2], strict=True):
        start, stop = max(part.start, other.start), min(part.stop, other.stop)
        if start >= stop:
            return
        there.append(slice(start - part.start, stop - part.start))
        here.append(slice(start - other.start, stop - other.start))
    target.mask[here[0], here[1]] = source.mask[there[0], there[1]]


def build_mosaic(
    images: Sequence[Image],
    projections: Sequence[Projection],
    exposure_times: Sequence[float],
    grid: Grid,
    outliers: Sequence[GridMask] | OutlierLimits | None = None,
    mapper: Mapper = map,
) -> Mosaic:
    """Build a mosaic: resample images to a grid and average them without outliers.

    Parameters
    ----------
    images : sequence of Image, k of them
        Images, of any shapes.
    projections : sequence of Projection, length k
        Their projections.
    exposure_times : sequence of float, length k
        Exposure times [s].
    grid : Grid
        Grid of the mosaic, from :func:`.compute_grid`.
    outliers : sequence of GridMask, length k, OutlierLimits, or None
        Values to leave out, from :func:`find_outliers_of_images`, or the limits to find them by;
        None: nowhere. The result is the same, but images are resampled once only with limits.
    mapper : callable
        Function like `map`, which may work on several tiles at a time.

    Returns
    -------
    Mosaic

    Notes
    -----
    The grid is filled by tiles, so that only little of the images is resampled at a time. Of
    several threads one drizzles at a time, while others do the rest, which is a third of the work.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.image import make_image
    >>> projection = Projection((150.0, 2.0), (1.0, 1.0), ((-1e-5, 0.0), (0.0, 1e-5)))
    >>> image = make_image([[1.0, 3.0]], [[1.0, 1.0]])
    >>> build_mosaic([image], [projection], [30.0], Grid(projection, (1, 2))).data
    array([[1., 3.]], dtype=float32)
    """
    data, err = np.full((2, *grid.shape), np.nan, np.float32)
    weight = np.zeros(grid.shape, np.float32)
    mosaic = Mosaic(data, err, weight, np.full(grid.shape, DQ.DO_NOT_USE, np.uint32))

    def fill(tile: _Tile) -> None:
        # Neighbours are resampled even if nothing is sought, so that values do not depend on it.
        resampled = resample_images(images, projections, cut_grid(grid, *tile.outer))
        if not resampled:
            return
        masks = _mask_tile(resampled, tile, outliers)
        inner = [Resampled._make(array[tile.within] for array in image) for image in resampled.values()]
        averaged = average_images(inner, [exposure_times[k] for k in resampled], masks)
        for whole, part in zip(mosaic, averaged, strict=True):
            whole[tile.inner] = part

    list(mapper(fill, _divide_into_tiles(grid.shape)))
    return mosaic


def _mask_tile(
    resampled: Mapping[int, Resampled], tile: _Tile, outliers: Sequence[GridMask] | OutlierLimits | None
) -> Mask | None:
    """Return the values (k, y, x) of a tile that are left out; None for none."""
    if outliers is None:
        return None
    if isinstance(outliers, OutlierLimits):
        return _search_tile(resampled, tile, outliers)
    masks = np.zeros((len(resampled), *_shape_of(tile)), np.bool_)
    for k, mask in zip(resampled, masks, strict=True):
        _copy_overlap(outliers[k], GridMask(*tile.inner, mask))
    return masks


def resample_images(images: Sequence[Image], projections: Sequence[Projection], target: Grid) -> dict[int, Resampled]:
    """Resample the images that lie in a part of the sky.

    Parameters
    ----------
    images : sequence of Image
        Images.
    projections : sequence of Projection
        Their projections.
    target : Grid
        Part of the sky.

    Returns
    -------
    dict of int to Resampled
        Resampled images by their index; images outside are missing.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.image import make_image
    >>> projection = Projection((150.0, 2.0), (1.0, 1.0), ((-1e-5, 0.0), (0.0, 1e-5)))
    >>> image = make_image(np.ones((4, 4)), np.ones((4, 4)))
    >>> list(resample_images([image, image], [projection, projection.moved(9, 0)], Grid(projection, (4, 4))))
    [0]
    """
    resampled = {}
    for k, (image, projection) in enumerate(zip(images, projections, strict=True)):
        rows, columns = find_part(Grid(projection, image.data.shape), target)
        if rows.stop > rows.start:
            moved = projection.moved(-columns.start, -rows.start)
            resampled[k] = resample(cut_image(image, rows, columns), moved, target)
    return resampled


class _Tile(NamedTuple):
    """Tile of a grid, one with its neighbouring pixels, and the place of the one in the other."""

    inner: tuple[slice, slice]
    outer: tuple[slice, slice]
    within: tuple[slice, slice]


def _shape_of(tile: _Tile) -> tuple[int, int]:
    """Return the shape of a tile without its neighbours."""
    rows, columns = tile.inner
    return rows.stop - rows.start, columns.stop - columns.start


def _divide_into_tiles(shape: tuple[int, int]) -> Iterator[_Tile]:
    """Divide a grid into tiles; medians of the neighbouring pixels belong to the gradient."""
    for start in itertools.product(*(range(0, size, _TILE) for size in shape)):
        stop = [min(i + _TILE, size) for i, size in zip(start, shape, strict=True)]
        first = [max(i - 1, 0) for i in start]
        last = [min(i + 1, size) for i, size in zip(stop, shape, strict=True)]
        within = [slice(i - j, k - j) for i, j, k in zip(start, first, stop, strict=True)]
        yield _Tile(
            (slice(start[0], stop[0]), slice(start[1], stop[1])),
            (slice(first[0], last[0]), slice(first[1], last[1])),
            (within[0], within[1]),
        )
