"""Flat field: division of images by it, and its unusable pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.imager.dq import DQ, LASTING
from cal_pipeline.imager.physics.image import Flags, Image

UNUSABLE = np.uint32(DQ.NO_FLAT_FIELD | DQ.DO_NOT_USE)
"""Bits of a pixel without a usable flat field; one of them in a flat makes its pixel unusable."""


def divide_by_flat(
    image: Image, flat: NDArray[Any], err: NDArray[Any] | float = 0.0, dq: NDArray[Any] | int = 0
) -> Image:
    """Divide an image by the flat field and propagate the error of the flat.

    With flat F and its error e_F the variance that F adds is (data·e_F/F²)². A pixel whose F or e_F
    is not finite, whose F is not above 0, or which `dq` calls NO_FLAT_FIELD or DO_NOT_USE, keeps its
    values, with a var_flat of 0, and becomes NO_FLAT_FIELD | DO_NOT_USE.

    Parameters
    ----------
    image : Image, shape (y, x) or (I, y, x)
        Rates without dark.
    flat, err : ndarray, shape (y, x)
        Relative response, its median about 1, and its standard error.
    dq : ndarray of uint32, shape (y, x)
        Data quality of the flat; its events are ignored.

    Returns
    -------
    Image
        data/F, err² = (err/F)² + var_flat; the other variances over F².

    Examples
    --------
    >>> from cal_pipeline.imager.physics.image import make_image
    >>> image = divide_by_flat(make_image([8.0, 8.0], [0.0, 1.0]), np.array([2.0, 0.0]), np.array([0.25, 0.25]))
    >>> image.data.tolist(), image.err.tolist(), image.dq.tolist()
    ([4.0, 8.0], [0.5, 1.0], [0, 262145])
    """
    response, response_err = np.asarray(flat, np.float64), np.asarray(err, np.float64)
    lasting = np.asarray(dq, np.uint32) & LASTING
    usable = np.isfinite(response) & (response > 0.0) & np.isfinite(response_err) & (lasting & UNUSABLE == 0)
    flags: Flags = lasting | np.where(usable, 0, UNUSABLE).astype(np.uint32)
    divisor = np.where(usable, response, 1.0)
    data = image.data / divisor
    # An infinite value, which is never good, times an error of 0 is NaN.
    with np.errstate(invalid="ignore"):
        from_flat = data * (np.where(usable, response_err, 0.0) / divisor)
    var_flat = np.square(from_flat)
    return Image(
        data=data.astype(np.float32),
        err=np.hypot(image.err / divisor, from_flat).astype(np.float32),
        var_poisson=(image.var_poisson / divisor**2).astype(np.float32),
        var_rnoise=(image.var_rnoise / divisor**2).astype(np.float32),
        # 0 and not NaN where the image itself has no value
        var_flat=np.where(usable, var_flat, 0.0).astype(np.float32),
        dq=image.dq | flags,
    )


def flag_unusable_flat(flat: Image, min_flat: float = 0.1) -> Flags:
    """Flag the pixels that are too insensitive, or unknown, to divide by.

    Parameters
    ----------
    flat : Image, shape (y, x)
        Normalized flat field.
    min_flat : float
        Smallest usable response.

    Returns
    -------
    ndarray of uint32, shape (y, x)
        Data quality of `flat`, with NO_FLAT_FIELD | DO_NOT_USE where it is below `min_flat` or NaN.

    Examples
    --------
    >>> from cal_pipeline.imager.physics.image import make_image
    >>> flag_unusable_flat(make_image([1.0, 0.05, np.nan], np.ones(3)))
    array([     0, 262145, 262145], dtype=uint32)
    """
    return flat.dq | np.where(flat.data >= min_flat, np.uint32(0), UNUSABLE)
