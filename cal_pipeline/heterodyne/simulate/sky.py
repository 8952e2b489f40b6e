"""Input of the receiver: loads, atmosphere, spillover and lines, in both sidebands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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
    image_gain : float
        Gain image/signal g.
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
    profile : Profile or None
        Layers of the rest of the atmosphere; None: one layer at `t_atm`.
    """

    nu_s: Array
    nu_i: Array
    b_s: Array
    c_s: Array
    b_i: Array
    c_i: Array
    image_gain: float
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

    @property
    def weights(self) -> tuple[float, float]:
        """Sideband weights w_s and w_i."""
        return 1.0 / (1.0 + self.image_gain), self.image_gain / (1.0 + self.image_gain)

    def channels(self, low: int, high: int) -> SkyBand:
        """Return the same sky for the channels from `low` up to `high`."""
        pairs = ("nu", "b", "c", "layer", "unknown")
        names = [f"{name}_{sideband}" for name in pairs for sideband in "si"]
        return replace(self, **{name: getattr(self, name)[low:high] for name in names})

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

    def load(self, temperature: float) -> Array:
        """Return the input temperature [K], (C,), of a load at a physical `temperature` [K]."""
        w_s, w_i = self.weights
        signal = w_s * brightness(self.nu_s, temperature)
        return signal if w_i == 0.0 else signal + w_i * brightness(self.nu_i, temperature)

    def sky(self, pwv: float, airmass: float, grey: float = 0.0) -> Array:
        """Return the input temperature [K], shape (C, A), of a sky without a source."""
        simple = self.profile is None and not self.unknown_s.size
        total = self._isothermal(pwv, airmass, grey) if simple else self._layered(pwv, airmass, grey)
        f_eff = self.forward_efficiency[np.newaxis, :]
        return f_eff * total[:, np.newaxis] + (1.0 - f_eff) * self.load(self.t_spill)[:, np.newaxis]

    def _isothermal(self, pwv: float, airmass: float, grey: float) -> Array:
        """Return the sideband average [K], (C,), of one layer, or of one and the upper layer."""
        total = np.zeros(self.nu_s.shape)
        bands = zip(
            self.weights,
            (self.nu_s, self.nu_i),
            self.transmission(pwv, airmass, grey),
            (self.layer_s, self.layer_i),
            strict=True,
        )
        for weight, nu, t_r, layer in bands:
            if weight > 0.0:
                total += weight * (brightness(nu, self.t_atm) * (1.0 - t_r) + brightness(nu, T_CMB) * t_r)
                if layer.size:
                    # Emission of the layer through the rest, minus that of its opacity at t_atm.
                    warmer = brightness(nu, self.t_layer) - brightness(nu, self.t_atm)
                    total += weight * warmer * t_r * np.expm1(airmass * layer)
        return total

    def _layered(self, pwv: float, airmass: float, grey: float) -> Array:
        """Return the sideband average [K], (C,), of all layers."""
        profile = Profile.isothermal(self.t_atm) if self.profile is None else self.profile
        total = np.zeros(self.nu_s.shape)
        sidebands = (
            (self.nu_s, self.b_s, self.c_s, self.layer_s, self.unknown_s),
            (self.nu_i, self.b_i, self.c_i, self.layer_i, self.unknown_i),
        )
        for weight, (nu, b, c, layer, unknown) in zip(self.weights, sidebands, strict=True):
            if weight == 0.0:
                continue
            dry = c - layer if layer.size else c
            tau = np.outer(profile.wet, b * pwv) + np.outer(profile.dry, dry) + grey * profile.cloud[:, np.newaxis]
            upper = [(row, t) for row, t in ((layer, self.t_layer), (unknown, self.t_unknown)) if row.size]
            tau = np.vstack([tau, *(row for row, _ in upper)])
            temperature = np.array([*profile.temperature, *(t for _, t in upper)])
            total += weight * emission(nu, airmass * tau, temperature)
        return total

    def line_response(self, pwv: float, airmass: float, grey: float = 0.0) -> tuple[Array, Array]:
        """Return the input [K] per 1 K of T_A* in signal and image sideband, (C, A) each."""
        w_s, w_i = self.weights
        t_s, t_i = self.transmission(pwv, airmass, grey)
        factor = self.coupling * self.forward_efficiency[np.newaxis, :]
        image = np.zeros_like(t_s) if w_i == 0.0 else w_i * t_i
        return w_s * t_s[:, np.newaxis] * factor, image[:, np.newaxis] * factor
