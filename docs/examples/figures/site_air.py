"""Air above CCAT as CHAI sees it, from the shipped table and the functions that the pipeline uses."""

import numpy as np

from cal_pipeline.heterodyne.physics.planck import Sidebands
from cal_pipeline.heterodyne.physics.sky import Air, Opacity, SkyDirection, Surroundings
from cal_pipeline.heterodyne.references.shipped import open_atm_table, shipped_atm_table

PRESSURE = 51500.0
"""Mean pressure at the telescope [Pa]."""


def air_of_chai(n_channels=128, width=4e9, signal=461.04e9, image=473.04e9, forward_efficiency=0.95):
    """Return a function of t_ground [K], airmass and pwv [mm] that gives the sky [K] and its transmission, [C,1,1]."""
    offset = np.linspace(-width / 2, width / 2, n_channels)
    frequency, mirror = signal + offset, image - offset
    table = open_atm_table(shipped_atm_table("ccat"))
    both = [table.layer_coefficients(nu, PRESSURE) for nu in (frequency, mirror)]
    opacity = Opacity(np.stack([found.b for found in both]), np.stack([found.c for found in both]), both[0].offset)
    sidebands = Sidebands(frequency, mirror, image_gain=1.0)

    def look(t_ground, airmass, pwv):
        surroundings = Surroundings(t_ground, 268.0)
        air = Air.around(sidebands, opacity, np.array([forward_efficiency]), surroundings)
        return SkyDirection(air, airmass).observe(np.array([[pwv]]))

    return look, frequency
