"""What the atmosphere, the background and the spillover put into the receiver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
            np.multiply(self.b_signal[extend], water, order="F") + self.c_signal[extend],
            np.multiply(self.b_image[extend], water, order="F") + self.c_image[extend],
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


@dataclass(frozen=True)
class SkyDirection:
    """The sky at one airmass, ready to be evaluated for any amount of water.

    Parameters
    ----------
    opaque : ndarray, shape (C, 1, A)
        Input temperature of a sky without transmission [K].
    warm, contrast : ndarray, shape (B, C)
        For each of the B sidebands that count, w_sb J(nu_sb, t_atm) and w_sb [J(nu_sb, t_atm) - J(nu_sb, 2.725 K)] [K].
    wet, dry : ndarray, shape (B, C)
        Opacity along the line of sight, airmass·b [Np/mm] and airmass·c [Np].
    forward_efficiency : ndarray, shape (A,)
        Forward efficiency of each array.
    """

    opaque: Floats
    warm: Floats
    contrast: Floats
    wet: Floats
    dry: Floats
    forward_efficiency: Floats

    @classmethod
    def look(
        cls,
        sidebands: Sidebands,
        opacity: Opacity,
        airmass: float,
        surroundings: Surroundings,
        forward_efficiency: Floats,
    ) -> SkyDirection:
        """Work out what does not depend on the water.

        Parameters
        ----------
        sidebands : Sidebands
            Frequencies and weights of the sidebands.
        opacity : Opacity
            Zenith opacity against water.
        airmass : float
            Airmass.
        surroundings : Surroundings
            Temperatures of atmosphere and spillover.
        forward_efficiency : ndarray, shape (A,)
            Forward efficiency of each array.
        """
        convention = sidebands.convention
        bands = [(sidebands.weight_signal, sidebands.signal, opacity.b_signal, opacity.c_signal)]
        if sidebands.has_image:
            bands.append((sidebands.weight_image, sidebands.image, opacity.b_image, opacity.c_image))
        warm = np.stack([w * convention.brightness(nu, surroundings.t_atm) for w, nu, _, _ in bands])
        cold = np.stack([w * convention.background_brightness(nu) for w, nu, _, _ in bands])
        spill = sidebands.input_temperature(surroundings.t_spill)[:, None, None]
        return cls(
            opaque=forward_efficiency * warm.sum(axis=0)[:, None, None] + (1.0 - forward_efficiency) * spill,
            warm=warm,
            contrast=warm - cold,
            wet=np.stack([airmass * b for _, _, b, _ in bands]),
            dry=np.stack([airmass * c for _, _, _, c in bands]),
            forward_efficiency=forward_efficiency,
        )

    def evaluate(self, pwv: Floats, channels: slice = slice(None)) -> tuple[Floats, Floats, Floats]:
        """Input temperature of the empty sky, and how it answers to water and to an error of the opacity.

        Parameters
        ----------
        pwv : ndarray, shape (1, 1) or (R, A)
            Water above the telescope [mm].
        channels : slice
            Channels (c) to evaluate; all of them if not given.

        Returns
        -------
        temperature : ndarray, shape (c, 1 or R, A)
            f_eff Σ_sb w_sb [J(nu_sb, t_atm)(1 - t_r) + J(nu_sb, 2.725 K) t_r] + (1 - f_eff) T'_spill [K].
        slope : ndarray, shape (c, 1 or R, A)
            Its derivative by PWV [K/mm].
        opacity_error : ndarray, shape (c, 1 or R, A)
            Change of the sky's emission for a relative error of 1 of all opacities,
            f_eff Σ_sb w_sb J(nu_sb, t_atm)·airmass·tau0·exp(-airmass·tau0) [K].

        References
        ----------
        Mangum & Shirley 2015, PASP 127, 266, sect. 14; a single layer at one temperature.
        """
        temperature = self.opaque[channels]
        slope, opacity_error = np.zeros(1), np.zeros(1)
        for warm, wet, exponent, transmission, seen in self._through(pwv, channels):
            temperature = np.subtract(temperature, seen, order="F")
            seen *= wet
            slope = seen + slope
            exponent *= transmission
            f_eff_warm = np.multiply(self.forward_efficiency, warm, order="F")
            opacity_error = opacity_error - np.multiply(f_eff_warm, exponent, order="F")
        return temperature, slope, opacity_error

    def temperature(self, pwv: Floats) -> Floats:
        """Input temperature of the empty sky alone, as :meth:`evaluate` gives it, shape (C, 1 or R, A) [K]."""
        temperature = self.opaque
        for *_, seen in self._through(pwv, slice(None)):
            temperature = np.subtract(temperature, seen, order="F")
        return temperature

    def _through(self, pwv: Floats, channels: slice) -> Iterator[tuple[Floats, Floats, Floats, Floats, Floats]]:
        """Of each sideband: warm and wet as above, -airmass·tau0, its exponential, and what comes through by it [K]."""
        for band in zip(self.warm, self.contrast, self.wet, self.dry, strict=True):
            warm, contrast, wet, dry = (values[channels, None, None] for values in band)
            exponent = np.multiply(-wet, pwv, order="F")
            exponent -= dry
            transmission = np.exp(exponent)
            f_eff_contrast = np.multiply(self.forward_efficiency, contrast, order="F")
            yield warm, wet, exponent, transmission, np.multiply(f_eff_contrast, transmission, order="F")

    def on_grid(self, grid: Floats, channels: slice) -> Floats:
        """Sky temperature of some channels for every PWV of a grid, shape (A, G, c) [K]."""
        seen = np.zeros((len(grid), len(self.opaque[channels])))
        for contrast, wet, dry in zip(self.contrast, self.wet, self.dry, strict=True):
            attenuated = np.exp(np.multiply.outer(-grid, wet[channels]))
            attenuated *= contrast[channels] * np.exp(-dry[channels])
            seen += attenuated
        opaque = self.opaque[channels, 0, :].T
        return np.asarray(opaque[:, None] - self.forward_efficiency[:, None, None] * seen)


def observed_sky(
    off: Sequence[Floats], hot: Floats, gamma: Floats, t_hot_input: Floats, modelled: Sequence[Floats]
) -> tuple[Floats, Floats]:
    """Input temperature of the sky as observed against the hot load, and what the model leaves of it.

    Parameters
    ----------
    off : sequence of ndarray, shape (C, R, A)
        Mean counts of each OFF, NaN where there is no valid dump [ct].
    hot, gamma : ndarray, shape (C, R, A)
        Counts on the hot load [ct] and gain [ct/K].
    t_hot_input : ndarray, shape (C,)
        Input temperature of the hot load [K].
    modelled : sequence of ndarray, shape (C, 1 or R, A)
        Modelled input temperature of the sky at each OFF, NaN where it was not fitted [K].

    Returns
    -------
    t_sky : ndarray, shape (C, R, A)
        Mean over the OFFs of (OFF - HOT)/gamma + T'_hot [K].
    residual : ndarray, shape (C, R, A)
        Mean over the fitted OFFs of observed minus modelled [K].

    Notes
    -----
    The sky is linear in the counts, so it is worked out once, of their mean.
    """

    def seen(counts: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((counts - hot) / gamma + t_hot_input[:, None, None])

    present = [~np.isnan(counts) for counts in off]
    fitted = [valid & ~np.isnan(model) for valid, model in zip(present, modelled, strict=True)]
    model = _mean_where(fitted, modelled)
    sky = seen(_mean_where(present, off))
    if all(np.array_equal(one, other) for one, other in zip(present, fitted, strict=True)):
        return sky, sky - model
    return sky, seen(_mean_where(fitted, off)) - model


def _mean_where(valid: Sequence[NDArray[np.bool_]], values: Sequence[Floats]) -> Floats:
    """Mean of arrays where they are valid; NaN where none is."""
    total, number = np.zeros_like(valid[0], np.float64), np.zeros_like(valid[0], np.int64)
    for where, one in zip(valid, values, strict=True):
        total += np.where(where, one, 0.0)
        number += where
    return mean_from_sum(total, number)
