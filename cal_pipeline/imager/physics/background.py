"""Sky background: levels of images, combined sky exposures, and their subtraction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.imager.dq import DQ, LASTING
from cal_pipeline.imager.physics.combine import combine_frames
from cal_pipeline.imager.physics.image import MAD_TO_SIGMA, MEDIAN_ERROR, Image, add_errors, find_good

CLIP_SIGMA = 3.0
"""Distance from the median beyond which a pixel is no background [1.4826 MAD]."""

MOST_CLIPS = 10
"""Largest number of clippings."""

SIGNIFICANCE = 5.0
"""Level over its error above which skies are scaled to each other."""


class Level(NamedTuple):
    """Background level of an image.

    Attributes
    ----------
    value, err : float
        Clipped median of the good pixels and its standard error; NaN without any.
    n_pixels : int
        Number of pixels left.
    """

    value: float
    err: float
    n_pixels: int

    @property
    def significant(self) -> bool:
        """Tell whether the level exceeds five of its errors."""
        return self.value > SIGNIFICANCE * self.err


def measure_level(image: Image) -> Level:
    """Measure the background level: the median of the good pixels, clipped at 3 sigma.

    Sigma is 1.4826 times the median absolute deviation. Clipping ends when no pixel goes, at the
    latest after ten times.

    Parameters
    ----------
    image : Image
        Image, mostly of blank sky.

    Returns
    -------
    Level

    Examples
    --------
    >>> from cal_pipeline.imager.physics.image import make_image
    >>> level = measure_level(make_image([9.0, 10.0, 11.0, 10.0, 99.0], np.ones(5)))
    >>> level.value, level.n_pixels
    (10.0, 4)
    """
    kept = np.sort(image.data[find_good(image.data, image.err, image.dq)]).astype(np.float64)
    if not kept.size:
        return Level(np.nan, np.nan, 0)
    for _ in range(MOST_CLIPS):
        median, sigma = _measure_sorted(kept)
        inside = slice(
            np.searchsorted(kept, median - CLIP_SIGMA * sigma, "left"),
            np.searchsorted(kept, median + CLIP_SIGMA * sigma, "right"),
        )
        n_before, kept = kept.size, kept[inside]
        if kept.size == n_before:
            break
    median, sigma = _measure_sorted(kept)
    return Level(median, MEDIAN_ERROR * sigma / float(np.sqrt(kept.size)), kept.size)


def _measure_sorted(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return median and scaled median absolute deviation of sorted values (n,)."""
    median = 0.5 * (values[(values.size - 1) // 2] + values[values.size // 2])
    return float(median), MAD_TO_SIGMA * float(np.median(np.abs(values - median)))


def scale_levels(levels: Sequence[Level]) -> NDArray[np.float64]:
    """Compute the factors that bring skies to their mean level.

    Parameters
    ----------
    levels : sequence of Level, k of them
        Levels of the sky exposures.

    Returns
    -------
    ndarray, shape (k,)
        mean(m)/m_k; all 1 unless every level is significant.

    Examples
    --------
    >>> scale_levels([Level(50.0, 1.0, 99), Level(100.0, 1.0, 99), Level(150.0, 1.0, 99)]).round(3).tolist()
    [2.0, 1.0, 0.667]
    >>> scale_levels([Level(50.0, 1.0, 99), Level(0.1, 1.0, 99)]).tolist()
    [1.0, 1.0]
    """
    values = np.array([level.value for level in levels])
    if not all(level.significant for level in levels):
        return np.ones(values.size)
    return np.asarray(values.mean() / values)


def combine_skies(skies: Sequence[Image], sigma: float = 4.0) -> Image:
    """Combine sky exposures to the background: the mean of the skies, scaled to their mean level.

    Parameters
    ----------
    skies : sequence of Image
        Sky exposures without dark, divided by the flat.
    sigma : float
        Distance beyond which a sample is an outlier, see :func:`.combine_frames`.

    Returns
    -------
    Image
        Background and its error; NaN where no sky is good.

    Raises
    ------
    ObservationError
        Without any sky.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.image import make_image
    >>> skies = [make_image(np.full(9, level), np.ones(9)) for level in (50.0, 100.0, 150.0)]
    >>> combine_skies(skies).data[0]
    np.float32(100.0)
    """
    if not skies:
        raise ObservationError("No sky exposures to combine: found 0, expected at least 1")
    factors = scale_levels([measure_level(sky) for sky in skies])
    arrays = ([sky.data for sky in skies], [sky.err for sky in skies], [sky.dq for sky in skies])
    return combine_frames(*arrays, "mean", sigma, factors)


def match_level(image: Level, background: Level) -> float:
    """Compute the factor that brings a background to the level of an image.

    Parameters
    ----------
    image, background : Level
        Levels of both.

    Returns
    -------
    float
        Ratio of the levels; 1 if that of the background is not significant, or that of the image is
        unknown.

    Examples
    --------
    >>> match_level(Level(110.0, 1.0, 99), Level(100.0, 1.0, 99))
    1.1
    """
    if not background.significant or not np.isfinite(image.value):
        return 1.0
    return image.value / background.value


def subtract_background(image: Image, background: Image, scale: float = 1.0) -> Image:
    """Subtract a background and add its error in quadrature.

    The errors of dark and flat are common to image and background, and partly cancel. They are
    counted in both, so that the error is not too small for images at least half as bright as the
    background.

    Parameters
    ----------
    image : Image, shape (y, x) or (I, y, x)
        Image.
    background : Image, shape (y, x)
        Background. Where it has no value nothing is subtracted, and the pixel becomes DO_NOT_USE.
    scale : float
        Factor s of the background.

    Returns
    -------
    Image
        data - s·background, err² + s² err_background²; `dq` with the lasting bits of both.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.image import make_image
    >>> image = subtract_background(make_image([7.0, 7.0], [3.0, 3.0]), make_image([2.0, np.nan], [2.0, np.nan]), 2.0)
    >>> image.data.tolist(), image.err.tolist(), image.dq.tolist()
    ([3.0, 7.0], [5.0, 3.0], [0, 1])
    """
    known = np.isfinite(background.data) & np.isfinite(background.err)
    flags = (background.dq & LASTING) | np.where(known, 0, DQ.DO_NOT_USE).astype(np.uint32)
    return image._replace(
        data=(image.data - scale * np.where(known, background.data, 0.0).astype(np.float64)).astype(np.float32),
        err=add_errors(image.err, np.where(known, background.err, 0.0), scale),
        dq=image.dq | flags,
    )


def subtract_level(image: Image, level: Level) -> Image:
    """Subtract a constant level; errors stay.

    Parameters
    ----------
    image : Image
        Image.
    level : Level
        Level, from :func:`measure_level`; an unknown one (no good pixel) is taken for 0.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.image import make_image
    >>> subtract_level(make_image([7.0, 8.0], [1.0, 1.0]), Level(7.5, 0.1, 2)).data
    array([-0.5,  0.5], dtype=float32)
    """
    value = level.value if np.isfinite(level.value) else 0.0
    return image._replace(data=(image.data - np.float64(value)).astype(np.float32))
