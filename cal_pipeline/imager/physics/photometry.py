"""Flux calibration: count rates to flux densities by an AB zero point."""

from __future__ import annotations

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.imager.physics.combine import scale_image
from cal_pipeline.imager.physics.image import Image

AB_ZERO = 3631e6
"""Flux density of AB magnitude 0 [uJy]; Oke and Gunn, ApJ 266, 713 (1983)."""


def compute_conversion(zero_point: float, extinction: float = 0.0, airmass: float | None = None) -> float:
    """Compute the flux density above the atmosphere of one electron per second.

    Parameters
    ----------
    zero_point : float
        AB magnitude of 1 e/s above the atmosphere [mag].
    extinction : float
        Extinction per airmass [mag].
    airmass : float or None
        Airmass of the exposure.

    Returns
    -------
    float
        3631e6·10^(-0.4(zero_point - extinction·airmass)) [uJy s/e].

    Raises
    ------
    ObservationError
        If there is extinction, but no airmass.

    Examples
    --------
    >>> round(compute_conversion(25.0), 6)
    0.3631
    >>> round(compute_conversion(25.0, extinction=0.1, airmass=2.0) / compute_conversion(25.0), 4)
    1.2023
    """
    if extinction == 0.0:
        return float(AB_ZERO * 10.0 ** (-0.4 * zero_point))
    if airmass is None:
        raise ObservationError(
            f"An extinction of {extinction:g} mag per airmass needs the attribute airmass: found none, "
            "expected a number"
        )
    return float(AB_ZERO * 10.0 ** (-0.4 * (zero_point - extinction * airmass)))


def calibrate_flux(image: Image, conversion: float) -> Image:
    """Convert count rates to flux densities.

    The error of the zero point is common to all pixels and exposures; it is no part of the errors.

    Parameters
    ----------
    image : Image
        Count rates [e/s].
    conversion : float
        Flux density of one electron per second, from :func:`compute_conversion` [uJy s/e].

    Returns
    -------
    Image
        Flux densities, errors [uJy] and variances [uJy²].

    Examples
    --------
    >>> from cal_pipeline.imager.physics.image import make_image
    >>> calibrate_flux(make_image([10.0], [1.0]), 0.5).data
    array([5.], dtype=float32)
    """
    return scale_image(image, conversion)
