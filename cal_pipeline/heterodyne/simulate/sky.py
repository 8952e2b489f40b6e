"""Input of the receiver: loads, atmosphere, spillover and lines, in both sidebands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.constants import BOLTZMANN, PLANCK, T_CMB

Array = NDArray[np.float64]


def brightness(nu: Array, temperature: float) -> Array:
    """Return the Rayleigh-Jeans equivalent temperature J(nu, T) [K] of a black body.

    Parameters
    ----------
    nu : ndarray
        Frequency [Hz].
    temperature : float
        Physical temperature [K].

    Notes
    -----
    Planck's law without the half photon of Callen and Welton, e.g. Kutner & Ulich 1981, ApJ 250,
    341.
    """
    t_photon = PLANCK / BOLTZMANN * nu
    return t_photon / np.expm1(t_photon / temperature)


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

    @property
    def weights(self) -> tuple[float, float]:
        """Sideband weights w_s and w_i."""
        return 1.0 / (1.0 + self.image_gain), self.image_gain / (1.0 + self.image_gain)

    def channels(self, low: int, high: int) -> SkyBand:
        """Return the same sky for the channels from `low` up to `high`."""
        names = ("nu_s", "nu_i", "b_s", "c_s", "b_i", "c_i", "layer_s", "layer_i")
        return replace(self, **{name: getattr(self, name)[low:high] for name in names})

    def opacity(self, pwv: float) -> tuple[Array, Array]:
        """Return the zenith opacity [Np] in signal and image sideband, (C,) each, at `pwv` [mm]."""
        return self.b_s * pwv + self.c_s, self.b_i * pwv + self.c_i

    def transmission(self, pwv: float, airmass: float) -> tuple[Array, Array]:
        """Return t_r in signal and image sideband, (C,) each, at `pwv` [mm] and `airmass`."""
        tau_s, tau_i = self.opacity(pwv)
        return np.exp(-airmass * tau_s), np.exp(-airmass * tau_i)

    def load(self, temperature: float) -> Array:
        """Return the input temperature [K], (C,), of a load at a physical `temperature` [K]."""
        w_s, w_i = self.weights
        signal = w_s * brightness(self.nu_s, temperature)
        return signal if w_i == 0.0 else signal + w_i * brightness(self.nu_i, temperature)

    def sky(self, pwv: float, airmass: float) -> Array:
        """Return the input temperature [K], shape (C, A), of a sky without a source."""
        total = np.zeros(self.nu_s.shape)
        bands = zip(
            self.weights,
            (self.nu_s, self.nu_i),
            self.transmission(pwv, airmass),
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
        f_eff = self.forward_efficiency[np.newaxis, :]
        return f_eff * total[:, np.newaxis] + (1.0 - f_eff) * self.load(self.t_spill)[:, np.newaxis]

    def line_response(self, pwv: float, airmass: float) -> tuple[Array, Array]:
        """Return the input [K] per 1 K of T_A* in signal and image sideband, (C, A) each."""
        w_s, w_i = self.weights
        t_s, t_i = self.transmission(pwv, airmass)
        factor = self.coupling * self.forward_efficiency[np.newaxis, :]
        image = np.zeros_like(t_s) if w_i == 0.0 else w_i * t_i
        return w_s * t_s[:, np.newaxis] * factor, image[:, np.newaxis] * factor
