"""Ways to find the water above the telescope, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.pwv import PwvSearch, solve_pwv
from cal_pipeline.heterodyne.physics.pwv_fit import PwvFit, judge_fit
from cal_pipeline.heterodyne.physics.sharing import Mapper, one_by_one
from cal_pipeline.heterodyne.physics.sky_match import SkyMatch, match_sky
from cal_pipeline.heterodyne.physics.sky_observation import SkyObservation

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FitSettings:
    """Settings of a strategy.

    Parameters
    ----------
    search : PwvSearch
        How a fit searches for PWV.
    given : float or None
        Given PWV for the strategy ``fixed`` [mm].
    each : callable
        Calls a function on every item of a sequence and returns a list of the results; may use
        threads.

    Examples
    --------
    >>> FitSettings(PwvSearch(bounds=(0.001, 10.0))).search.robust
    True
    """

    search: PwvSearch
    given: float | None = None
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
    match : SkyMatch
        Agreement of the band's OFFs with the sky of that PWV.
    shared_by : sequence of int
        Indices of the bands, among those given, that share the PWV.

    Examples
    --------
    The same water belongs to every OFF where one PWV is fitted to all; here to the `observation` of
    the example of :class:`~cal_pipeline.heterodyne.physics.sky_observation.SkyObservation`:

    >>> (water,) = fixed([observation], [], FitSettings(PwvSearch((0.01, 10.0)), given=0.5))
    >>> water.fit.pwv.shape, water.at_off.shape
    ((), (1, 1, 1))
    """

    fit: PwvFit
    at_off: Floats
    match: SkyMatch
    shared_by: Sequence[int]


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
        Search of the fit.

    Returns
    -------
    list of Water
        One a band, with a fit of shape ().

    Examples
    --------
    The `observation` of the example of :class:`~cal_pipeline.heterodyne.physics.sky_observation.SkyObservation`,
    below 0.5 mm of water:

    >>> (water,) = full([observation], [], FitSettings(PwvSearch((0.01, 10.0))))
    >>> f"{water.fit.pwv:.3f} mm"
    '0.500 mm'
    """
    solution = solve_pwv(observations, settings.search, each=settings.each)
    return _common(solution.pwv.reshape(()), solution.converged.reshape(()), observations, settings)


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

    >>> (water,) = fixed([observation], [], FitSettings(PwvSearch((0.01, 10.0)), given=0.5))
    >>> water.at_off.ravel().tolist(), f"{water.fit.chi2:.3f}"
    ([0.5], '0.000')
    """
    if settings.given is None:
        raise ValueError("strategy 'fixed' needs a PWV")
    waters = _common(np.array(settings.given), np.array(True), observations, settings)
    no, unknown = np.array(False), np.array(np.nan)
    fit = replace(
        waters[0].fit, pwv=np.array(settings.given), error=unknown, error_model=unknown, at_bound=no, converged=~no
    )
    return [replace(water, fit=fit) for water in waters]


def given_opacity(
    observations: Sequence[SkyObservation], pairs: Sequence[NDArray[np.int64]], settings: FitSettings
) -> list[Water]:
    """Fit nothing: the opacity is known, and what water vapour there is remains unknown.

    Parameters
    ----------
    observations, pairs
        As of :func:`full`; of their opacity, water changes nothing.
    settings : FitSettings
        Only `each` has an effect.

    Returns
    -------
    list of Water
        One a band, with a fit of shape () of which nothing is known. `at_off` is 0: no water adds to the
        opacity. No channel is an outlier, as the opacity holds no lines.

    Examples
    --------
    The `observation` of the example of :class:`~cal_pipeline.heterodyne.physics.sky_observation.SkyObservation`:

    >>> (water,) = given_opacity([observation], [], FitSettings(PwvSearch((0.01, 10.0))))
    >>> water.at_off.ravel().tolist(), water.fit.pwv.item()
    ([0.0], nan)
    """
    waters = _common(np.array(0.0), np.array(True), observations, replace(settings, search=_WITHOUT_WEIGHTS))
    unknown, no = np.array(np.nan), np.array(False)
    fit = PwvFit(unknown, unknown, unknown, unknown, waters[0].fit.n_samples, at_bound=no, converged=no)
    return [replace(water, fit=fit) for water in waters]


_WITHOUT_WEIGHTS = PwvSearch((0.001, 10.0), robust=False)
"""Search that takes no weight from a channel, for a strategy without a search."""


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

    >>> (water,) = per_pixel([observation], [], FitSettings(PwvSearch((0.01, 10.0))))
    >>> water.fit.pwv.round(3).tolist()
    [[0.5]]
    """
    search, each = settings.search, settings.each
    waters = []
    for band, observation in enumerate(observations):
        solution = solve_pwv([observation], search, per_pixel=True, each=each)
        at_off = np.broadcast_to(solution.pwv, (len(observation.sky), *solution.pwv.shape))
        match = match_sky(observation, at_off, search.robust, each=each)
        fit = judge_fit([match], solution.pwv, solution.converged, search.bounds)
        waters.append(Water(fit, np.broadcast_to(fit.pwv, at_off.shape), match, (band,)))
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
    >>> (water,) = per_pair([observation], [pair], FitSettings(PwvSearch((0.01, 10.0))))
    >>> water.fit.pwv.round(3).tolist()
    [[[0.5, nan]]]
    """
    search, each = settings.search, settings.each
    waters = []
    for band, (observation, pair) in enumerate(zip(observations, pairs, strict=True)):
        offs = range(len(observation.sky))
        alone = [observation.alone(k) for k in offs]
        solutions = each(lambda one: solve_pwv([one], search, per_pixel=True), alone)
        at_off = np.stack([solution.pwv for solution in solutions])
        match = match_sky(observation, at_off, search.robust, alone=True, each=each)
        converged = np.stack([solution.converged for solution in solutions], axis=-1)
        of_offs = judge_fit([match], np.moveaxis(at_off, 0, -1), converged, search.bounds)
        used = np.stack([(pair == k).any(axis=-1) for k in offs])
        fitted = np.where(used, np.moveaxis(of_offs.pwv, -1, 0), np.nan)
        waters.append(Water(_choose(of_offs, pair), fitted, match, (band,)))
    return waters


def _choose(of_offs: PwvFit, pair: NDArray[np.int64]) -> PwvFit:
    """Choose the fit of the OFF paired with each ON; none for an ON without one."""
    none: dict[str, float | int | bool] = {"n_samples": 0, "at_bound": False, "converged": False}
    chosen = {}
    for field in fields(PwvFit):
        # A pair of -1, an ON without an OFF, takes the first OFF here and is blanked below.
        values = np.take_along_axis(getattr(of_offs, field.name), np.maximum(pair, 0), axis=-1)
        chosen[field.name] = np.where(pair < 0, none.get(field.name, np.nan), values)
    return PwvFit(**chosen)


def _common(
    pwv: Floats, converged: NDArray[np.bool_], observations: Sequence[SkyObservation], settings: FitSettings
) -> list[Water]:
    """Assign one common PWV to every band and OFF."""
    search, shared_by = settings.search, range(len(observations))
    at_offs = [np.full((len(observation.sky), 1, 1), float(pwv)) for observation in observations]
    matches = [
        match_sky(observation, at_off, search.robust, each=settings.each)
        for observation, at_off in zip(observations, at_offs, strict=True)
    ]
    fit = judge_fit(matches, pwv, converged, search.bounds)
    return [
        Water(fit, np.where(np.isfinite(fit.pwv), at_off, np.nan), match, shared_by)
        for at_off, match in zip(at_offs, matches, strict=True)
    ]


STRATEGIES: dict[str, Strategy] = {
    "full": full,
    "per_pixel": per_pixel,
    "per_pair": per_pair,
    "fixed": fixed,
    "opacity": given_opacity,
}
"""Strategies by the name that the parameter ``strategy`` takes."""

KNOWN_BEFOREHAND = ("fixed", "opacity")
"""Strategies whose opacity does not depend on the OFFs."""
