"""Rayleigh-Jeans equivalent (brightness) temperatures and how two sidebands share a mixer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cal_pipeline.heterodyne.physics.constants import BOLTZMANN, PLANCK, T_CMB

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Convention:
    """Convention for the evaluation of brightness temperatures.

    Parameters
    ----------
    name : str
        Name under which the convention is chosen.
    h_over_k : float
        Planck over Boltzmann constant [K/Hz].
    single_precision : bool
        Round each brightness temperature to 32 bits.
    background : bool
        Include the 2.725 K background behind the atmosphere.
    airmass_of_scan : bool
        Use one airmass for all ONs of a scan, whatever the parameter ``airmass`` says.
    """

    name: str
    h_over_k: float
    single_precision: bool
    background: bool
    airmass_of_scan: bool

    def brightness(self, frequency: ArrayLike, temperature: ArrayLike) -> Floats:
        """Compute the brightness temperature J(nu, T) of a black body.

        Parameters
        ----------
        frequency : array_like
            Frequency nu [Hz].
        temperature : array_like
            Physical temperature T [K], above zero; broadcast against `frequency`.

        Returns
        -------
        ndarray of float64
            J = (h nu/k) / (exp(h nu/(k T)) - 1) [K].

        References
        ----------
        Ulich & Haas 1976, ApJS 30, 247; Mangum & Shirley 2015, PASP 127, 266, eq. 26.

        Examples
        --------
        >>> float(EXACT.brightness(1e6, 300.0).round(3))  # the Rayleigh-Jeans limit
        300.0
        """
        quantum = self.h_over_k * np.asarray(frequency, np.float64)
        value = quantum / np.expm1(quantum / np.asarray(temperature, np.float64))
        if self.single_precision:
            return value.astype(np.float32).astype(np.float64)
        return np.asarray(value)

    def background_brightness(self, frequency: ArrayLike) -> Floats:
        """Compute the brightness temperature [K] of the cosmic background at `frequency` [Hz].

        Zeros for a convention without background.
        """
        if not self.background:
            return np.zeros_like(np.asarray(frequency, np.float64))
        return self.brightness(frequency, T_CMB)


EXACT = Convention("exact", PLANCK / BOLTZMANN, False, True, False)
"""CODATA constants in double precision, with the cosmic background."""

KALIBRATE_COMPAT = Convention("kalibrate_compat", 0.047995e-9, True, False, True)
"""The conventions of the older ``kalibrate`` engine, for parity runs."""

CONVENTIONS = {convention.name: convention for convention in (EXACT, KALIBRATE_COMPAT)}
"""Conventions by the name that the parameter ``physics`` takes."""


@dataclass(frozen=True)
class Sidebands:
    """Frequencies and weights of the two sidebands of a mixer.

    Parameters
    ----------
    signal, image : ndarray, shape (C,)
        Sky frequency of each channel in the signal and in the image sideband [Hz].
    image_gain : float
        Gain image/signal g: 1 for an ideal double-sideband mixer, 0 for a single-sideband one.
    convention : Convention
        Convention for the evaluation of brightness temperatures.
    """

    signal: Floats
    image: Floats
    image_gain: float
    convention: Convention = EXACT

    @cached_property
    def background(self) -> tuple[Floats, Floats]:
        """Brightness temperature of the cosmic background in signal and image, each (C,) [K]."""
        of = self.convention.background_brightness
        return of(self.signal), of(self.image)

    @property
    def weight_signal(self) -> float:
        """Share w_s = 1/(1 + g) of the signal sideband."""
        return 1.0 / (1.0 + self.image_gain)

    @property
    def weight_image(self) -> float:
        """Share w_i = g/(1 + g) of the image sideband."""
        return self.image_gain / (1.0 + self.image_gain)

    @property
    def has_image(self) -> bool:
        """Tell whether the image sideband contributes (g > 0)."""
        return self.image_gain > 0.0

    def combine(self, in_signal: ArrayLike, in_image: ArrayLike) -> Floats:
        """Sum a quantity over the sidebands, weighted; when g = 0, ignore the image (even NaN)."""
        total = self.weight_signal * np.asarray(in_signal, np.float64)
        if self.has_image:
            total = total + self.weight_image * np.asarray(in_image, np.float64)
        return total

    def input_temperature(self, temperature: float) -> Floats:
        """Input temperature T' = w_s J(nu_s, T) + w_i J(nu_i, T) of a black body, (C,) [K]."""
        brightness = self.convention.brightness
        in_image = brightness(self.image, temperature) if self.has_image else 0.0
        return self.combine(brightness(self.signal, temperature), in_image)

    def input_difference(self, t_one: float, t_other: float) -> Floats:
        """Difference T'_one - T'_other of the input temperatures of two black bodies, (C, 1, 1) [K]."""
        return np.asarray(self.input_temperature(t_one) - self.input_temperature(t_other))[:, None, None]


def channel_frequencies(
    n_channels: int,
    signal_freq: float,
    image_freq: float,
    freq_off: float,
    freq_res: float,
    ref_channel: float,
) -> tuple[Floats, Floats]:
    """Sky frequencies of the channels in the signal and in the image sideband.

    Parameters
    ----------
    n_channels : int
        Number C of channels.
    signal_freq, image_freq : float
        Frequencies at the reference channel [Hz].
    freq_off : float
        Offset added to the signal and taken from the image frequency [Hz].
    freq_res : float
        Channel spacing of the signal sideband, signed [Hz].
    ref_channel : float
        Zero-based reference channel.

    Returns
    -------
    signal, image : ndarray, shape (C,)
        nu_s(c) and nu_i(c) [Hz].
    """
    offset = freq_off + (np.arange(n_channels, dtype=np.float64) - ref_channel) * freq_res
    return signal_freq + offset, image_freq - offset
