"""Temperatures of loads and blank sky as a function of PWV (section 3)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .basics import T_CMB, Physics


@dataclass
class Sideband:
    """One sideband: its frequencies, weight and opacity coefficients up to the top of each layer."""

    nu: np.ndarray  # Hz, [C]
    weight: float
    b_up_to: np.ndarray  # Np/mm, [L,C]
    c_up_to: np.ndarray  # Np, [L,C]
    offset: np.ndarray  # K above the ground, [L]
    known: dict[float, np.ndarray] = field(default_factory=dict)  # J [K] by temperature [K]

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
    gain: float  # image/signal

    def weigh(self, bands: list[np.ndarray]) -> np.ndarray:
        """Sum of the sidebands with their weights."""
        return sum(sb.weight * band for sb, band in zip(self.sidebands, bands, strict=True))

    def by_gain(self, bands: list[np.ndarray]) -> np.ndarray:
        """Derivative of :meth:`weigh` to the logarithm of the gain: dw_i/d ln g = -dw_s/d ln g = g/(1 + g)²."""
        if self.gain == 0:
            return np.zeros_like(bands[0])
        return self.gain / (1 + self.gain) ** 2 * (bands[1] - bands[0])

    def J(self, sb: Sideband, temperature: float) -> np.ndarray:  # noqa: N802
        """J of a sideband [K]; a fit asks for few temperatures, and thousands of times."""
        if temperature not in sb.known:
            sb.known[temperature] = self.physics.J(sb.nu, temperature)
        return sb.known[temperature]

    def J_cmb(self, sb: Sideband) -> np.ndarray:  # noqa: N802
        return self.J(sb, T_CMB) if self.physics.cmb else np.zeros_like(sb.nu)

    def load(self, temperature: float) -> np.ndarray:
        """T'_X of the specification [K]."""
        return sum(sb.weight * self.J(sb, temperature) for sb in self.sidebands)

    def emission(self, sb: Sideband, pwv: float, airmass: float, t_ground: float) -> np.ndarray:
        """Brightness of the sky in a sideband [K]: what each layer emits, seen through those below it."""
        total, below = np.zeros(len(sb.nu)), np.ones(len(sb.nu))
        for b, c, offset in zip(sb.b_up_to, sb.c_up_to, sb.offset, strict=True):
            through = np.exp(-airmass * (b * pwv + c))
            total += self.J(sb, t_ground + offset) * (below - through)
            below = through
        return total + self.J_cmb(sb) * below

    def sky(self, pwv: float, airmass: float, t_ground: float, t_spill: float) -> np.ndarray:
        """Compute the input temperature of the receiver on blank sky, DSB [K]."""
        return self.weigh(self.sky_of_bands(pwv, airmass, t_ground, t_spill))

    def sky_of_bands(self, pwv: float, airmass: float, t_ground: float, t_spill: float) -> list[np.ndarray]:
        """Sky of each band in each sideband."""
        bands = []
        for sb in self.sidebands:
            emission = self.emission(sb, pwv, airmass, t_ground)
            bands.append(self.f_eff * emission + (1 - self.f_eff) * self.J(sb, t_spill))
        return bands

    def sky_slope(self, pwv: float, airmass: float, t_ground: float) -> np.ndarray:
        """d sky / d pwv [K/mm]: what passes the top of a layer comes from the next one or from beyond."""
        total = np.zeros(len(self.sidebands[0].nu))
        for sb in self.sidebands:
            J = [self.J(sb, t_ground + offset) for offset in sb.offset] + [self.J_cmb(sb)]
            for j, (b, c) in enumerate(zip(sb.b_up_to, sb.c_up_to, strict=True)):
                total += sb.weight * (J[j] - J[j + 1]) * airmass * b * np.exp(-airmass * (b * pwv + c))
        return self.f_eff * total

    def sigma_mod(self, pwv: float, airmass: float, t_ground: float, model_error: float) -> np.ndarray:
        """Error of the sky's own emission by a fractional error of all opacities [K]."""
        total = np.zeros(len(self.sidebands[0].nu))
        for sb in self.sidebands:
            J = [self.J(sb, t_ground + offset) for offset in sb.offset] + [0.0]
            for j, (b, c) in enumerate(zip(sb.b_up_to, sb.c_up_to, strict=True)):
                opacity = airmass * (b * pwv + c)
                total += sb.weight * (J[j] - J[j + 1]) * opacity * np.exp(-opacity)
        return model_error * self.f_eff * total

    def by_ground(self, pwv: float, airmass: float, t_ground: float, by_offset: bool) -> np.ndarray:
        """Slope of the sky to t_ground [K/K] or, `by_offset`, to a factor of all offsets [K]."""
        total = np.zeros(len(self.sidebands[0].nu))
        for sb in self.sidebands:
            below = np.ones(len(sb.nu))
            for b, c, offset in zip(sb.b_up_to, sb.c_up_to, sb.offset, strict=True):
                through = np.exp(-airmass * (b * pwv + c))
                slope = self.physics.J_slope(sb.nu, t_ground + offset)
                total += sb.weight * (below - through) * slope * (offset if by_offset else 1.0)
                below = through
        return self.f_eff * total

    def by_dry_opacity(self, pwv: float, airmass: float, t_ground: float) -> np.ndarray:
        """Slope of the sky to a factor of all c [K]."""
        total = np.zeros(len(self.sidebands[0].nu))
        for sb in self.sidebands:
            J = [self.J(sb, t_ground + offset) for offset in sb.offset] + [self.J_cmb(sb)]
            for j, (b, c) in enumerate(zip(sb.b_up_to, sb.c_up_to, strict=True)):
                total += sb.weight * (J[j] - J[j + 1]) * airmass * c * np.exp(-airmass * (b * pwv + c))
        return self.f_eff * total
