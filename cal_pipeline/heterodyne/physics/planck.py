"""Rayleigh-Jeans equivalent (brightness) temperatures and how two sidebands share a mixer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

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
    one_layer : bool
        Take the atmosphere as one layer at one temperature.
    airmass_of_scan : bool
        Use one airmass for all ONs of a scan, whatever the parameter ``airmass`` says.

    Examples
    --------
    The older engine left out the cosmic background, which hardly counts in the submillimetre [K]:

    >>> [round(float(convention.background_brightness(461e9)), 4) for convention in (EXACT, KALIBRATE_COMPAT)]
    [0.0066, 0.0]
    """

    name: str
    h_over_k: float
    single_precision: bool
    background: bool
    one_layer: bool
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

    def brightness_slope(self, frequency: ArrayLike, temperature: ArrayLike) -> Floats:
        """Compute the derivative of the brightness temperature of a black body by its temperature.

        Parameters
        ----------
        frequency : array_like
            Frequency nu [Hz].
        temperature : array_like
            Physical temperature T [K], above zero; broadcast against `frequency`.

        Returns
        -------
        ndarray of float64
            dJ/dT = J (J + h nu/k)/T² [K/K], which is the derivative of J(nu, T).

        Examples
        --------
        >>> EXACT.brightness_slope([1e9, 2e12], 30.0).round(2).tolist()  # the Rayleigh-Jeans limit, and Wien's side
        [1.0, 0.45]
        """
        brightness = self.brightness(frequency, temperature)
        quantum = self.h_over_k * np.asarray(frequency, np.float64)
        return np.asarray(brightness * (brightness + quantum) / np.asarray(temperature, np.float64) ** 2)

    def background_brightness(self, frequency: ArrayLike) -> Floats:
        """Compute the brightness temperature of the cosmic background.

        Parameters
        ----------
        frequency : array_like
            Frequency [Hz].

        Returns
        -------
        ndarray of float64, shape of `frequency`
            J(nu, 2.725 K) [K]; zeros for a convention without background.

        Examples
        --------
        >>> EXACT.background_brightness([1e9, 1e12]).round(2).tolist()  # 2.725 K - h nu/2k, and the Wien limit
        [2.7, 0.0]
        """
        if not self.background:
            return np.zeros_like(np.asarray(frequency, np.float64))
        return self.brightness(frequency, T_CMB)


EXACT = Convention("exact", PLANCK / BOLTZMANN, False, True, False, False)
"""CODATA constants in double precision, with the cosmic background."""

KALIBRATE_COMPAT = Convention("kalibrate_compat", 0.047995e-9, True, False, True, True)
"""The conventions of the older ``kalibrate`` engine, for parity runs."""

CONVENTIONS = {convention.name: convention for convention in (EXACT, KALIBRATE_COMPAT)}
"""Conventions by the name that the parameter ``physics`` takes."""


@dataclass(frozen=True, eq=False)
class Sidebands:
    """Frequencies and weights of the two sidebands of a mixer.

    Parameters
    ----------
    signal, image : ndarray, shape (C,)
        Sky frequency of each channel in the signal and in the image sideband [Hz].
    image_gain : float or ndarray, shape (A,)
        Gain image/signal g: 1 for an ideal double-sideband mixer, 0 for a single-sideband one; one for
        all arrays, kept as shape (1,), or one for each.
    convention : Convention
        Convention for the evaluation of brightness temperatures.

    Examples
    --------
    A mixer with half the gain in the image sees a line in the signal sideband with 2/3 of its weight:

    >>> sidebands = Sidebands(np.array([461e9]), np.array([473e9]), image_gain=0.5)
    >>> sidebands.weight_signal.round(3).tolist(), sidebands.weight_image.round(3).tolist()
    ([0.667], [0.333])
    """

    signal: Floats
    image: Floats
    image_gain: Floats | Any
    convention: Convention = EXACT

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_gain", np.atleast_1d(np.asarray(self.image_gain, np.float64)))

    @cached_property
    def background(self) -> tuple[Floats, Floats]:
        """Brightness temperature of the cosmic background in signal and image, each (C,) [K]."""
        of = self.convention.background_brightness
        return of(self.signal), of(self.image)

    @property
    def weight_signal(self) -> Floats:
        """Share w_s = 1/(1 + g) of the signal sideband, shape (1,) or (A,)."""
        return np.asarray(1.0 / (1.0 + self.image_gain))

    @property
    def weight_image(self) -> Floats:
        """Share w_i = g/(1 + g) of the image sideband, shape (1,) or (A,)."""
        return np.asarray(self.image_gain / (1.0 + self.image_gain))

    @property
    def has_image(self) -> bool:
        """Tell whether the image sideband contributes to any array (g > 0)."""
        return bool((self.image_gain > 0.0).any())

    @property
    def frequencies(self) -> Floats:
        """Sky frequencies of the sidebands that contribute, shape (B, C); the signal first [Hz]."""
        return np.stack([self.signal, self.image] if self.has_image else [self.signal])

    @property
    def weights(self) -> Floats:
        """Shares of the sidebands that contribute, shape (B, 1) or (B, A)."""
        return np.stack([self.weight_signal, self.weight_image] if self.has_image else [self.weight_signal])

    def combine(self, in_signal: ArrayLike, in_image: ArrayLike) -> Floats:
        """Sum a quantity over the sidebands with their weights.

        Parameters
        ----------
        in_signal, in_image : array_like, shape (..., 1) or (..., A)
            The quantity in each sideband; the image is ignored, even NaN, where no array has one.

        Returns
        -------
        ndarray of float64
            w_s·in_signal + w_i·in_image, in the unit of the quantity.

        Examples
        --------
        >>> nu = np.array([461e9])
        >>> [Sidebands(nu, nu, image_gain).combine(10.0, 20.0).tolist() for image_gain in (1.0, [0.0, 1.0])]
        [[15.0], [10.0, 15.0]]
        """
        total = self.weight_signal * np.asarray(in_signal, np.float64)
        if self.has_image:
            total = total + self.weight_image * np.asarray(in_image, np.float64)
        return np.asarray(total)

    def input_temperature(self, temperature: ArrayLike) -> Floats:
        """Compute the input temperature of a black body.

        Parameters
        ----------
        temperature : array_like, shape () or (A,)
            Physical temperature T, above zero [K].

        Returns
        -------
        ndarray, shape (C, 1, 1) or (C, 1, A)
            T' = w_s J(nu_s, T) + w_i J(nu_i, T) [K].

        Examples
        --------
        At 1 GHz a load is as warm as its thermometer says; at 461 GHz it misses half a photon, h nu/2k:

        >>> nu = np.array([1e9, 461e9])
        >>> Sidebands(nu, nu, image_gain=1.0).input_temperature(290.0).ravel().round(1).tolist()
        [290.0, 279.1]
        """
        brightness, temperatures = self.convention.brightness, np.atleast_1d(temperature)
        in_image = brightness(self.image[:, None, None], temperatures) if self.has_image else 0.0
        return self.combine(brightness(self.signal[:, None, None], temperatures), in_image)

    def input_slope(self, temperature: ArrayLike) -> Floats:
        """Compute the derivative of the input temperature of a black body by its temperature.

        Parameters
        ----------
        temperature : array_like, shape () or (A,)
            Physical temperature T, above zero [K].

        Returns
        -------
        ndarray, shape (C, 1, 1) or (C, 1, A)
            w_s dJ(nu_s, T)/dT + w_i dJ(nu_i, T)/dT [K/K].

        Examples
        --------
        >>> nu = np.array([1e9])
        >>> Sidebands(nu, nu, image_gain=1.0).input_slope(290.0).round(3).item()  # the Rayleigh-Jeans limit
        1.0
        """
        slope, temperatures = self.convention.brightness_slope, np.atleast_1d(temperature)
        in_image = slope(self.image[:, None, None], temperatures) if self.has_image else 0.0
        return self.combine(slope(self.signal[:, None, None], temperatures), in_image)

    def image_gain_slope(self, temperature: ArrayLike) -> Floats:
        """Compute the derivative of the input temperature of a black body by the logarithm of g.

        Parameters
        ----------
        temperature : array_like, shape () or (A,)
            Physical temperature T, above zero [K].

        Returns
        -------
        ndarray, shape (C, 1, 1) or (C, 1, A)
            w_s w_i [J(nu_i, T) - J(nu_s, T)], as dw_i/d ln g = -dw_s/d ln g = w_s w_i [K]; 0 for g = 0.

        Examples
        --------
        A load is weaker in the sideband of higher frequency:

        >>> sidebands = Sidebands(np.array([461e9]), np.array([473e9]), image_gain=1.0)
        >>> sidebands.image_gain_slope(77.0).round(3).item()
        -0.065
        """
        if not self.has_image:
            return np.zeros((len(self.signal), 1, 1))
        brightness, temperatures = self.convention.brightness, np.atleast_1d(temperature)
        in_signal, in_image = (brightness(nu[:, None, None], temperatures) for nu in (self.signal, self.image))
        return np.asarray(self.weight_signal * self.weight_image * (in_image - in_signal))


def channel_frequencies(
    n_channels: int,
    signal_freq: float,
    image_freq: float,
    freq_off: float,
    freq_res: float,
    ref_channel: float,
) -> tuple[Floats, Floats]:
    """Compute the sky frequencies of the channels in the signal and in the image sideband.

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

    Examples
    --------
    The sidebands are mirrored at the local oscillator, here at 467 GHz:

    >>> signal, image = channel_frequencies(3, 461e9, 473e9, freq_off=0.0, freq_res=1e6, ref_channel=1.0)
    >>> (signal / 1e9).tolist(), ((signal + image) / 2e9).tolist()
    ([460.999, 461.0, 461.001], [467.0, 467.0, 467.0])
    """
    offset = freq_off + (np.arange(n_channels, dtype=np.float64) - ref_channel) * freq_res
    return signal_freq + offset, image_freq - offset
