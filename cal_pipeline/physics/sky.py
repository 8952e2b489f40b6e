"""What the atmosphere, the background and the spillover put into the receiver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.physics.averages import mean_from_sum
from cal_pipeline.physics.planck import Sidebands

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Opacity:
    """Zenith opacity of the atmosphere as a linear function of the water above it, tau0 = b·PWV + c.

    Parameters
    ----------
    b_signal, b_image : ndarray, shape (C,)
        Opacity of water vapour in the two sidebands [Np/mm]; NaN in the image when g = 0.
    c_signal, c_image : ndarray, shape (C,)
        Opacity of the dry atmosphere in the two sidebands [Np].
    """

    b_signal: Floats
    c_signal: Floats
    b_image: Floats
    c_image: Floats

    def zenith(self, pwv: float | Floats) -> tuple[Floats, Floats]:
        """Zenith opacities in signal and image, `pwv` [mm] broadcast behind the channel axis [Np]."""
        water = np.asarray(pwv, np.float64)
        extend = (slice(None), *(None,) * water.ndim)
        return (
            self.b_signal[extend] * water + self.c_signal[extend],
            self.b_image[extend] * water + self.c_image[extend],
        )


@dataclass(frozen=True)
class Surroundings:
    """Temperatures of what surrounds the telescope.

    Parameters
    ----------
    t_atm : float
        Effective temperature of the atmosphere [K].
    t_spill : float
        Temperature of what the spillover sees [K].
    """

    t_atm: float
    t_spill: float


def sky_temperature(
    sidebands: Sidebands,
    tau_signal: Floats,
    tau_image: Floats,
    airmass: float,
    surroundings: Surroundings,
    forward_efficiency: Floats,
) -> Floats:
    """Input temperature of the empty sky, both sidebands together.

    Parameters
    ----------
    sidebands : Sidebands
        Frequencies and weights of the sidebands.
    tau_signal, tau_image : ndarray, shape (C,) or (C, R, A)
        Zenith opacities [Np].
    airmass : float
        Airmass.
    surroundings : Surroundings
        Temperatures of atmosphere and spillover.
    forward_efficiency : ndarray, shape (A,)
        Forward efficiency of each array.

    Returns
    -------
    ndarray, shape (C, 1, A) or (C, R, A)
        f_eff Σ_sb w_sb [J(nu_sb, t_atm)(1 - t_r) + J(nu_sb, 2.725 K) t_r] + (1 - f_eff) T'_spill [K].

    References
    ----------
    Mangum & Shirley 2015, PASP 127, 266, sect. 14; a single layer at one temperature.
    """
    atmosphere = sidebands.combine(
        *(
            _layer(sidebands, frequency, tau, airmass, surroundings.t_atm)
            for frequency, tau in ((sidebands.signal, tau_signal), (sidebands.image, tau_image))
        )
    )
    spill = sidebands.input_temperature(surroundings.t_spill)[:, None, None]
    return forward_efficiency * atmosphere + (1.0 - forward_efficiency) * spill


def _layer(sidebands: Sidebands, frequency: Floats, tau: Floats, airmass: float, t_atm: float) -> Floats:
    """Emission of one layer in front of the background at `frequency`, shape (C, 1 or R, 1 or A) [K]."""
    tau_3d = tau if tau.ndim == 3 else tau[:, None, None]
    absorbed = -np.expm1(-airmass * tau_3d)
    warm = sidebands.convention.brightness(frequency, t_atm)[:, None, None]
    cold = sidebands.convention.background_brightness(frequency)[:, None, None]
    return np.asarray(warm * absorbed + cold * (1.0 - absorbed))


def transparency_change(
    sidebands: Sidebands,
    opacity: Opacity,
    pwv: float | Floats,
    airmass: float,
    surroundings: Surroundings,
    forward_efficiency: Floats,
) -> tuple[Floats, Floats]:
    """How the sky temperature answers to water and to an error of the opacity.

    Parameters
    ----------
    sidebands, opacity, airmass, surroundings, forward_efficiency
        As in :func:`sky_temperature`; `opacity` in place of its values.
    pwv : float or ndarray, shape (1, 1) or (R, A)
        Water above the telescope [mm].

    Returns
    -------
    slope : ndarray, shape (C, 1 or R, A)
        Derivative of :func:`sky_temperature` by PWV [K/mm].
    opacity_error : ndarray, shape (C, 1 or R, A)
        Change of the sky's emission for a relative error of 1 of all opacities,
        f_eff Σ_sb w_sb J(nu_sb, t_atm)·airmass·tau0·exp(-airmass·tau0) [K].
    """
    convention = sidebands.convention
    slopes, errors = [], []
    for frequency, b, tau in zip(
        (sidebands.signal, sidebands.image),
        (opacity.b_signal, opacity.b_image),
        opacity.zenith(np.atleast_2d(pwv)),
        strict=True,
    ):
        depth = airmass * tau
        transmission = np.exp(-depth)
        warm = convention.brightness(frequency, surroundings.t_atm)
        contrast = warm - convention.background_brightness(frequency)
        slopes.append((airmass * b * contrast)[:, None, None] * transmission)
        errors.append(warm[:, None, None] * depth * transmission)
    return forward_efficiency * sidebands.combine(*slopes), forward_efficiency * sidebands.combine(*errors)


def observed_sky(
    off: Floats, hot: Floats, gamma: Floats, t_hot_input: Floats, modelled: Sequence[Floats]
) -> tuple[Floats, Floats]:
    """Input temperature of the sky as observed against the hot load, and what the model leaves of it.

    Parameters
    ----------
    off : ndarray, shape (O, C, R, A)
        Mean counts of the OFFs, NaN where there is no valid dump [ct].
    hot, gamma : ndarray, shape (C, R, A)
        Counts on the hot load [ct] and gain [ct/K].
    t_hot_input : ndarray, shape (C,)
        Input temperature of the hot load [K].
    modelled : sequence of ndarray, shape (C, 1 or R, A)
        Modelled input temperature of the sky at each OFF [K].

    Returns
    -------
    t_sky : ndarray, shape (C, R, A)
        Mean over the OFFs of (OFF - HOT)/gamma + T'_hot [K].
    residual : ndarray, shape (C, R, A)
        Mean over the OFFs of observed minus modelled [K].
    """
    total, difference = np.zeros(hot.shape), np.zeros(hot.shape)
    number = np.zeros(hot.shape, np.int64)
    for counts, model in zip(off, modelled, strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            sky = (counts - hot) / gamma + t_hot_input[:, None, None]
        valid = ~np.isnan(counts)
        total += np.where(valid, sky, 0.0)
        difference += np.where(valid, sky - model, 0.0)
        number += valid
    return mean_from_sum(total, number), mean_from_sum(difference, number)
