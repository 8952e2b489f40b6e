"""Photometry of stars at known places, to compare images with the truth."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SUBPIXELS = 10
"""Parts of a pixel along each axis, to weigh pixels at the edge of an aperture."""


class Photometry(NamedTuple):
    """Measured stars; NaN where a star is too near the edge or a pixel around it has no value.

    Parameters
    ----------
    flux : ndarray, shape (stars,)
        Sum in the aperture above the median of the annulus, corrected for the light outside.
    err : ndarray, shape (stars,)
        Standard deviation of `flux` by the errors of the pixels in aperture and annulus, if their
        noise is independent; NaN without errors.
    x, y : ndarray, shape (stars,)
        Centroids [pixel], counted from 0.

    Examples
    --------
    >>> Photometry(*np.zeros((4, 2))).flux.shape
    (2,)
    """

    flux: Array
    err: Array
    x: Array
    y: Array


def measure_stars(
    image: NDArray[Any], x: Array, y: Array, sigma: float, radius: float = 6.0, err: NDArray[Any] | None = None
) -> Photometry:
    """Measure stars near known places.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        Image, NaN where it has no value.
    x, y : ndarray, shape (stars,)
        Places [pixel], counted from 0.
    sigma : float
        Standard deviation of the image of a star before it is integrated over pixels [pixel].
    radius : float
        Radius of the aperture [pixel]; the annulus reaches from there to twice the radius.
    err : ndarray, shape (y, x), optional
        Standard deviation of each pixel.

    Returns
    -------
    Photometry

    Examples
    --------
    A star of 1000 e/s on a sky of 5 e/s:

    >>> y, x = np.indices((41, 41))
    >>> profile = np.exp(-0.5 * ((x - 20.2) ** 2 + (y - 19.9) ** 2) / 1.5**2)
    >>> image = 5.0 + 1000.0 * profile / profile.sum()
    >>> found = measure_stars(image, np.array([20.0]), np.array([20.0]), sigma=1.5)
    >>> float(found.flux.round(-1)[0]), float(found.x.round(2)[0]), float(found.y.round(2)[0])
    (1000.0, 20.2, 19.9)
    """
    given = np.full(image.shape, np.nan) if err is None else err
    found = [_measure(image, given, *place, sigma, radius) for place in zip(x, y, strict=True)]
    return Photometry(*np.reshape(found, (-1, 4)).T)


def _measure(
    image: NDArray[Any], err: NDArray[Any], x: float, y: float, sigma: float, radius: float
) -> tuple[float, float, float, float]:
    reach = int(np.ceil(2 * radius)) + 1
    column, row = round(x), round(y)
    if not (reach <= column < image.shape[1] - reach and reach <= row < image.shape[0] - reach):
        return np.nan, np.nan, np.nan, np.nan
    part = slice(row - reach, row + reach + 1), slice(column - reach, column + reach + 1)
    stamp, noise = (np.asarray(values[part], np.float64) for values in (image, err))
    yy, xx = np.mgrid[part].astype(np.float64)
    distance = np.hypot(xx - x, yy - y)
    around = (distance > radius) & (distance < 2 * radius)
    signal = stamp - np.nanmedian(stamp[around])
    inside = _aperture(xx - x, yy - y, radius)
    # Integration over pixels widens a Gaussian by the variance of a pixel.
    enclosed = 1.0 - np.exp(-0.5 * radius**2 / (sigma**2 + 1 / 12))
    flux = np.sum(np.where(inside > 0, signal * inside, 0.0)) / enclosed
    known = noise[around & np.isfinite(noise)]
    # A median has π/2 times the variance of the mean.
    level = np.pi / 2 * np.sum(known**2) / max(known.size, 1) ** 2
    variance = np.sum(np.where(inside > 0, (noise * inside) ** 2, 0.0)) + inside.sum() ** 2 * level
    return flux, np.sqrt(variance) / enclosed, *_centroid(signal, xx, yy, x, y, sigma)


def _aperture(dx: Array, dy: Array, radius: float) -> Array:
    """Compute the fraction of each pixel inside a circle."""
    parts = (np.arange(_SUBPIXELS) + 0.5) / _SUBPIXELS - 0.5
    offsets = np.stack(np.meshgrid(parts, parts)).reshape(2, 1, 1, -1)
    within: Array = np.mean(np.hypot(dx[..., None] + offsets[0], dy[..., None] + offsets[1]) < radius, axis=-1)
    return within


def _centroid(signal: Array, xx: Array, yy: Array, x: float, y: float, sigma: float) -> tuple[float, float]:
    """Find the centroid under a Gaussian window that moves with it."""
    for _ in range(20):
        weight = signal * np.exp(-0.5 * ((xx - x) ** 2 + (yy - y) ** 2) / sigma**2)
        near = np.hypot(xx - x, yy - y) < 4 * sigma
        total = weight[near].sum()
        # Under a window as wide as the star the centroid moves half of the way.
        step = [2.0 * (weight * axis)[near].sum() / total for axis in (xx - x, yy - y)]
        x, y = x + step[0], y + step[1]
        if not np.hypot(*step) > 1e-6:
            break
    return x, y
