"""How well the sky of a given PWV agrees with the OFFs, and how uncertain that PWV is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.heterodyne.physics.robust import match_sums, tune
from cal_pipeline.heterodyne.physics.rows import rows, unpack_rows
from cal_pipeline.heterodyne.physics.sharing import Mapper, groups_of_rows, one_by_one
from cal_pipeline.heterodyne.physics.sky import ModelledSky
from cal_pipeline.heterodyne.physics.sky_observation import SkyObservation

Floats = NDArray[np.float64]

_SUMS = ("pull", "curvature", "noise", "model", "chi2", "number")
"""Sums over the channels, in the order of :func:`.match_sums`."""


class _Matched(NamedTuple):
    """Sums of some pixels, (O, 8, P) and (O or 1, P), and numbers of OFFs by channel, each (P, C)."""

    pixels: tuple[Floats, Floats]
    channels: tuple[NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True, eq=False)
class SkyMatch:
    """Agreement of the OFFs of a band with the modelled sky, with weights w W.

    Parameters
    ----------
    pwv : ndarray, shape (O, 1, 1) or (O, R, A)
        PWV of the modelled sky at each OFF [mm].
    pull, curvature : ndarray, shape (O, R, A)
        Σ w W S' r [1/mm] and Σ w W S'² [1/mm²] over the channels.
    noise : ndarray, shape (O, R, A)
        Σ (w W S')² v_off, what the OFFs' own noise adds to the variance of `pull` [1/mm²].
    model : ndarray, shape (O, R, A)
        Σ w W S' sigma_mod [1/mm].
    chi2 : ndarray, shape (O, R, A)
        Σ w r²/sigma².
    number : ndarray, shape (O, R, A)
        Number of channels with w > 0.
    tuning : ndarray, shape (O, 2, R·A)
        Centre and width of the biweight of each pixel, index a·R + r.
    load_noise : ndarray, shape (R, A), or (O, R, A) if the OFFs have PWVs of their own
        What the noise of the loads adds to the variance of the sum of `pull` [1/mm²].
    outlier : ndarray of bool, shape (C, R, A)
        Channels without weight in at least half of the OFFs in which their pixel was fitted.
    used : ndarray of bool, shape (C, R, A)
        Channels with some weight in any OFF.

    Examples
    --------
    The `observation` of the example of :class:`.SkyObservation`, with a PWV 0.01 mm too high; one
    Gauss-Newton step leads back:

    >>> match = match_sky(observation, np.full((1, 1, 1), 0.51))
    >>> (match.pull / match.curvature).round(4).item()
    -0.01
    """

    pwv: Floats
    pull: Floats
    curvature: Floats
    noise: Floats
    model: Floats
    chi2: Floats
    number: Floats
    tuning: Floats
    load_noise: Floats
    outlier: NDArray[np.bool_]
    used: NDArray[np.bool_]

    @property
    def alone(self) -> bool:
        """Tell whether each OFF has a PWV of its own."""
        return self.load_noise.ndim == 3


def match_sky(
    observation: SkyObservation, pwv: Floats, robust: bool = True, alone: bool = False, each: Mapper = one_by_one
) -> SkyMatch:
    """Compare the OFFs of a band with the sky at given PWVs.

    Parameters
    ----------
    observation : SkyObservation
        The band.
    pwv : ndarray, shape (O, 1, 1) or (O, R, A)
        PWV at each OFF [mm]; where it is NaN there is nothing to compare.
    robust : bool
        Whether outliers lose their weight.
    alone : bool
        Whether each OFF was fitted on its own, so that the noise of the loads moves its PWV alone.
    each : callable
        Calls a function on every item of a sequence and returns a list of the results; may use
        threads.

    Returns
    -------
    SkyMatch

    Notes
    -----
    The estimator answers to a change dr of the samples with dPWV = Σ w W S' dr / Σ w W S'². The noise of
    an OFF is its own; that of HOT (dr = -a dHOT/gamma) and of COLD (dr = -(1 - a) dCOLD/gamma) is common
    to all OFFs of a band, and so summed over those that share a PWV before squaring.

    Examples
    --------
    The `observation` of the example of :class:`.SkyObservation`, without noise, with its true PWV:

    >>> match = match_sky(observation, np.full((1, 1, 1), 0.5))
    >>> f"{match.chi2.item():.3f} from {match.number.item():.0f} channels, outliers {int(match.outlier.sum())}"
    '0.000 from 2 channels, outliers 0'
    """
    offs = range(len(observation.sky))
    skies = each(lambda k: ModelledSky(observation.sky[k].direction, pwv[k]), offs)
    groups = groups_of_rows(int(np.prod(observation.pixels)), len(observation.loads.gain_ratio))
    found = each(partial(_match_pixels, observation, skies, robust, alone), groups)
    of_pixels, of_channels = ([getattr(one, name) for one in found] for name in ("pixels", "channels"))
    sums, load_noise = (np.concatenate(parts, axis=-1) for parts in zip(*of_pixels, strict=True))
    rejected, used = (
        unpack_rows(np.concatenate(parts), observation.pixels) for parts in zip(*of_channels, strict=True)
    )
    pull, curvature, noise, model, chi2, number = (_by_pixel(sums[:, k], observation.pixels) for k in range(len(_SUMS)))
    fitted = (number > 0).sum(axis=0)
    load_noise = _by_pixel(load_noise, observation.pixels)
    return SkyMatch(
        pwv,
        pull,
        curvature,
        noise,
        model,
        chi2,
        number,
        tuning=sums[:, len(_SUMS) :],
        load_noise=load_noise if alone else load_noise[0],
        outlier=(rejected > 0) & (2 * rejected >= fitted),
        used=used > 0,
    )


def _by_pixel(values: Floats, pixels: tuple[int, int]) -> Floats:
    """Reshape numbers of pixels, (O, P), to (O, R, A)."""
    n_receivers, n_arrays = pixels
    return np.ascontiguousarray(np.swapaxes(values.reshape(-1, n_arrays, n_receivers), 1, 2))


def _match_pixels(
    observation: SkyObservation, skies: Sequence[ModelledSky], robust: bool, alone: bool, chosen: slice
) -> _Matched:
    """Compare some pixels with the sky at each OFF."""
    loads = observation.loads
    hot_variance, cold_variance = (rows(v)[chosen] for v in (loads.hot_variance, loads.cold_variance))
    shape = hot_variance.shape
    from_hot, from_cold = np.zeros((2, *shape))
    rejected, used = np.zeros((2, *shape), np.int32)
    sums = np.empty((len(skies), len(_SUMS) + 2, shape[0]))
    load_noise = np.zeros((len(skies) if alone else 1, shape[0]))
    for k, (sky, view) in enumerate(zip(skies, observation.sky, strict=True)):
        samples, modelled = observation.samples(view, chosen), sky.of(observation.pixels, chosen)
        noise_of_off = (rows(view.level)[chosen], rows(view.off_variance)[chosen])
        tuning = tune(samples, modelled, robust)
        sums[k, : len(_SUMS)] = match_sums(
            samples, modelled, tuning, noise_of_off, (from_hot, from_cold, rejected, used)
        )
        sums[k, len(_SUMS) :] = tuning
        if alone or k == len(skies) - 1:
            _add_noise_of_loads((from_hot, from_cold), (hot_variance, cold_variance), load_noise[k if alone else 0])
            from_hot[:], from_cold[:] = 0.0, 0.0
    return _Matched((sums, load_noise), (rejected, used))


@compiled
def _add_noise_of_loads(responses: tuple[Any, ...], variances: tuple[Any, ...], sums: Floats) -> None:
    """Add what the noise of HOT and COLD does to PWV, from (P, C), to sums (P,)."""
    (from_hot, from_cold), (hot_variance, cold_variance) = responses, variances
    n_pixels, n_channels = from_hot.shape
    for p in range(n_pixels):
        for c in range(n_channels):
            sums[p] += from_hot[p, c] ** 2 * hot_variance[p, c] + from_cold[p, c] ** 2 * cold_variance[p, c]
