"""Model of the blank sky that stands for the cold load."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.loads import SkyLoad
from cal_pipeline.heterodyne.physics.rows import unpack_rows
from cal_pipeline.heterodyne.physics.scale_error import respond_of_sky
from cal_pipeline.heterodyne.physics.sky import SkyDirection

Floats = NDArray[np.float64]


def model_sky_load(
    directions: Sequence[SkyDirection], pwv: float, known: str, ambient: float, dumps: Floats | None = None
) -> SkyLoad:
    """Model the sky that stands for the cold load, the mean over the directions in which it was observed.

    Parameters
    ----------
    directions : sequence of SkyDirection
        The sky towards each SKY.
    pwv : float
        Water above the telescope [mm].
    known : str
        Opacity that is known beforehand, for records.
    ambient : float
        Ambient temperature at the SKYs [K].
    dumps : ndarray, shape (K, A), optional
        Number of valid dumps of each SKY, its weight in the mean as in that of the counts; equal if not given.

    Returns
    -------
    SkyLoad

    Notes
    -----
    T'_sky = f_eff Σ_sb w_sb E(nu_sb) + (1 - f_eff) T'_spill at the airmass of a SKY, with the emission E
    of :meth:`.SkyDirection.observe_rows`.

    References
    ----------
    Penzias & Burrus 1973, ARA&A 11, 51; Ulich & Haas 1976, ApJS 30, 247, eqs. 10-14.

    Examples
    --------
    Air of 270 K that lets half of the light through, at 1 GHz, where temperatures are as bright:

    >>> from cal_pipeline.heterodyne.physics.planck import Sidebands
    >>> from cal_pipeline.heterodyne.physics.sky import Air, Opacity, Surroundings
    >>> nu = np.array([1e9])
    >>> sidebands, opacity = Sidebands(nu, nu, image_gain=0.0), Opacity.of_zenith(np.log(2.0), 1, 1)
    >>> air = Air.around(sidebands, opacity, np.array([1.0]), Surroundings(270.0, 270.0))
    >>> sky = model_sky_load([SkyDirection(air, airmass=1.0)], 0.0, "zenith_opacity = 0.693 Np", 270.0)
    >>> sky.t_input.round(1).item(), sky.by_t_ground.round(1).item()
    (136.3, 0.5)
    """
    array = np.arange(directions[0].air.n_arrays)
    water = np.full(array.size, pwv)
    looks = [respond_of_sky(direction, water, array) for direction in directions]
    # Responses are those of observed minus modelled sky.
    each = np.array([[modelled[0], *-responses, modelled[1]] for modelled, responses in looks])
    weights = np.ones((len(looks), array.size)) if dumps is None else dumps
    # An array without any valid dump has no counts either.
    weights = np.where(weights.sum(axis=0) > 0.0, weights, 1.0)
    values = (each * weights[:, None, :, None]).sum(axis=0) / weights.sum(axis=0)[:, None]
    return SkyLoad(known, ambient, *(unpack_rows(value, (1, array.size)) for value in values))
