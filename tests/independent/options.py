"""Parameters of the evaluation, with the names and defaults of the pipeline's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Options:
    """Parameters of one scan.

    `gain_level` is the ``level`` of the step ``gain``. An error of None is the default of section 5, which depends
    on what is known. Of a telescope profile nothing is known here but what is given.
    """

    image_gain: Any = 1.0  # one, or one per array
    forward_efficiency: Any = None  # one, or one per array; None: 1, assumed
    eta_fss: float = 1.0
    gain_el_correction: float = 1.0
    clip_counts: float = 0.01
    clip_tsys: float = 200.0
    physics: str = "exact"
    hot_offset: Any = 0.0  # K; these four one, or one per array
    cold_offset: Any = 0.0
    hot_coupling: Any = 1.0
    cold_coupling: Any = 1.0
    clip_sigma: float = 10.0
    saturation_counts: float | None = None  # of the telescope's profile
    profile_t_cold: float | None = None  # K, of the telescope's profile, where L0 has no tcold
    gain_level: int = 0
    mode: str = "auto"
    strategy: str = "full"
    pwv: float | None = None
    pwv_min: float = 0.001
    pwv_max: float = 10.0
    pwv_grid_steps: int = 100
    model_error: float = 0.03
    airmass: str = "subscan"
    t_ground: float | None = None
    t_atm: float | None = None
    t_spill: float | None = None
    robust: bool = True
    min_transmission: float = 1e-3
    forward_efficiency_err: float | None = None
    t_hot_err: float = 1.0  # K
    t_cold_err: float | None = None  # K
    image_gain_err: float = 0.05  # of ln g
    t_ground_err: float | None = None  # K
    profile_err: float = 0.2  # of the offsets
    dry_opacity_err: float = 0.1  # of c
    pwv_fixed_err: float = 0.1  # of the PWV

    @property
    def eta(self) -> float:
        return self.eta_fss * self.gain_el_correction

    @property
    def one_airmass(self) -> bool:
        """Tell whether all ONs have the mean airmass of the scan."""
        return self.airmass == "scan" or self.physics == "kalibrate_compat"

    def efficiencies(self, n_arrays: int) -> np.ndarray:
        return one_per_array(1.0 if self.forward_efficiency is None else self.forward_efficiency, n_arrays)

    def image_gains(self, n_arrays: int) -> np.ndarray:
        return one_per_array(self.image_gain, n_arrays)

    def load_input(self, name: str, a: int, n_arrays: int) -> tuple[float, float]:
        """Offset [K] and coupling of the hot or cold load of an array."""
        given = getattr(self, f"{name}_offset"), getattr(self, f"{name}_coupling")
        offset, coupling = (float(one_per_array(values, n_arrays)[a]) for values in given)
        return offset, coupling

    @property
    def isothermal(self) -> bool:
        """Tell whether the whole atmosphere is one layer, whatever the table."""
        return self.physics == "kalibrate_compat" or self.t_atm is not None

    def ground_temperature(self, tamb: float) -> float:
        """Temperature [K] that the offsets of the layers count from; of one layer, its own."""
        given = self.t_atm if self.isothermal else self.t_ground
        return tamb if given is None else float(given)

    def spillover_temperature(self, tamb: float) -> float:
        """t_spill [K], given or the ambient one."""
        return tamb if self.t_spill is None else float(self.t_spill)


def one_per_array(value: Any, n_arrays: int) -> np.ndarray:
    return np.broadcast_to(np.asarray(value, dtype=np.float64), (n_arrays,))
