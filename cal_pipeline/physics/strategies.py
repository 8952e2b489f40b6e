"""Ways to find the water above the telescope, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.physics.pwv import Observation, PwvFit, evaluate_pwv, fit_pwv
from cal_pipeline.physics.sharing import Mapper, one_by_one

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FitSettings:
    """What a strategy is told.

    Parameters
    ----------
    bounds : tuple of float
        Smallest and largest PWV [mm].
    grid_steps : int
        Points of the grid that a fit starts from.
    given : float or None
        PWV that is given instead of fitted [mm].
    each : callable
        Calls a function on every item of a sequence and returns a list of the results; may use threads.
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
    """

    fit: PwvFit
    at_off: Floats


Strategy = Callable[[Sequence[Observation], Sequence[NDArray[np.int64]], FitSettings], list[Water]]
"""Finds the water from the bands that are to share it, and the OFF (R, A, S) that each ON of each is paired with."""


def full(observations: Sequence[Observation], pairs: Sequence[NDArray[np.int64]], settings: FitSettings) -> list[Water]:
    """One PWV for the whole scan: all pixels and OFFs fitted together, and those of all bands that are given."""
    return _common(fit_pwv(observations, settings.bounds, settings.grid_steps, each=settings.each), observations)


def fixed(
    observations: Sequence[Observation], pairs: Sequence[NDArray[np.int64]], settings: FitSettings
) -> list[Water]:
    """A PWV that is given; its chi² says how well the sky agrees."""
    if settings.given is None:
        raise ValueError("strategy 'fixed' needs a PWV")
    return _common(evaluate_pwv(observations, settings.given), observations)


def per_pixel(
    observations: Sequence[Observation], pairs: Sequence[NDArray[np.int64]], settings: FitSettings
) -> list[Water]:
    """One PWV for each pixel: its OFFs fitted together."""
    waters = []
    for observation in observations:
        fit = fit_pwv([observation], settings.bounds, settings.grid_steps, per_pixel=True, each=settings.each)
        waters.append(Water(fit, np.broadcast_to(fit.pwv, (len(observation.sky), *fit.pwv.shape))))
    return waters


def per_pair(
    observations: Sequence[Observation], pairs: Sequence[NDArray[np.int64]], settings: FitSettings
) -> list[Water]:
    """One PWV for each ON-OFF pair and pixel, from the OFF that the ON is paired with.

    An OFF that serves several ONs is fitted once; one that serves none in a pixel has no PWV there.
    """
    waters = []
    for observation, pair in zip(observations, pairs, strict=True):
        offs = range(len(observation.sky))
        alone = [observation.alone(k) for k in offs]
        fits = settings.each(lambda one: fit_pwv([one], settings.bounds, settings.grid_steps, per_pixel=True), alone)
        stacked = {f.name: np.stack([getattr(fit, f.name) for fit in fits], axis=-1) for f in fields(PwvFit)}
        chosen = {name: np.take_along_axis(values, np.maximum(pair, 0), axis=-1) for name, values in stacked.items()}
        none: dict[str, float | int | bool] = {"n_samples": 0, "at_bound": False, "converged": False}
        fit = PwvFit(**{name: np.where(pair < 0, none.get(name, np.nan), v) for name, v in chosen.items()})
        used = np.stack([(pair == k).any(axis=-1) for k in offs], axis=-1)
        at_off = np.moveaxis(np.where(used, stacked["pwv"], np.nan), -1, 0)
        waters.append(Water(fit, at_off))
    return waters


def _common(fit: PwvFit, observations: Sequence[Observation]) -> list[Water]:
    """The same PWV for every band and OFF."""
    return [Water(fit, np.full((len(observation.sky), 1, 1), float(fit.pwv))) for observation in observations]


STRATEGIES: dict[str, Strategy] = {"full": full, "per_pixel": per_pixel, "per_pair": per_pair, "fixed": fixed}
"""Strategies by the name that the parameter ``strategy`` takes."""
