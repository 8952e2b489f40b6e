"""How far the scale of T_A* may be off: errors of the inputs, propagated through the fit of the sky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.heterodyne.physics.averages import mean_from_sum, median_of_finite, sum_of_valid
from cal_pipeline.heterodyne.physics.loads import SkyLoad
from cal_pipeline.heterodyne.physics.robust import pulls
from cal_pipeline.heterodyne.physics.rows import rows, unpack_rows
from cal_pipeline.heterodyne.physics.sharing import Mapper, one_by_one
from cal_pipeline.heterodyne.physics.sky import SkyDirection
from cal_pipeline.heterodyne.physics.sky_match import SkyMatch
from cal_pipeline.heterodyne.physics.sky_observation import SkyObservation

Floats = NDArray[np.float64]

FITTED = ("forward_efficiency", "t_hot", "t_cold", "image_gain", "t_ground", "profile", "dry_opacity", "gain")
"""Inputs whose errors the fit of the sky turns into errors of PWV."""

TERMS = (*FITTED, "pwv", "load_noise")
"""Terms of the error of the scale."""


class LoadSlopes(NamedTuple):
    """Derivatives of the input temperatures of the loads, each (C, 1, 1) or (C, 1, A).

    Parameters
    ----------
    hot, cold : ndarray
        D = dT'/dT by the physical temperature [K/K].
    hot_by_gain, cold_by_gain : ndarray
        dT'/d ln g by the image gain [K].

    Examples
    --------
    Loads of a receiver without image, at low frequencies:

    >>> one = np.ones((1, 1, 1))
    >>> LoadSlopes(hot=one, cold=one, hot_by_gain=0.0 * one, cold_by_gain=0.0 * one).hot.item()
    1.0
    """

    hot: Floats
    cold: Floats
    hot_by_gain: Floats
    cold_by_gain: Floats


def respond_to_inputs(
    observation: SkyObservation, match: SkyMatch, slopes: LoadSlopes, each: Mapper = one_by_one
) -> Floats:
    """Compute how an error of each input moves the sum that the fit brings to zero.

    Parameters
    ----------
    observation : SkyObservation
        A band.
    match : SkyMatch
        Its agreement with the fitted sky.
    slopes : LoadSlopes
        Responses of the loads.
    each : callable
        Calls a function on every item of a sequence and returns a list of the results; may use
        threads.

    Returns
    -------
    ndarray, shape (8, O, R, A)
        Σ w W S' q over the channels for each input in :data:`FITTED`, whose ratio to Σ w W S'² is the
        change of PWV; q is the change of observed minus modelled sky for an error of 1 K, of 1 in f_eff
        and ln g, and of 1 relative to offsets, dry opacity and gain.

    Notes
    -----
    With a = (OFF - COLD)/(HOT - COLD), D = dT'/dT and T_sky = f_eff Σ w_sb E + (1 - f_eff) T'_spill, q is
    T'_spill - Σ w_sb E for f_eff; a D_hot and (1 - a) D_cold for the loads;
    d[a T'_hot + (1 - a) T'_cold - T_sky]/d ln g for the image gain;
    -f_eff Σ w_sb Σ_j (t_(j-1) - t_j) dJ(T_j)/dT for the ground, with offset_j in the sum for the profile;
    -f_eff Σ w_sb Σ_j [J(T_j) - J(T_(j+1))]·airmass·c_j·t_j for the dry opacity; OFF/gamma for the gain.

    Examples
    --------
    The `observation` of the example of :class:`.SkyObservation` lies halfway between its loads; half an
    error of the hot load is seen as sky:

    >>> from cal_pipeline.heterodyne.physics.sky_match import match_sky
    >>> match, one = match_sky(observation, np.full((1, 1, 1), 0.5)), np.ones((2, 1, 1))
    >>> sums = respond_to_inputs(observation, match, LoadSlopes(one, one, 0.0 * one, 0.0 * one))
    >>> per_kelvin = sums[FITTED.index("t_hot")] / match.curvature
    >>> f"{per_kelvin.item():.4f} mm/K"
    '0.0097 mm/K'
    """
    respond = partial(_respond_off, observation, match, slopes)
    found = np.stack(each(respond, range(len(observation.sky))), axis=1)
    return found.reshape(*found.shape[:-1], *observation.pixels, order="F")


def _respond_off(observation: SkyObservation, match: SkyMatch, slopes: LoadSlopes, off: int) -> Floats:
    """Compute the sums of an OFF, (8, P)."""
    view, pwv, (n_receivers, n_arrays) = observation.sky[off], match.pwv[off], observation.pixels
    array, n_channels = np.repeat(np.arange(n_arrays), n_receivers), len(observation.loads.gain_ratio)

    def of_arrays(values: Floats) -> Floats:
        return rows(np.broadcast_to(values, (n_channels, 1, n_arrays)))

    # A PWV that all pixels share is evaluated once for each array.
    some, row = (np.arange(n_arrays), array) if pwv.size == 1 else (array, np.arange(array.size))
    water = np.broadcast_to(pwv, (n_arrays, 1) if pwv.size == 1 else observation.pixels)
    modelled, sky = respond_of_sky(view.direction, water.reshape(-1, order="F"), some)
    pull = pulls(observation.samples(view), (modelled[0], modelled[1], modelled[2], row), match.tuning[off])
    return _sum_responses(
        pull,
        rows(view.level),
        rows(observation.loads.cold_power),
        of_arrays(observation.loads.input_difference),
        LoadSlopes(*(of_arrays(values) for values in slopes)),
        sky,
        row,
        array,
    )


def respond_of_sky(direction: SkyDirection, water: Floats, array: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Compute how the modelled sky in a direction responds to errors of its ingredients.

    Parameters
    ----------
    direction : SkyDirection
        The direction.
    water : ndarray, shape (Q,)
        Water above the telescope for each pixel [mm].
    array : ndarray of int, shape (Q,)
        Array that the pixel belongs to.

    Returns
    -------
    modelled : ndarray, shape (3, Q, C)
        Results of :meth:`.SkyDirection.observe_rows`.
    responses : ndarray, shape (5, Q, C)
        q of the sky alone, as of :func:`respond_to_inputs`, that is minus the change of T_sky: for
        forward efficiency, image gain, ground, profile and dry opacity.

    Examples
    --------
    The air and its layers in the `direction` of the example of :class:`.SkyObservation`, of which the
    sky grows by 0.7 K with each kelvin of the ground:

    >>> _, responses = respond_of_sky(direction, np.array([np.log(2.0)]), np.array([0]))
    >>> responses[2, 0, 0].round(1).item()
    -0.7
    """
    air = direction.air
    modelled, responses = direction.respond_rows(water, array)
    return modelled, _sky_responses(responses, array, air.share, air.forward_efficiency, *air.spillover)


@compiled
def _sky_responses(
    response: Floats,
    array: NDArray[np.int64],
    share: Floats,
    forward_efficiency: Floats,
    spill: Floats,
    spill_by_gain: Floats,
) -> Floats:
    """Compute q of f_eff, of the image gain (sky alone), ground, profile and dry opacity, (5, Q, C)."""
    n_given, n_rows, n_channels = response.shape
    n_bands = n_given - 3
    found = np.empty((5, n_rows, n_channels))
    for q in range(n_rows):
        a = array[q]
        f_eff = forward_efficiency[a]
        for c in range(n_channels):
            emission = 0.0
            for s in range(n_bands):
                emission += share[a, s] / f_eff * response[3 + s, q, c]
            found[0, q, c] = spill[a, c] - emission
            by_gain = (1.0 - f_eff) * spill_by_gain[a, c]
            if n_bands == 2:
                # dw_i/d ln g = -dw_s/d ln g = w_s w_i.
                exchange = share[a, 0] * share[a, 1] / f_eff
                by_gain += exchange * (response[4, q, c] - response[3, q, c])
            found[1, q, c] = -by_gain
            for k in range(3):
                found[2 + k, q, c] = -response[k, q, c]
    return found


@compiled
def _sum_responses(
    pull: Floats,
    level: Floats,
    cold_power: Floats,
    difference: Floats,
    loads: LoadSlopes,
    sky: Floats,
    row: NDArray[np.int64],
    array: NDArray[np.int64],
) -> Floats:
    """Sum the responses of pixels over their channels, weighted with the pull of these; (8, P)."""
    hot, cold, hot_by_gain, cold_by_gain = loads
    n_pixels, n_channels = pull.shape
    sums = np.zeros((8, n_pixels))
    for p in range(n_pixels):
        q, x = row[p], array[p]
        # Numbers stay in registers; elements of an array would be stored and loaded at each channel.
        by_efficiency, by_hot, by_cold, by_gain, by_ground, by_profile, by_dry, by_drift = (0.0,) * 8
        for c in range(n_channels):
            weight, a = pull[p, c], level[p, c]
            by_efficiency += weight * sky[0, q, c]
            by_hot += weight * a * hot[x, c]
            by_cold += weight * (1.0 - a) * cold[x, c]
            by_gain += weight * (a * hot_by_gain[x, c] + (1.0 - a) * cold_by_gain[x, c] + sky[1, q, c])
            by_ground += weight * sky[2, q, c]
            by_profile += weight * sky[3, q, c]
            by_dry += weight * sky[4, q, c]
            by_drift += weight * (a * difference[x, c] + cold_power[p, c])
        sums[:, p] = (by_efficiency, by_hot, by_cold, by_gain, by_ground, by_profile, by_dry, by_drift)
    return sums


def shift_pwv(
    responses: Sequence[Floats], matches: Sequence[SkyMatch], per: str, pair: NDArray[np.int64] | None = None
) -> Floats:
    """Compute how an error of each input changes PWV.

    Parameters
    ----------
    responses : sequence of ndarray, shape (8, O, R, A)
        From :func:`respond_to_inputs`, of the bands that share the PWV.
    matches : sequence of SkyMatch
        Their agreement with the fitted sky.
    per : {"scan", "pixel", "pair"}
        What has a PWV of its own.
    pair : ndarray of int, shape (R, A, S), optional
        Index of the OFF paired with each ON, -1 for none; needed for pairs.

    Returns
    -------
    ndarray, shape (8, 1, 1) or (8, R, A)
        <q> = Σ w W S' q/Σ w W S'² [mm, or mm/K], of pairs the mean over the ONs; NaN where the sky does not
        constrain PWV.

    Examples
    --------
    An error of the hot load in the example of :func:`respond_to_inputs`:

    >>> from cal_pipeline.heterodyne.physics.sky_match import match_sky
    >>> match, one = match_sky(observation, np.full((1, 1, 1), 0.5)), np.ones((2, 1, 1))
    >>> sums = respond_to_inputs(observation, match, LoadSlopes(one, one, 0.0 * one, 0.0 * one))
    >>> shift_pwv([sums], [match], per="scan")[FITTED.index("t_hot")].round(4).item()
    0.0097
    """
    axes = {"scan": (-3, -2, -1), "pixel": (-3,), "pair": ()}[per]
    total = sum(values.sum(axis=axes, keepdims=True) for values in responses)
    curvature = sum(match.curvature.sum(axis=axes, keepdims=True) for match in matches)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.asarray(total / curvature)
    if pair is None:
        return shift[:, 0]
    of_offs = np.moveaxis(shift, 1, -1)
    of_ons = np.take_along_axis(of_offs, np.broadcast_to(np.maximum(pair, 0), (len(shift), *pair.shape)), axis=-1)
    return mean_of_valid(np.where(pair < 0, np.nan, of_ons))


def mean_of_valid(values: Floats) -> Floats:
    """Average along the last axis, without what is not finite; NaN without any.

    Examples
    --------
    >>> mean_of_valid(np.array([[1.0, np.nan, 3.0]])).tolist()
    [2.0]
    """
    return mean_from_sum(*sum_of_valid(values, axis=-1))


@dataclass(frozen=True, eq=False)
class ScaleError:
    """Error of the scale of T_A*.

    Parameters
    ----------
    total : ndarray of float32, shape (C, R, A)
        Relative 1-sigma error; NaN in channels that the loads cannot calibrate.
    terms : ndarray of float32, shape (K, R, A)
        Median over the good channels of each term of :data:`TERMS`.
    inputs : tuple of float or None
        1-sigma error of each input; None where pixels differ.

    Examples
    --------
    A scale that is known to 3 %, all of it from the hot load:

    >>> total, terms = np.full((1, 1, 1), 0.03, np.float32), np.zeros((len(TERMS), 1, 1), np.float32)
    >>> terms[TERMS.index("t_hot")] = 0.03
    >>> error = ScaleError(total, terms, inputs=(1.0,) * len(TERMS))
    >>> TERMS[int(error.terms[:, 0, 0].argmax())]
    't_hot'
    """

    total: NDArray[np.float32]
    terms: NDArray[np.float32]
    inputs: tuple[float | None, ...]


@dataclass(frozen=True, eq=False)
class Inputs:
    """Inputs of the calibration of a band that set its scale.

    Parameters
    ----------
    observation : SkyObservation
        Loads and OFFs of the band.
    slopes : LoadSlopes
        Responses of the loads.
    image_gain, forward_efficiency : ndarray, shape (1,) or (A,)
        Gain of the image over that of the signal, and forward efficiency.
    wet, dry : ndarray, shape (C,)
        Coefficients b [Np/mm] and c [Np] of the whole atmosphere in the signal sideband.
    airmass : float
        Mean airmass of the ONs.
    bad : ndarray of bool, shape (C, R, A)
        Channels that the loads cannot calibrate.
    sky_load : SkyLoad, optional
        The blank sky that stands for the cold load.

    Examples
    --------
    See :func:`assess_scale`:

    >>> [field for field in Inputs.__dataclass_fields__ if field in ("wet", "dry", "airmass")]
    ['wet', 'dry', 'airmass']
    """

    observation: SkyObservation
    slopes: LoadSlopes
    image_gain: Floats
    forward_efficiency: Floats
    wet: Floats
    dry: Floats
    airmass: float
    bad: NDArray[np.bool_]
    sky_load: SkyLoad | None = None


def assess_scale(inputs: Inputs, shift: Floats, sigmas: dict[str, float | Floats]) -> ScaleError:
    """Compute the error of the scale of T_A* from the errors of its inputs.

    Parameters
    ----------
    inputs : Inputs
        What the band was calibrated with.
    shift : ndarray, shape (8, 1, 1) or (8, R, A)
        Change of PWV for an error of each input of :data:`FITTED`, from :func:`shift_pwv`; 0 where PWV was
        given.
    sigmas : dict
        1-sigma error of each of :data:`TERMS` but ``load_noise``, one number or one for each pixel
        (R, A); of the offsets, the dry opacity and the gain relative, of the image gain that of ln g, of
        PWV in mm.

    Returns
    -------
    ScaleError

    Notes
    -----
    T_A* is proportional to (T'_hot - T'_cold)(1 + g)/f_eff·exp(airmass tau), so that an error s of an
    input changes ln T_A* by (L + X b <q>) s, with L = d ln T_A*/dx at constant PWV and X b <q> what the
    PWV adds that the fit then finds. Terms are independent: their squares are added. That of the loads'
    noise, sqrt[(T_hot²/t_hot + T_cold²/t_cold)/B]/(T'_hot - T'_cold), is the channel's own.

    Examples
    --------
    The `observation` of the example of :class:`.SkyObservation`, with a forward efficiency known to 2 %
    and PWV given to 0.05 mm; the rest is exact:

    >>> one, zero = np.ones((2, 1, 1)), np.zeros((2, 1, 1))
    >>> inputs = Inputs(
    ...     observation, LoadSlopes(one, one, zero, zero), np.zeros(1), np.array([0.95]),
    ...     wet=np.array([0.5, 1.0]), dry=np.zeros(2), airmass=1.5, bad=zero > 0,
    ... )
    >>> sigmas = dict.fromkeys(TERMS[:-1], 0.0) | {"forward_efficiency": 0.02, "pwv": 0.05}
    >>> assess_scale(inputs, np.zeros((8, 1, 1)), sigmas).total.ravel().astype(float).round(3).tolist()
    [0.043, 0.078]
    """
    n_channels, n_receivers, n_arrays = inputs.bad.shape
    pixels = (n_receivers, n_arrays)
    loads = inputs.observation.loads
    direct = np.zeros((len(TERMS) - 1, n_arrays, n_channels))
    for term, values in _direct_effects(inputs).items():
        direct[TERMS.index(term)] = np.broadcast_to(values, (n_channels, 1, n_arrays))[:, 0].T
    noise = np.sqrt(loads.hot_variance + loads.cold_variance) / loads.input_difference
    by_pwv = np.zeros((len(TERMS) - 1, *pixels))
    by_pwv[: len(FITTED)] = shift
    by_pwv[TERMS.index("pwv")] = 1.0
    errors = np.stack([np.broadcast_to(np.asarray(sigmas[term], np.float64), pixels) for term in TERMS[:-1]])
    shifts, spreads = (values.reshape(len(values), -1, order="F") for values in (by_pwv, errors))
    noise_rows, bad = rows(noise), rows(inputs.bad)
    array, depth_per_mm = np.repeat(np.arange(n_arrays), n_receivers), inputs.airmass * inputs.wet
    total, medians = np.empty(bad.shape, np.float32), np.empty((len(TERMS), len(bad)), np.float32)
    for some in _group_alike(array[:, None], shifts.T, spreads.T, bad):
        first = some[0]
        good, of_loads = ~bad[first], noise_rows[some]
        terms = _compute_terms(direct[:, array[first]], depth_per_mm, shifts[:, first], spreads[:, first], bad[first])
        total[some] = _add_squares(terms, of_loads, bad[first])
        medians[:-1, some] = median_of_finite(terms, axis=-1)[:, None]
        medians[-1, some] = median_of_finite(of_loads[:, good], axis=-1)
    known = [sigmas[term] for term in TERMS[:-1]]
    return ScaleError(
        total=unpack_rows(total, pixels),
        terms=medians.reshape(len(TERMS), *pixels, order="F"),
        inputs=(*(_common_value(values) for values in known), 1.0),
    )


def _group_alike(*of_pixels: NDArray[Any]) -> list[list[int]]:
    """Group pixels that agree in the rows of all arrays, (P, ...)."""
    groups: dict[tuple[bytes, ...], list[int]] = {}
    for pixel, alike in enumerate(zip(*of_pixels, strict=True)):
        groups.setdefault(tuple(row.tobytes() for row in alike), []).append(pixel)
    return list(groups.values())


def _common_value(values: float | Floats) -> float | None:
    """Return the value that all pixels share; None where they differ or it is not finite."""
    first = float(np.ravel(values)[0])
    return first if np.isfinite(first) and bool(np.all(np.asarray(values) == first)) else None


def _direct_effects(inputs: Inputs) -> dict[str, Floats]:
    """Compute d ln T_A*/dx of inputs that have any, each (C, 1, 1) or (C, 1, A).

    PWV is constant, also that of the sky that stands for the cold load.
    """
    difference, slopes = inputs.observation.loads.input_difference, inputs.slopes
    weight_image = inputs.image_gain / (1.0 + inputs.image_gain)
    effects: dict[str, Floats] = {
        "forward_efficiency": -1.0 / inputs.forward_efficiency,
        "t_hot": slopes.hot / difference,
        "t_cold": -slopes.cold / difference,
        "image_gain": weight_image + (slopes.hot_by_gain - slopes.cold_by_gain) / difference,
        "dry_opacity": inputs.airmass * inputs.dry[:, None, None],
        "gain": np.ones(1),
    }
    sky = inputs.sky_load
    if sky is not None:
        for term, slope in (
            ("forward_efficiency", sky.by_forward_efficiency),
            ("t_ground", sky.by_t_ground),
            ("profile", sky.by_profile),
            ("dry_opacity", sky.by_dry_opacity),
            ("pwv", sky.by_pwv),
        ):
            effects[term] = effects.get(term, np.zeros(1)) - slope / difference
    return effects


@compiled
def _compute_terms(
    direct: Floats, depth_per_mm: Floats, by_pwv: Floats, errors: Floats, bad: NDArray[np.bool_]
) -> Floats:
    """Compute the terms of a pixel but that of the loads' noise, (K - 1, C); NaN in bad channels.

    `direct` is (K - 1, C), `bad` and `depth_per_mm` are (C,), `by_pwv` and `errors` are (K - 1,).
    """
    terms = np.empty(direct.shape)
    for k in range(len(direct)):
        for c in range(bad.size):
            effect = np.abs(direct[k, c] + depth_per_mm[c] * by_pwv[k]) * errors[k]
            terms[k, c] = np.nan if bad[c] else effect
    return terms


@compiled
def _add_squares(terms: Floats, noise: Floats, bad: NDArray[np.bool_]) -> Floats:
    """Add the squares of terms that pixels share, (K - 1, C), and of the noise of their loads, (P, C); return roots."""
    n_given, n_channels = terms.shape
    total, shared = np.empty(noise.shape), np.zeros(n_channels)
    for k in range(n_given):
        for c in range(n_channels):
            shared[c] += terms[k, c] * terms[k, c]
    for p in range(len(noise)):
        for c in range(n_channels):
            total[p, c] = np.nan if bad[c] else np.sqrt(shared[c] + noise[p, c] * noise[p, c])
    return total


def gain_error(drift: Floats | None, corrected: bool, age_s: float) -> float | Floats:
    """Estimate by how much the gain of the receiver may have changed between loads and ONs.

    Parameters
    ----------
    drift : ndarray, shape (R, A), or None
        Relative change of the gain between the loads before and after; None without loads after, NaN
        where it is not known.
    corrected : bool
        Whether all counts were corrected for it.
    age_s : float
        Time from the loads to the ONs [s].

    Returns
    -------
    float or ndarray, shape (R, A)
        Relative 1-sigma error: 0.01·sqrt(age/900 s) where the drift is not known, else half of it, or a
        fifth after a correction, and at least 0.002.

    Examples
    --------
    >>> round(gain_error(None, corrected=False, age_s=225.0), 4)
    0.005
    >>> gain_error(np.array([[0.02, -0.001]]), corrected=False, age_s=225.0).tolist()
    [[0.01, 0.002]]
    """
    unknown = 0.01 * float(np.sqrt(age_s / 900.0))
    if drift is None:
        return unknown
    known = np.maximum(0.002, np.abs(drift) / (5.0 if corrected else 2.0))
    return np.where(np.isfinite(drift), known, unknown)
