"""Input of the receiver: loads, atmosphere, spillover and lines, in both sidebands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.constants import BOLTZMANN, PLANCK, T_CMB
from cal_pipeline.heterodyne.simulate.layers import Profile

Array = NDArray[np.float64]


def brightness(nu: Array, temperature: float | Array) -> Array:
    """Return the Rayleigh-Jeans equivalent temperature J(nu, T) [K] of a black body.

    Parameters
    ----------
    nu : ndarray
        Frequency [Hz].
    temperature : float or ndarray
        Physical temperature [K], of a shape that broadcasts with `nu`.

    Notes
    -----
    Planck's law without the half photon of Callen and Welton, e.g. Kutner & Ulich 1981, ApJ 250,
    341.
    """
    t_photon = PLANCK / BOLTZMANN * nu
    return np.asarray(t_photon / np.expm1(t_photon / temperature))


def emission(nu: Array, tau: Array, temperature: Array) -> Array:
    """Return the brightness of layers of air in front of the cosmic background.

    Each layer shines with J of its temperature times its absorption, through all layers below.

    Parameters
    ----------
    nu : ndarray, shape (C,)
        Frequency [Hz].
    tau : ndarray, shape (N, C)
        Opacity of each layer along the line of sight, from the ground up [Np].
    temperature : ndarray, shape (N,)
        [K].

    Returns
    -------
    ndarray, shape (C,)
        [K].

    Notes
    -----
    Formal solution of the transfer equation in local thermodynamic equilibrium, Chandrasekhar 1960,
    Radiative Transfer, section 7, for a source function that is constant in each layer.

    Examples
    --------
    An opaque layer hides the one above it:

    >>> nu, tau = np.array([461e9]), np.array([[50.0], [1.0]])
    >>> emission(nu, tau, np.array([270.0, 220.0])) - brightness(nu, 270.0)
    array([0.])
    """
    through = np.exp(-np.cumsum(tau, axis=0))
    # The lowest layer has nothing below it.
    below = np.concatenate([np.ones((1, nu.size)), through[:-1]])
    shining = -np.expm1(-tau) * below * brightness(nu, temperature[:, np.newaxis])
    return np.asarray(shining.sum(axis=0) + brightness(nu, T_CMB) * through[-1])


@dataclass(frozen=True, eq=False)
class SkyBand:
    """A band's sidebands and what the atmosphere and the antenna do in them.

    Parameters
    ----------
    nu_s, nu_i : ndarray, shape (C,)
        Signal and image frequency of the channels [Hz].
    b_s, c_s, b_i, c_i : ndarray, shape (C,)
        Coefficients of the zenith opacity tau0 = b·PWV + c in the signal and image sideband [Np/mm,
        Np]; NaN in the image sideband of a single-sideband receiver.
    image_gain : float or ndarray, shape (A,)
        Gain image/signal g, of all arrays or of each.
    forward_efficiency : ndarray, shape (A,)
        f_eff of each array.
    coupling : float
        eta, what else of a line is lost (secondary, elevation).
    t_atm, t_spill : float
        Mean temperature of the atmosphere and of what the spill-over sees [K].
    layer_s, layer_i : ndarray, shape (C,)
        Zenith opacity of an upper layer in the signal and image sideband, part of that of the
        atmosphere [Np].
    t_layer : float
        Temperature of that layer [K].
    unknown_s, unknown_i : ndarray, shape (C,)
        Zenith opacity above all other layers that is no part of the coefficients, in the signal and
        image sideband [Np].
    t_unknown : float
        Temperature of that opacity [K].
    profile, image_profile : Profile or None
        Layers of the rest of the atmosphere, None: one layer at `t_atm`; and in the image sideband,
        None: the same.
    """

    nu_s: Array
    nu_i: Array
    b_s: Array
    c_s: Array
    b_i: Array
    c_i: Array
    image_gain: float | Array
    forward_efficiency: Array
    coupling: float
    t_atm: float
    t_spill: float
    layer_s: Array = field(default_factory=lambda: np.zeros(0))
    layer_i: Array = field(default_factory=lambda: np.zeros(0))
    t_layer: float = 0.0
    unknown_s: Array = field(default_factory=lambda: np.zeros(0))
    unknown_i: Array = field(default_factory=lambda: np.zeros(0))
    t_unknown: float = 0.0
    profile: Profile | None = None
    image_profile: Profile | None = None

    @property
    def weights(self) -> tuple[Array, Array]:
        """Sideband weights w_s and w_i, each (A,)."""
        gain = np.atleast_1d(np.asarray(self.image_gain, np.float64))
        return 1.0 / (1.0 + gain), gain / (1.0 + gain)

    @property
    def double(self) -> bool:
        """Tell whether any array sees the image sideband."""
        return bool(np.any(np.asarray(self.image_gain) > 0.0))

    def channels(self, low: int, high: int) -> SkyBand:
        """Return the same sky for the channels from `low` up to `high`."""
        pairs = ("nu", "b", "c", "layer", "unknown")
        names = [f"{name}_{sideband}" for name in pairs for sideband in "si"]
        parts: dict[str, Any] = {name: getattr(self, name)[low:high] for name in names}
        for name in ("profile", "image_profile"):
            profile = getattr(self, name)
            parts[name] = None if profile is None else profile.channels(low, high)
        return replace(self, **parts)

    def opacity(self, pwv: float, grey: float = 0.0) -> tuple[Array, Array]:
        """Return the zenith opacity [Np] in signal and image sideband, (C,) each.

        `pwv` is in mm; `grey` [Np] is the zenith opacity of clouds.
        """
        tau_s, tau_i = self.b_s * pwv + self.c_s + grey, self.b_i * pwv + self.c_i + grey
        return (tau_s + self.unknown_s, tau_i + self.unknown_i) if self.unknown_s.size else (tau_s, tau_i)

    def transmission(self, pwv: float, airmass: float, grey: float = 0.0) -> tuple[Array, Array]:
        """Return t_r in signal and image sideband, (C,) each, at `airmass`."""
        tau_s, tau_i = self.opacity(pwv, grey)
        return np.exp(-airmass * tau_s), np.exp(-airmass * tau_i)

    def load(self, temperature: float | Array) -> Array:
        """Return the input temperature [K], (C, A), of loads at physical temperatures [K].

        `temperature` is one number or that of each array; (C, 1) if all arrays are alike.
        """
        physical = np.atleast_1d(np.asarray(temperature, np.float64))
        return self._combine([brightness(nu[:, np.newaxis], physical) for nu in self._bands()])

    def sky(self, pwv: float, airmass: float, grey: float = 0.0) -> Array:
        """Return the input temperature [K], shape (C, A), of a sky without a source."""
        simple = self.profile is None and not self.unknown_s.size
        bands = self._isothermal(pwv, airmass, grey) if simple else self._layered(pwv, airmass, grey)
        f_eff = self.forward_efficiency[np.newaxis, :]
        return f_eff * self._combine([band[:, np.newaxis] for band in bands]) + (1.0 - f_eff) * self.load(self.t_spill)

    def _bands(self) -> tuple[Array, ...]:
        """Return the frequencies of the sidebands that any array sees."""
        return (self.nu_s, self.nu_i) if self.double else (self.nu_s,)

    def _combine(self, bands: list[Array]) -> Array:
        """Return the weighted sum, (C, A), of the temperatures [K] in each sideband, (C, 1 or A)."""
        total = self.weights[0] * bands[0]
        return total + self.weights[1] * bands[1] if self.double else total

    def _isothermal(self, pwv: float, airmass: float, grey: float) -> list[Array]:
        """Return the brightness [K] in each sideband, (C,), of one layer, or of one and the upper layer."""
        bands = []
        transmissions = self.transmission(pwv, airmass, grey)
        for nu, t_r, layer in zip(self._bands(), transmissions, (self.layer_s, self.layer_i), strict=False):
            seen = brightness(nu, self.t_atm) * (1.0 - t_r) + brightness(nu, T_CMB) * t_r
            if layer.size:
                # Emission of the layer through the rest, minus that of its opacity at t_atm.
                warmer = brightness(nu, self.t_layer) - brightness(nu, self.t_atm)
                seen = seen + warmer * t_r * np.expm1(airmass * layer)
            bands.append(seen)
        return bands

    def _layered(self, pwv: float, airmass: float, grey: float) -> list[Array]:
        """Return the brightness [K] in each sideband, (C,), of all layers."""
        one = Profile.isothermal(self.t_atm)
        sidebands = (
            (self.b_s, self.c_s, self.layer_s, self.unknown_s, self.profile),
            (self.b_i, self.c_i, self.layer_i, self.unknown_i, self.image_profile or self.profile),
        )
        bands = []
        for nu, (b, c, layer, unknown, given) in zip(self._bands(), sidebands, strict=False):
            profile = given or one
            tau = profile.opacity(b * pwv, c - layer if layer.size else c, grey)
            upper = [(row, t) for row, t in ((layer, self.t_layer), (unknown, self.t_unknown)) if row.size]
            tau = np.vstack([tau, *(row for row, _ in upper)])
            temperature = np.array([*profile.temperature, *(t for _, t in upper)])
            bands.append(emission(nu, airmass * tau, temperature))
        return bands

    def line_response(self, pwv: float, airmass: float, grey: float = 0.0) -> tuple[Array, Array]:
        """Return the input [K] per 1 K of T_A* in signal and image sideband, (C, A) each."""
        w_s, w_i = self.weights
        t_s, t_i = self.transmission(pwv, airmass, grey)
        factor = self.coupling * self.forward_efficiency[np.newaxis, :]
        t_i = t_i if self.double else np.zeros_like(t_s)
        return w_s * t_s[:, np.newaxis] * factor, w_i * t_i[:, np.newaxis] * factor
