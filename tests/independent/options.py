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

    image_gain: float = 1.0
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
    t_atm: float | None = None
    t_spill: float | None = None
    min_transmission: float = 1e-3

    @property
    def eta(self) -> float:
        return self.eta_fss * self.gain_el_correction

    @property
    def weights(self) -> tuple[float, float]:
        """Weights of the signal and the image sideband."""
        return 1 / (1 + self.image_gain), self.image_gain / (1 + self.image_gain)

    @property
    def one_airmass(self) -> bool:
        """Tell whether all ONs have the mean airmass of the scan."""
        return self.airmass == "scan" or self.physics == "kalibrate_compat"

    def efficiencies(self, n_arrays: int) -> np.ndarray:
        return np.broadcast_to(np.asarray(self.forward_efficiency, dtype=np.float64), (n_arrays,))

    def air_temperature(self, tamb: float) -> float:
        """t_atm [K], given or the ambient one."""
        return tamb if self.t_atm is None else float(self.t_atm)

    def spillover_temperature(self, tamb: float) -> float:
        """t_spill [K], given or the ambient one."""
        return tamb if self.t_spill is None else float(self.t_spill)
