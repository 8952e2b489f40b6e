"""Spectra of specutils from averages of calibrated scans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray
    from astropy.units import Quantity
    from specutils import Spectrum


def make_spectrum(
    mean: xarray.Dataset, velocity: Quantity, rest_frequency: float, frame: str, convention: str
) -> Spectrum:
    """Make a spectrum of specutils from an average.

    Parameters
    ----------
    mean : xarray.Dataset
        Average with ``spectrum`` and ``sigma`` on the axis ``channel``.
    velocity : astropy.units.Quantity, shape (C,)
        Velocity of each channel in `frame`.
    rest_frequency : float
        Rest frequency [Hz].
    frame, convention : str
        Standard of rest, and definition of the velocity.

    Returns
    -------
    specutils.Spectrum

    Raises
    ------
    ImportError
        If specutils is not installed.
    """
    try:
        from specutils import Spectrum
    except ImportError as error:
        raise ImportError(
            "spectra of specutils need that package: pip install 'cal_pipeline[specutils]' installs it"
        ) from error
    import astropy.units as u
    from astropy.nddata import StdDevUncertainty

    equivalency = {
        "radio": u.doppler_radio,
        "optical": u.doppler_optical,
        "relativistic": u.doppler_relativistic,
    }[convention.lower()]
    rest = rest_frequency * u.Hz
    frequency = velocity.to(u.Hz, equivalencies=equivalency(rest))
    spectrum = np.asarray(mean["spectrum"].values, np.float64)
    meta = {**mean.attrs, "frame": frame.lower(), "rest_frequency_hz": rest_frequency}
    made: Spectrum = Spectrum(
        flux=spectrum * u.K,
        spectral_axis=frequency,
        uncertainty=StdDevUncertainty(np.asarray(mean["sigma"].values, np.float64), unit=u.K),
        mask=~np.isfinite(spectrum),
        rest_value=rest,
        velocity_convention=convention.lower(),
        meta=meta,
    )
    return made
