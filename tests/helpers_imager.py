"""Photometry of stars, to compare images of the imager with the truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SUBPIXELS = 10
"""Parts of a pixel along each axis, to weigh pixels at the edge of an aperture."""


class Photometry(NamedTuple):
    """Measured stars; NaN where a star is too near the edge or a pixel in its aperture has no value.

    Parameters
    ----------
    flux : ndarray, shape (stars,)
        Sum in the aperture above the median of the annulus, corrected for the light outside.
    x, y : ndarray, shape (stars,)
        Centroids, pixels counted from 0.
    """

    flux: Array
    x: Array
    y: Array


def measure_stars(image: NDArray, x: Array, y: Array, sigma: float, radius: float = 6.0) -> Photometry:
    """Measure stars near known places.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        Image, NaN where it has no value.
    x, y : ndarray, shape (stars,)
        Places, pixels counted from 0.
    sigma : float
        Standard deviation of the image of a star before it is integrated over pixels.
    radius : float
        Radius of the aperture; the annulus reaches from there to twice the radius.
    """
    return Photometry(*np.array([_measure(image, *place, sigma, radius) for place in zip(x, y, strict=True)]).T)


def _measure(image: NDArray, x: float, y: float, sigma: float, radius: float) -> tuple[float, float, float]:
    reach = int(np.ceil(2 * radius)) + 1
    column, row = round(x), round(y)
    if not (reach <= column < image.shape[1] - reach and reach <= row < image.shape[0] - reach):
        return np.nan, np.nan, np.nan
    stamp = np.asarray(image[row - reach : row + reach + 1, column - reach : column + reach + 1], float)
    yy, xx = np.mgrid[row - reach : row + reach + 1, column - reach : column + reach + 1].astype(float)
    distance = np.hypot(xx - x, yy - y)
    signal = stamp - np.nanmedian(stamp[(distance > radius) & (distance < 2 * radius)])
    inside = _aperture(xx - x, yy - y, radius)
    # Integration over pixels widens a Gaussian by the variance of a pixel.
    enclosed = 1.0 - np.exp(-0.5 * radius**2 / (sigma**2 + 1 / 12))
    flux = np.sum(np.where(inside > 0, signal * inside, 0.0)) / enclosed
    return flux, *_centroid(signal, xx, yy, x, y, sigma)


def _aperture(dx: Array, dy: Array, radius: float) -> Array:
    """Compute the fraction of each pixel inside a circle."""
    parts = (np.arange(SUBPIXELS) + 0.5) / SUBPIXELS - 0.5
    offsets = np.stack(np.meshgrid(parts, parts)).reshape(2, 1, 1, -1)
    return np.mean(np.hypot(dx[..., None] + offsets[0], dy[..., None] + offsets[1]) < radius, axis=-1)


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
