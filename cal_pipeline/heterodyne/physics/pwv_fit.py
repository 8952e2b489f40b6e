"""PWV with its errors and the quality of its fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.sky_match import SkyMatch

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PwvFit:
    """Result of a fit.

    Arrays have shape () for one PWV per scan, (R, A) per pixel, or (R, A, S) per ON-OFF pair.

    Parameters
    ----------
    pwv : ndarray
        Precipitable water vapour [mm].
    error : ndarray
        Statistical 1-sigma error of PWV; NaN if the data do not constrain PWV [mm].
    error_model : ndarray
        Error of PWV due to the error of the opacity model [mm].
    chi2 : ndarray
        Chi² over N - 1; NaN where fewer than two samples were fitted.
    n_samples : ndarray of int
        Number N of samples fitted, outliers left out.
    at_bound : ndarray of bool
        Whether the fit ended at a bound.
    converged : ndarray of bool
        Whether the last step was below 1e-6 of PWV.

    Examples
    --------
    The fit of the `observation` of the example of :class:`.SkyObservation`:

    >>> from cal_pipeline.heterodyne.physics.pwv import PwvSearch
    >>> from cal_pipeline.heterodyne.physics.strategies import FitSettings, full
    >>> (water,) = full([observation], [], FitSettings(PwvSearch(bounds=(0.01, 10.0))))
    >>> fit = water.fit
    >>> round(float(fit.pwv), 6), int(fit.n_samples), bool(fit.converged), bool(fit.at_bound)
    (0.5, 2, True, False)
    """

    pwv: Floats
    error: Floats
    error_model: Floats
    chi2: Floats
    n_samples: NDArray[np.int64]
    at_bound: NDArray[np.bool_]
    converged: NDArray[np.bool_]


def judge_fit(
    matches: Sequence[SkyMatch],
    pwv: Floats,
    converged: NDArray[np.bool_],
    bounds: tuple[float, float],
) -> PwvFit:
    """Compute the errors and the reduced chi² of fitted PWVs.

    Parameters
    ----------
    matches : sequence of SkyMatch
        Agreement with the sky of the bands that share the PWV.
    pwv : ndarray, shape (), (R, A) or (R, A, O)
        One PWV for all, for each pixel, or for each pixel and OFF [mm].
    converged : ndarray of bool, shape of `pwv`
        Whether each came to rest.
    bounds : tuple of float
        Bounds of the fit [mm].

    Returns
    -------
    PwvFit
        In the shape of `pwv`, which becomes NaN where there was nothing to fit.

    Notes
    -----
    The statistical error is sqrt(Σ (w W S')² v)/Σ w W S'², with the noise of the loads summed over the
    OFFs that share a PWV before squaring; the model error Σ w W S' sigma_mod/Σ w W S'² is common to
    everything.

    Examples
    --------
    The statistical error falls with the root of the number of samples; here two channels of the
    `observation` of the example of :class:`.SkyObservation`, once and twice:

    >>> from cal_pipeline.heterodyne.physics.sky_match import match_sky
    >>> match, pwv, yes = match_sky(observation, np.full((1, 1, 1), 0.5)), np.array(0.5), np.array(True)
    >>> once, twice = (judge_fit(matches, pwv, yes, (0.01, 10.0)).error for matches in ([match], 2 * [match]))
    >>> (once / twice).round(4).item()
    1.4142
    """

    def total(name: str) -> Floats:
        parts = []
        for match in matches:
            values = getattr(match, name)
            if pwv.ndim == 3:
                values = np.moveaxis(values, 0, -1)
            elif pwv.ndim == 2 and values.ndim == 3:
                values = values.sum(axis=0)
            parts.append(values if pwv.ndim else values.sum())
        return np.asarray(sum(parts))

    curvature, model, chi2, number = (total(name) for name in ("curvature", "model", "chi2", "number"))
    noise = total("noise") + total("load_noise")
    n_samples = number.astype(np.int64)
    fitted, constrained = n_samples > 0, curvature > 0.0
    unknown = np.full(pwv.shape, np.nan)
    return PwvFit(
        pwv=np.where(fitted, pwv, np.nan),
        error=np.divide(np.sqrt(noise), curvature, out=unknown.copy(), where=constrained),
        error_model=np.divide(model, curvature, out=unknown.copy(), where=constrained),
        chi2=np.divide(chi2, n_samples - 1, out=unknown.copy(), where=n_samples > 1),
        n_samples=n_samples,
        at_bound=np.asarray(fitted & ((pwv <= bounds[0]) | (pwv >= bounds[1]))),
        converged=np.asarray(fitted & converged),
    )
