"""Layers of air from the absorption of another package, pyrtlib, in place of an atmosphere table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.simulate import AirColumn

Array = NDArray[np.float64]

SITE_KM = 5.6
"""Height of the telescope [km]."""

EDGES_KM = np.concatenate([np.arange(SITE_KM, 12.0, 0.2), np.arange(12.0, 30.0, 1.0), np.arange(30.0, 51.0, 4.0)])
"""Heights between the layers [km], closest near the ground, where nearly all of the water is."""

BOLTZMANN = 1.380649e-23
KG_OF_MOLECULE = 18.01528e-3 / 6.02214076e23


class Air:
    """Pressure [hPa], temperature [K], vapour pressure [hPa] and ozone [1/m³] at heights [km].

    The tropical atmosphere of AFGL (Anderson et al. 1986, AFGL-TR-86-0110) as pyrtlib holds it; its vapour is scaled
    to `pwv_mm` above the telescope.
    """

    def __init__(self, pwv_mm: float) -> None:
        from pyrtlib.climatology import AtmosphericProfiles

        height, pressure, _, temperature, ppmv = AtmosphericProfiles.gl_atm(AtmosphericProfiles.TROPICAL)
        self._height, self._ln_pressure, self._temperature = height, np.log(pressure), temperature
        self._ln_water, self._ln_ozone = (np.log(ppmv[:, which]) for which in (0, 2))
        middles = (EDGES_KM[1:] + EDGES_KM[:-1]) / 2.0
        water = self._number(middles, self._ln_water)
        column = float((water * 1e3 * np.diff(EDGES_KM)).sum() * KG_OF_MOLECULE)
        self._wetter = pwv_mm / column

    def pressure(self, km: Array | float) -> Array:
        return np.exp(np.interp(km, self._height, self._ln_pressure))

    def temperature(self, km: Array | float) -> Array:
        return np.interp(km, self._height, self._temperature)

    def vapour(self, km: Array) -> Array:
        water = self._wetter * self._number(km, self._ln_water)
        return water * BOLTZMANN * self.temperature(km) / 100.0

    def ozone(self, km: Array) -> Array:
        return self._number(km, self._ln_ozone)

    def _number(self, km: Array, ln_ppmv: Array) -> Array:
        """Molecules of a gas [1/m³]."""
        all_molecules = 100.0 * self.pressure(km) / (BOLTZMANN * self.temperature(km))
        return 1e-6 * np.exp(np.interp(km, self._height, ln_ppmv)) * all_molecules


def air_column(frequency: Array) -> AirColumn:
    """Compute the layers at frequencies [Hz], ascending: water, oxygen, nitrogen and ozone."""
    from pyrtlib.absorption_model import H2OAbsModel, N2AbsModel, O2AbsModel, O3AbsModel
    from pyrtlib.rt_equation import RTEquation

    for model, name in ((H2OAbsModel, "R24"), (O2AbsModel, "R24"), (N2AbsModel, "R24"), (O3AbsModel, "R22")):
        model.model = name
        if model is not N2AbsModel:
            model.set_ll()
    air = Air(pwv_mm=1.0)
    km, thickness = (EDGES_KM[1:] + EDGES_KM[:-1]) / 2.0, np.diff(EDGES_KM)
    profile = (air.pressure(km), air.temperature(km), air.vapour(km))
    ozone = air.ozone(km)
    found = [RTEquation.clearsky_absorption(*profile, nu / 1e9, ozone) for nu in frequency]
    wet, dry = (np.stack(rows, axis=-1) * thickness[:, np.newaxis] for rows in zip(*found, strict=True))
    return AirColumn(frequency, wet, dry, air.temperature(km))
