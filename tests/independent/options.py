"""Parameters of the evaluation, with the names and defaults of the pipeline's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Options:
    """Parameters of one scan.

    `gain_level` is the ``level`` of the step ``gain``. Without a telescope profile, as here, the pipeline takes a
    forward efficiency of 1.
    """

    image_gain: Any = 1.0  # one, or one per array
    forward_efficiency: Any = 1.0  # one, or one per array
    eta_fss: float = 1.0
    gain_el_correction: float = 1.0
    clip_counts: float = 0.01
    clip_tsys: float = 200.0
    physics: str = "exact"
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
    min_transmission: float = 1e-3

    @property
    def eta(self) -> float:
        return self.eta_fss * self.gain_el_correction

    @property
    def one_airmass(self) -> bool:
        """Tell whether all ONs have the mean airmass of the scan."""
        return self.airmass == "scan" or self.physics == "kalibrate_compat"

    def efficiencies(self, n_arrays: int) -> np.ndarray:
        return np.broadcast_to(np.asarray(self.forward_efficiency, dtype=np.float64), (n_arrays,))

    def image_gains(self, n_arrays: int) -> np.ndarray:
        return np.broadcast_to(np.asarray(self.image_gain, dtype=np.float64), (n_arrays,))

    @property
    def isothermal(self) -> bool:
        """Tell whether the whole atmosphere is one layer, whatever the table."""
        # UNDECIDED: that a given t_atm means one layer of that temperature.
        return self.physics == "kalibrate_compat" or self.t_atm is not None

    def ground_temperature(self, tamb: float) -> float:
        """Temperature [K] that the offsets of the layers count from; of one layer, its own."""
        given = self.t_ground if self.t_atm is None else self.t_atm
        return tamb if given is None else float(given)

    def spillover_temperature(self, tamb: float) -> float:
        """t_spill [K], given or the ambient one."""
        return tamb if self.t_spill is None else float(self.t_spill)
