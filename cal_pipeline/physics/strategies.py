"""Ways to find the water above the telescope, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cal_pipeline.physics.pwv import LoadView, PwvFit, SkyModel, SkyView, evaluate_pwv, fit_pwv


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
    """

    bounds: tuple[float, float]
    grid_steps: int
    given: float | None


Strategy = Callable[[SkyModel, LoadView, Sequence[SkyView], FitSettings], PwvFit]
"""Finds PWV from a sky model, the loads and the OFFs."""


def full(model: SkyModel, loads: LoadView, sky: Sequence[SkyView], settings: FitSettings) -> PwvFit:
    """One PWV for the whole scan: all pixels and OFFs fitted together."""
    return fit_pwv(model, loads, sky, settings.bounds, settings.grid_steps)


def fixed(model: SkyModel, loads: LoadView, sky: Sequence[SkyView], settings: FitSettings) -> PwvFit:
    """A PWV that is given; its chi² says how well the sky agrees."""
    if settings.given is None:
        raise ValueError("strategy 'fixed' needs a PWV")
    return evaluate_pwv(model, loads, sky, settings.given)


STRATEGIES: dict[str, Strategy] = {"full": full, "fixed": fixed}
"""Strategies by the name that the parameter ``strategy`` takes."""
