"""Receiver gain and noise from the hot and the cold load."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.averages import median_of_finite
from cal_pipeline.heterodyne.physics.planck import Sidebands

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LoadMeans:
    """Mean counts on the loads.

    Parameters
    ----------
    hot, cold : ndarray, shape (C, R, A)
        Mean counts with the zero level subtracted, NaN without a valid dump [ct].
    hot_time, cold_time : ndarray, shape (C, R, A)
        Integration time in those means [s].
    t_hot, t_cold : float
        Physical temperatures of the loads [K].
    hot_mjd, cold_mjd : float
        Mean times of the loads [d].

    Examples
    --------
    >>> one = np.ones((1, 1, 1))
    >>> LoadMeans(4e5 * one, 2e5 * one, one, one, t_hot=293.0, t_cold=77.0).difference.item()
    200000.0
    """

    hot: Floats
    cold: Floats
    hot_time: Floats
    cold_time: Floats
    t_hot: float
    t_cold: float
    hot_mjd: float = float("nan")
    cold_mjd: float = float("nan")

    @property
    def difference(self) -> Floats:
        """HOT - COLD, shape (C, R, A) [ct]."""
        return np.asarray(self.hot - self.cold)


@dataclass(frozen=True)
class LoadSolution:
    """Properties of the receiver derived from the loads.

    Parameters
    ----------
    gamma : ndarray, shape (C, R, A)
        Gain [ct/K], double-sideband scale.
    t_rec_dsb, t_rec_ssb : ndarray, shape (C, R, A)
        Receiver temperature, double sideband and referred to the signal sideband [K].
    t_cal : ndarray, shape (C, R, A)
        Calibration temperature: T_A* equivalent to HOT - COLD below the atmosphere [K].
    t_hot_input, t_cold_input : ndarray, shape (C, 1, 1) or (C, 1, A)
        Input temperatures T' of the loads [K].
    bad_channel : ndarray of bool, shape (C, R, A)
        Channels that the loads cannot calibrate.

    Examples
    --------
    A line that adds as many counts as HOT - COLD to a double-sideband receiver has twice the
    temperature of T'_hot - T'_cold, as it is in one sideband alone:

    >>> one, sidebands = np.ones((1, 1, 1)), Sidebands(np.array([461e9]), np.array([473e9]), image_gain=1.0)
    >>> means = LoadMeans(4e5 * one, 2e5 * one, one, one, t_hot=293.0, t_cold=77.0)
    >>> solution = solve_loads(means, sidebands, np.array([1.0]), coupling=1.0, clip_counts=0.01, clip_tsys=200.0)
    >>> in_dsb = solution.t_hot_input - solution.t_cold_input
    >>> round((solution.t_cal / in_dsb).item(), 6)
    2.0
    """

    gamma: Floats
    t_rec_dsb: Floats
    t_rec_ssb: Floats
    t_cal: Floats
    t_hot_input: Floats
    t_cold_input: Floats
    bad_channel: NDArray[np.bool_]


def gain_of_loads(means: LoadMeans, input_difference: Floats) -> Floats:
    """Compute the gain of the receiver from hot and cold load.

    Parameters
    ----------
    means : LoadMeans
        Counts on the loads.
    input_difference : ndarray, shape (C, 1, 1) or (C, 1, A)
        T'_hot - T'_cold, the difference of their input temperatures [K].

    Returns
    -------
    ndarray, shape (C, R, A)
        gamma = (HOT - COLD)/(T'_hot - T'_cold) [ct/K].

    Examples
    --------
    >>> one = np.ones((1, 1, 1))
    >>> gain_of_loads(LoadMeans(4e5 * one, 2e5 * one, one, one, 290.0, 90.0), 200.0 * one)
    array([[[1000.]]])
    """
    return np.asarray(means.difference / input_difference)


def receiver_temperature(hot: Floats, cold: Floats, t_hot_input: Floats, t_cold_input: Floats) -> Floats:
    """Compute the double-sideband receiver temperature by the Y-factor method.

    Parameters
    ----------
    hot, cold : ndarray, shape (C, R, A)
        Counts on the loads [ct].
    t_hot_input, t_cold_input : ndarray, shape (C, 1, 1) or (C, 1, A)
        Input temperatures of the loads [K].

    Returns
    -------
    ndarray, shape (C, R, A)
        (T'_hot - y T'_cold)/(y - 1) with y = HOT/COLD [K]; not finite where HOT = COLD.

    References
    ----------
    Ulich & Haas 1976, ApJS 30, 247; Wilson, Rohlfs & Hüttemeister, Tools of Radio Astronomy, sect.
    4.2.

    Examples
    --------
    At Y = 2 the receiver temperature is T'_hot - 2 T'_cold:

    >>> one = np.ones((1, 1, 1))
    >>> receiver_temperature(400.0 * one, 200.0 * one, 300.0 * one, 100.0 * one).item()
    100.0
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        y = hot / cold
        return np.asarray((t_hot_input - y * t_cold_input) / (y - 1.0))


def solve_loads(
    means: LoadMeans,
    sidebands: Sidebands,
    forward_efficiency: Floats,
    coupling: float,
    clip_counts: float,
    clip_tsys: float,
) -> LoadSolution:
    """Solve the hot and the cold load for gain, receiver temperature and calibration temperature.

    Parameters
    ----------
    means : LoadMeans
        Counts on the loads.
    sidebands : Sidebands
        Frequencies and weights of the sidebands.
    forward_efficiency : ndarray, shape (A,)
        Forward efficiency of each array.
    coupling : float
        Further losses between sky and receiver, eta = eta_fss·gain_el_correction.
    clip_counts : float
        A channel whose HOT - COLD is below this fraction of the pixel's median is bad.
    clip_tsys : float
        A channel whose t_rec_ssb exceeds this multiple of the quantum limit h nu_s/k is bad.

    Returns
    -------
    LoadSolution

    Notes
    -----
    Counts are G·(t_rec_dsb + T_in); a line of T_A* in the signal sideband adds
    w_s f_eff eta t_r(nu_s) T_A* to T_in. So gamma = (HOT - COLD)/(T'_hot - T'_cold) and
    t_cal = (T'_hot - T'_cold)/(w_s f_eff eta).

    References
    ----------
    Kutner & Ulich 1981, ApJ 250, 341; Guan et al. 2012, A&A 542, L4 (the kalibrate engine of
    GREAT).

    Examples
    --------
    Counts of a receiver of 90 K and 1000 ct/K give it back:

    >>> sidebands = Sidebands(np.array([461e9]), np.array([473e9]), image_gain=1.0)
    >>> hot, cold = (1000.0 * (90.0 + sidebands.input_temperature(t)) for t in (293.0, 77.0))
    >>> means = LoadMeans(hot, cold, np.ones((1, 1, 1)), np.ones((1, 1, 1)), t_hot=293.0, t_cold=77.0)
    >>> solution = solve_loads(means, sidebands, np.array([0.95]), coupling=1.0, clip_counts=0.01, clip_tsys=200.0)
    >>> [round(values.item(), 6) for values in (solution.t_rec_dsb, solution.t_rec_ssb, solution.gamma)]
    [90.0, 180.0, 1000.0]
    """
    t_hot_input = sidebands.input_temperature(means.t_hot)
    t_cold_input = sidebands.input_temperature(means.t_cold)
    load_step = t_hot_input - t_cold_input
    difference = means.difference
    gamma = gain_of_loads(means, load_step)
    t_rec_dsb = receiver_temperature(means.hot, means.cold, t_hot_input, t_cold_input)
    t_rec_ssb = t_rec_dsb / sidebands.weight_signal
    t_cal = load_step / (sidebands.weight_signal * forward_efficiency * coupling)

    quantum_limit = (sidebands.convention.h_over_k * sidebands.signal)[:, None, None]
    with np.errstate(invalid="ignore"):
        good = (
            (difference > 0.0)
            & (difference >= clip_counts * median_of_finite(difference, axis=0))
            & (t_rec_ssb > 0.0)
            & (t_rec_ssb <= clip_tsys * quantum_limit)
            & np.isfinite(means.hot)
            & np.isfinite(means.cold)
        )
    return LoadSolution(
        gamma=gamma,
        t_rec_dsb=t_rec_dsb,
        t_rec_ssb=t_rec_ssb,
        t_cal=np.asfortranarray(np.broadcast_to(t_cal, gamma.shape)),
        t_hot_input=t_hot_input,
        t_cold_input=t_cold_input,
        bad_channel=~good,
    )
