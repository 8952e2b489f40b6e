"""Ways to find the water above the telescope, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.pwv import PwvFit, evaluate_pwv, fit_pwv
from cal_pipeline.heterodyne.physics.sharing import Mapper, one_by_one
from cal_pipeline.heterodyne.physics.sky_observation import SkyObservation

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FitSettings:
    """Settings of a strategy.

    Parameters
    ----------
    bounds : tuple of float
        Smallest and largest PWV [mm].
    grid_steps : int
        Number of points of the initial grid of a fit.
    given : float or None
        Given PWV for the strategy ``fixed`` [mm].
    each : callable
        Calls a function on every item of a sequence and returns a list of the results; may use
        threads.

    Examples
    --------
    >>> FitSettings(bounds=(0.001, 10.0), grid_steps=100, given=None).bounds
    (0.001, 10.0)
    """

    bounds: tuple[float, float]
    grid_steps: int
    given: float | None
    each: Mapper = one_by_one


@dataclass(frozen=True)
class Water:
    """The water above the telescope as a strategy finds it for one band.

    Parameters
    ----------
    fit : PwvFit
        In the shape of the strategy: (), (R, A) or (R, A, S).
    at_off : ndarray, shape (O, 1, 1) or (O, R, A)
        PWV that belongs to each OFF [mm]; NaN where it was not fitted.

    Examples
    --------
    The same water belongs to every OFF where one PWV is fitted to all; here to the `observation` of
    the example of :class:`~cal_pipeline.heterodyne.physics.sky_observation.SkyObservation`:

    >>> (water,) = fixed([observation], [], FitSettings((0.01, 10.0), grid_steps=50, given=0.5))
    >>> water.fit.pwv.shape, water.at_off.shape
    ((), (1, 1, 1))
    """

    fit: PwvFit
    at_off: Floats


Strategy = Callable[[Sequence[SkyObservation], Sequence[NDArray[np.int64]], FitSettings], list[Water]]
"""Function that finds the PWV.

Its arguments are the observations of bands that share the PWV, per band the index of the OFF paired
with each ON (R, A, S), and the settings.
"""


def full(
    observations: Sequence[SkyObservation], pairs: Sequence[NDArray[np.int64]], settings: FitSettings
) -> list[Water]:
    """Fit one PWV to all pixels and OFFs of a scan, in all given bands together.

    Parameters
    ----------
    observations : sequence of SkyObservation
        Bands that share the PWV.
    pairs : sequence of ndarray of int, shape (R, A, S)
        For each band the index of the OFF paired with each ON; not used.
    settings : FitSettings
        Bounds and grid of the fit.

    Returns
    -------
    list of Water
        One a band, with a fit of shape ().

    Examples
    --------
    The `observation` of the example of :class:`~cal_pipeline.heterodyne.physics.sky_observation.SkyObservation`,
    below 0.5 mm of water:

    >>> (water,) = full([observation], [], FitSettings((0.01, 10.0), grid_steps=50, given=None))
    >>> f"{water.fit.pwv:.3f} mm"
    '0.500 mm'
    """
    return _common(fit_pwv(observations, settings.bounds, settings.grid_steps, each=settings.each), observations)


def fixed(
    observations: Sequence[SkyObservation], pairs: Sequence[NDArray[np.int64]], settings: FitSettings
) -> list[Water]:
    """Use a given PWV; its chi² measures the agreement with the sky.

    Parameters
    ----------
    observations, pairs
        As of :func:`full`.
    settings : FitSettings
        With the PWV.

    Returns
    -------
    list of Water
        One a band, with a fit of shape () without errors.

    Raises
    ------
    ValueError
        Without a given PWV.

    Examples
    --------
    The `observation` of the example of :class:`~cal_pipeline.heterodyne.physics.sky_observation.SkyObservation`:

    >>> (water,) = fixed([observation], [], FitSettings((0.01, 10.0), grid_steps=50, given=0.5))
    >>> water.at_off.ravel().tolist(), f"{water.fit.chi2:.3f}"
    ([0.5], '0.000')
    """
    if settings.given is None:
        raise ValueError("strategy 'fixed' needs a PWV")
    return _common(evaluate_pwv(observations, settings.given), observations)


def per_pixel(
    observations: Sequence[SkyObservation], pairs: Sequence[NDArray[np.int64]], settings: FitSettings
) -> list[Water]:
    """Fit one PWV per pixel to all its OFFs.

    Parameters
    ----------
    observations, pairs, settings
        As of :func:`full`; each band has PWVs of its own.

    Returns
    -------
    list of Water
        One a band, with a fit of shape (R, A).

    Examples
    --------
    The `observation` of the example of :class:`~cal_pipeline.heterodyne.physics.sky_observation.SkyObservation`:

    >>> (water,) = per_pixel([observation], [], FitSettings((0.01, 10.0), grid_steps=50, given=None))
    >>> water.fit.pwv.round(3).tolist()
    [[0.5]]
    """
    waters = []
    for observation in observations:
        fit = fit_pwv([observation], settings.bounds, settings.grid_steps, per_pixel=True, each=settings.each)
        waters.append(Water(fit, np.broadcast_to(fit.pwv, (len(observation.sky), *fit.pwv.shape))))
    return waters


def per_pair(
    observations: Sequence[SkyObservation], pairs: Sequence[NDArray[np.int64]], settings: FitSettings
) -> list[Water]:
    """Fit one PWV per ON-OFF pair and pixel, to the OFF paired with the ON.

    An OFF paired with several ONs is fitted once; an OFF without any ON in a pixel has no PWV
    there.

    Parameters
    ----------
    observations, settings
        As of :func:`full`; each band has PWVs of its own.
    pairs : sequence of ndarray of int, shape (R, A, S)
        For each band the index of the OFF paired with each ON; -1 for none.

    Returns
    -------
    list of Water
        One a band, with a fit of shape (R, A, S); NaN for an ON without an OFF.

    Examples
    --------
    The `observation` of the example of :class:`~cal_pipeline.heterodyne.physics.sky_observation.SkyObservation`,
    with two ONs of which one has an OFF:

    >>> pair = np.array([[[0, -1]]])
    >>> (water,) = per_pair([observation], [pair], FitSettings((0.01, 10.0), grid_steps=50, given=None))
    >>> water.fit.pwv.round(3).tolist()
    [[[0.5, nan]]]
    """
    waters = []
    for observation, pair in zip(observations, pairs, strict=True):
        offs = range(len(observation.sky))
        alone = [observation.alone(k) for k in offs]
        fits = settings.each(lambda one: fit_pwv([one], settings.bounds, settings.grid_steps, per_pixel=True), alone)
        stacked = {f.name: np.stack([getattr(fit, f.name) for fit in fits], axis=-1) for f in fields(PwvFit)}
        # A pair of -1, an ON without an OFF, takes the first OFF here and is blanked below.
        chosen = {name: np.take_along_axis(values, np.maximum(pair, 0), axis=-1) for name, values in stacked.items()}
        none: dict[str, float | int | bool] = {"n_samples": 0, "at_bound": False, "converged": False}
        fit = PwvFit(**{name: np.where(pair < 0, none.get(name, np.nan), v) for name, v in chosen.items()})
        used = np.stack([(pair == k).any(axis=-1) for k in offs], axis=-1)
        at_off = np.moveaxis(np.where(used, stacked["pwv"], np.nan), -1, 0)
        waters.append(Water(fit, at_off))
    return waters


def _common(fit: PwvFit, observations: Sequence[SkyObservation]) -> list[Water]:
    """Assign one common PWV to every band and OFF."""
    return [Water(fit, np.full((len(observation.sky), 1, 1), float(fit.pwv))) for observation in observations]


STRATEGIES: dict[str, Strategy] = {
    "full": full,
    "per_pixel": per_pixel,
    "per_pair": per_pair,
    "fixed": fixed,
}
"""Strategies by the name that the parameter ``strategy`` takes."""
