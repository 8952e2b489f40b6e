"""Dark rate: subtraction from images, and hot pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.imager.dq import DQ, LASTING
from cal_pipeline.imager.physics.image import MAD_TO_SIGMA, Flags, Image, add_errors, find_good


def subtract_dark(
    image: Image, dark: NDArray[Any], err: NDArray[Any] | float = 0.0, dq: NDArray[Any] | int = 0
) -> Image:
    """Subtract the dark rate and add its error in quadrature.

    The dark counts of the image itself stay in its Poisson variance, because they were measured.

    Parameters
    ----------
    image : Image, shape (y, x) or (I, y, x)
        Rates [e/s].
    dark, err : ndarray, shape (y, x)
        Dark rate and its standard error [e/s]. Where one of them is not finite nothing is
        subtracted, and the pixel becomes UNRELIABLE_DARK.
    dq : ndarray of uint32, shape (y, x)
        Data quality of the dark; its events are ignored.

    Returns
    -------
    Image
        data - dark, err² + err_dark², all else as in `image`.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.image import make_image
    >>> image = subtract_dark(make_image([5.0, 5.0], [0.3, 0.3]), np.array([2.0, np.nan]), np.array([0.4, 0.4]))
    >>> image.data.tolist(), np.allclose(image.err, [0.5, 0.3]), DQ(int(image.dq[1])).name
    ([3.0, 5.0], True, 'UNRELIABLE_DARK')
    """
    known = np.isfinite(dark) & np.isfinite(err)
    flags = (np.asarray(dq, np.uint32) & LASTING) | np.where(known, 0, DQ.UNRELIABLE_DARK).astype(np.uint32)
    return image._replace(
        data=(image.data - np.where(known, dark, 0.0).astype(np.float64)).astype(np.float32),
        err=add_errors(image.err, np.where(known, err, 0.0)),
        dq=image.dq | flags,
    )


def flag_hot_pixels(dark: Image, hot_sigma: float = 20.0) -> Flags:
    """Flag the pixels whose dark rate is far above the median as HOT.

    Parameters
    ----------
    dark : Image, shape (y, x)
        Dark rate.
    hot_sigma : float
        Distance from the median beyond which a pixel is hot [1.4826 median absolute deviations of
        the good pixels].

    Returns
    -------
    ndarray of uint32, shape (y, x)
        Data quality of `dark`, with HOT.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.image import make_image
    >>> flag_hot_pixels(make_image([0.9, 1.0, 1.1, 1.0, 9.0], np.ones(5))).tolist()
    [0, 0, 0, 0, 2048]
    """
    good = dark.data[find_good(dark.data, dark.err, dark.dq)].astype(np.float64)
    if not good.size:
        return dark.dq.copy()
    median = np.median(good)
    hot = dark.data - median > hot_sigma * MAD_TO_SIGMA * np.median(np.abs(good - median))
    return dark.dq | np.where(hot, DQ.HOT, 0).astype(np.uint32)
