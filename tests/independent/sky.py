"""Temperatures of loads and blank sky as a function of PWV (section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .basics import Physics


@dataclass
class Sideband:
    """One sideband: its frequencies, weight and opacity coefficients."""

    nu: np.ndarray  # Hz, [C]
    weight: float
    b: np.ndarray  # Np/mm, [C]
    c: np.ndarray  # Np, [C]

    def tau0(self, pwv: float) -> np.ndarray:
        return self.b * pwv + self.c

    def transmission(self, pwv: float, airmass: float) -> np.ndarray:
        return np.exp(-airmass * self.tau0(pwv))


@dataclass
class Model:
    """Everything that turns a PWV into temperatures, for one pixel."""

    sidebands: list[Sideband]
    physics: Physics
    f_eff: float

    def load(self, temperature: float) -> np.ndarray:
        """T'_X of the specification [K]."""
        return sum(sb.weight * self.physics.J(sb.nu, temperature) for sb in self.sidebands)

    def sky(self, pwv: float, airmass: float, t_atm: float, t_spill: float) -> np.ndarray:
        """Compute the input temperature of the receiver on blank sky, DSB [K]."""
        total = np.zeros(len(self.sidebands[0].nu))
        for sb in self.sidebands:
            t_r = sb.transmission(pwv, airmass)
            emission = self.physics.J(sb.nu, t_atm) * (1 - t_r) + self.physics.J_cmb(sb.nu) * t_r
            total += sb.weight * (self.f_eff * emission + (1 - self.f_eff) * self.physics.J(sb.nu, t_spill))
        return total

    def sky_slope(self, pwv: float, airmass: float, t_atm: float) -> np.ndarray:
        """d sky / d pwv [K/mm]."""
        total = np.zeros(len(self.sidebands[0].nu))
        for sb in self.sidebands:
            contrast = self.physics.J(sb.nu, t_atm) - self.physics.J_cmb(sb.nu)
            total += sb.weight * contrast * airmass * sb.b * sb.transmission(pwv, airmass)
        return self.f_eff * total

    def sigma_mod(self, pwv: float, airmass: float, t_atm: float, model_error: float) -> np.ndarray:
        total = np.zeros(len(self.sidebands[0].nu))
        for sb in self.sidebands:
            opacity = airmass * sb.tau0(pwv)
            total += sb.weight * self.physics.J(sb.nu, t_atm) * opacity * np.exp(-opacity)
        return model_error * self.f_eff * total
