"""Which subscans are ONs and OFFs, and which OFF belongs to an ON (sections 1 and 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .counts import Counts, beam, choose_mode, is_off, is_on
from .references import nearest


@dataclass
class Selection:
    """ONs and OFFs of a scan, as places among its subscans."""

    mode: str
    ons: list[int]
    offs: list[int]
    group_off: dict[int, int]  # the OFF of an ON, whatever the pixel
    beam: dict[int, str | None]  # of an ON
    mjd: np.ndarray
    airmass: dict[int, float]

    @property
    def chopped(self) -> bool:
        return self.mode == "otf_chopped"

    def airmass_at(self, on: int, one_airmass: bool) -> float:
        """Airmass of an ON, or the mean of all ONs."""
        return float(np.mean([self.airmass[s] for s in self.ons])) if one_airmass else self.airmass[on]


def select_subscans(source: Counts, mode: str, instmode: str) -> Selection:
    mode = choose_mode(mode, instmode, source.mode)
    chopped = mode == "otf_chopped"
    subscans = [s for s, m in enumerate(source.mode) if not chopped or beam(m)]
    ons = [s for s in subscans if is_on(source.mode[s])]
    offs = [s for s in subscans if is_off(source.mode[s])]
    if not ons or not offs:
        raise ValueError(f"the scan needs an ON and an OFF, it has {source.mode}")
    mjd = source.columns["mjd"]
    group_off = {}
    for on in ons:
        candidates = [s for s in offs if not chopped or beam(source.mode[s]) == beam(source.mode[on])]
        if not candidates:
            raise ValueError(f"no OFF of beam {beam(source.mode[on])}")
        group_off[on] = nearest(candidates, mjd, mjd[on])
    airmass = {s: 1 / np.sin(source.column("elevation", s)) for s in ons + offs}
    return Selection(mode, ons, offs, group_off, {on: beam(source.mode[on]) for on in ons}, mjd, airmass)
