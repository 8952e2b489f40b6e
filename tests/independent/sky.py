"""Temperatures of loads and blank sky as a function of PWV (section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .basics import Physics


@dataclass
class Sideband:
    """One sideband: its frequencies, weight and opacity coefficients up to the top of each layer."""

    nu: np.ndarray  # Hz, [C]
    weight: float
    b_up_to: np.ndarray  # Np/mm, [L,C]
    c_up_to: np.ndarray  # Np, [L,C]
    offset: np.ndarray  # K above the ground, [L]

    @property
    def b(self) -> np.ndarray:
        """Coefficient of the whole atmosphere."""
        return self.b_up_to[-1]

    @property
    def c(self) -> np.ndarray:
        return self.c_up_to[-1]

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

    def emission(self, sb: Sideband, pwv: float, airmass: float, t_ground: float) -> np.ndarray:
        """Brightness of the sky in a sideband [K]: what each layer emits, seen through those below it."""
        total, below = np.zeros(len(sb.nu)), np.ones(len(sb.nu))
        for b, c, offset in zip(sb.b_up_to, sb.c_up_to, sb.offset, strict=True):
            through = np.exp(-airmass * (b * pwv + c))
            total += self.physics.J(sb.nu, t_ground + offset) * (below - through)
            below = through
        return total + self.physics.J_cmb(sb.nu) * below

    def sky(self, pwv: float, airmass: float, t_ground: float, t_spill: float) -> np.ndarray:
        """Compute the input temperature of the receiver on blank sky, DSB [K]."""
        total = np.zeros(len(self.sidebands[0].nu))
        for sb in self.sidebands:
            emission = self.emission(sb, pwv, airmass, t_ground)
            total += sb.weight * (self.f_eff * emission + (1 - self.f_eff) * self.physics.J(sb.nu, t_spill))
        return total

    def sky_slope(self, pwv: float, airmass: float, t_ground: float) -> np.ndarray:
        """d sky / d pwv [K/mm]: what passes the top of a layer comes from the next one or from beyond."""
        total = np.zeros(len(self.sidebands[0].nu))
        for sb in self.sidebands:
            J = [self.physics.J(sb.nu, t_ground + offset) for offset in sb.offset] + [self.physics.J_cmb(sb.nu)]
            for j, (b, c) in enumerate(zip(sb.b_up_to, sb.c_up_to, strict=True)):
                total += sb.weight * (J[j] - J[j + 1]) * airmass * b * np.exp(-airmass * (b * pwv + c))
        return self.f_eff * total

    def sigma_mod(self, pwv: float, airmass: float, t_ground: float, model_error: float) -> np.ndarray:
        # UNDECIDED: for layers this keeps the form of one layer, at the temperature of the ground.
        total = np.zeros(len(self.sidebands[0].nu))
        for sb in self.sidebands:
            opacity = airmass * sb.tau0(pwv)
            total += sb.weight * self.physics.J(sb.nu, t_ground) * opacity * np.exp(-opacity)
        return model_error * self.f_eff * total
