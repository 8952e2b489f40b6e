"""Receiver gain and noise from the hot and the cold load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.averages import median_of_finite
from cal_pipeline.heterodyne.physics.planck import Sidebands

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LoadInput:
    """A load as the receiver sees it.

    Parameters
    ----------
    physical : float
        Temperature T that its sensor says [K].
    offset : float or ndarray, shape (A,)
        True temperature minus that of the sensor, d; one for all arrays, kept as shape (1,), or one
        for each [K].
    coupling : float or ndarray, shape (A,)
        Share k of the beam on the load, above 0 and up to 1, kept like `offset`.
    ambient : float or None
        Temperature of the surroundings, which fill the rest of the beam [K]; None where every
        coupling is 1.

    Notes
    -----
    T' = k T'(T + d) + (1 - k) T'(T_amb), with the input temperatures T' of
    :meth:`Sidebands.input_temperature`.

    Examples
    --------
    A load at 77 K that a tenth of the beam misses, in a room of 290 K:

    >>> sidebands = Sidebands(np.array([1e6]), np.array([1e6]), image_gain=1.0)  # the Rayleigh-Jeans limit
    >>> round(LoadInput(77.0, coupling=0.9, ambient=290.0).input_temperature(sidebands).item(), 2)
    98.3
    """

    physical: float
    offset: Any = 0.0
    coupling: Any = 1.0
    ambient: float | None = None

    def __post_init__(self) -> None:
        for name in ("offset", "coupling"):
            object.__setattr__(self, name, np.atleast_1d(np.asarray(getattr(self, name), np.float64)))

    @property
    def temperature(self) -> Floats:
        """True temperature T + d of the load, shape (1,) or (A,) [K]."""
        return np.asarray(self.physical + self.offset)

    def input_temperature(self, sidebands: Sidebands) -> Floats:
        """Compute the input temperature of the load.

        Parameters
        ----------
        sidebands : Sidebands
            Frequencies and weights of the sidebands.

        Returns
        -------
        ndarray, shape (C, 1, 1) or (C, 1, A)
            T' [K].

        Examples
        --------
        A hot load that is 2 K warmer than its sensor says:

        >>> sidebands = Sidebands(np.array([1e6]), np.array([1e6]), image_gain=1.0)
        >>> LoadInput(293.0, offset=2.0).input_temperature(sidebands).round(2).item()
        295.0
        """
        return self._mix(sidebands.input_temperature)

    def temperature_slope(self, sidebands: Sidebands) -> Floats:
        """Compute the derivative of the input temperature by the temperature of the load.

        Parameters
        ----------
        sidebands : Sidebands
            Frequencies and weights of the sidebands.

        Returns
        -------
        ndarray, shape (C, 1, 1) or (C, 1, A)
            dT'/dT = k [w_s dJ(nu_s, T + d)/dT + w_i dJ(nu_i, T + d)/dT] [K/K].

        Examples
        --------
        >>> sidebands = Sidebands(np.array([1e6]), np.array([1e6]), image_gain=1.0)
        >>> LoadInput(77.0, coupling=[1.0, 0.9], ambient=290.0).temperature_slope(sidebands).round(2).tolist()
        [[[1.0, 0.9]]]
        """
        return np.asfortranarray(self.coupling * sidebands.input_slope(self.temperature))

    def image_gain_slope(self, sidebands: Sidebands) -> Floats:
        """Compute the derivative of the input temperature by the logarithm of the image gain.

        Parameters
        ----------
        sidebands : Sidebands
            Frequencies and weights of the sidebands.

        Returns
        -------
        ndarray, shape (C, 1, 1) or (C, 1, A)
            dT'/d ln g, the sum over load and surroundings of their shares times
            :meth:`Sidebands.image_gain_slope` [K].

        Examples
        --------
        The load is weaker in the image, of higher frequency:

        >>> sidebands = Sidebands(np.array([461e9]), np.array([473e9]), image_gain=1.0)
        >>> LoadInput(77.0).image_gain_slope(sidebands).round(3).item()
        -0.065
        """
        return self._mix(sidebands.image_gain_slope)

    def _mix(self, of: Callable[[Floats], Floats]) -> Floats:
        """Sum a function of temperature over load and surroundings by their shares of the beam."""
        value = of(self.temperature)
        if (self.coupling != 1.0).any():
            value = self.coupling * value + (1.0 - self.coupling) * of(np.array([self.ambient], np.float64))
        return np.asfortranarray(value)


@dataclass(frozen=True, eq=False)
class SkyLoad:
    """Blank sky that stands for the cold load, by the model, for one frequency axis.

    Its arrays have shape (C, 1, A).

    Parameters
    ----------
    known : str
        Opacity that was known beforehand, as in ``"zenith_opacity = 0.1"``.
    ambient : float
        Ambient temperature, a mean [K]; NaN where it was neither recorded nor needed.
    t_input : ndarray
        Input temperature T'_sky [K].
    by_forward_efficiency, by_image_gain : ndarray
        dT'_sky/df_eff and dT'_sky/d ln g [K].
    by_t_ground : ndarray
        dT'_sky/dt_ground [K/K].
    by_profile, by_dry_opacity : ndarray
        Change of T'_sky for a relative error of 1 of the temperature offsets of the layers, and of c [K].
    by_pwv : ndarray
        dT'_sky/dPWV [K/mm].

    Notes
    -----
    It has the methods of :class:`LoadInput` that calibration calls; what they return does not depend on
    the argument, since the sidebands are those that the sky was modelled for.

    Examples
    --------
    >>> one = np.ones((1, 1, 1))
    >>> sky = SkyLoad("pwv = 1", 280.0, 50.0 * one, *(6 * [0.0 * one]))
    >>> sky.temperature.tolist()
    [50.0]
    """

    known: str
    ambient: float
    t_input: Floats
    by_forward_efficiency: Floats
    by_image_gain: Floats
    by_t_ground: Floats
    by_profile: Floats
    by_dry_opacity: Floats
    by_pwv: Floats

    @property
    def temperature(self) -> Floats:
        """Median over the channels of the input temperature, shape (A,) [K]."""
        return np.asarray(np.median(self.t_input, axis=(0, 1)))

    def input_temperature(self, sidebands: Sidebands) -> Floats:
        """Return the input temperature T'_sky, shape (C, 1, A) [K]."""
        return self.t_input

    def temperature_slope(self, sidebands: Sidebands) -> Floats:
        """Return 1: an error of T'_sky that none of its ingredients has is given as it is [K/K]."""
        return np.ones_like(self.t_input)

    def image_gain_slope(self, sidebands: Sidebands) -> Floats:
        """Return dT'_sky/d ln g, shape (C, 1, A) [K]."""
        return self.by_image_gain


@dataclass(frozen=True)
class LoadMeans:
    """Mean counts on the loads.

    Parameters
    ----------
    hot, cold : ndarray, shape (C, R, A)
        Mean counts with the zero level subtracted, NaN without a valid dump [ct].
    hot_time, cold_time : ndarray, shape (C, R, A)
        Integration time in those means [s].
    hot_input, cold_input : LoadInput
        The loads as the receiver sees them; a number stands for the temperature [K] of a load that
        is as its sensor says and fills the beam. The cold one may be a SkyLoad; its counts are then
        those of SKY.
    hot_mjd, cold_mjd : float
        Mean times of the loads [d].
    cold_dumps : ndarray, shape (K, A), optional
        Number of valid dumps of each subscan in the cold mean, a mean over pixels and channels.

    Examples
    --------
    >>> one = np.ones((1, 1, 1))
    >>> LoadMeans(4e5 * one, 2e5 * one, one, one, LoadInput(293.0), LoadInput(77.0)).difference.item()
    200000.0
    """

    hot: Floats
    cold: Floats
    hot_time: Floats
    cold_time: Floats
    hot_input: LoadInput
    cold_input: LoadInput | SkyLoad
    hot_mjd: float = float("nan")
    cold_mjd: float = float("nan")
    cold_dumps: Floats | None = None

    def __post_init__(self) -> None:
        for name in ("hot_input", "cold_input"):
            load = getattr(self, name)
            if not isinstance(load, (LoadInput, SkyLoad)):
                object.__setattr__(self, name, LoadInput(load))

    @property
    def sky_load(self) -> SkyLoad | None:
        """The blank sky that stands for the cold load; None for a cold load."""
        return self.cold_input if isinstance(self.cold_input, SkyLoad) else None

    @property
    def cold_name(self) -> str:
        """Phase of the cold input, ``"COLD"`` or ``"SKY"``, for messages."""
        return "COLD" if self.sky_load is None else "SKY"

    @property
    def difference(self) -> Floats:
        """HOT - COLD, shape (C, R, A) [ct]."""
        return np.asarray(self.hot - self.cold)

    def input_difference(self, sidebands: Sidebands) -> Floats:
        """Compute the difference of the input temperatures of the loads.

        Parameters
        ----------
        sidebands : Sidebands
            Frequencies and weights of the sidebands.

        Returns
        -------
        ndarray, shape (C, 1, 1) or (C, 1, A)
            T'_hot - T'_cold [K].

        Examples
        --------
        >>> one, sidebands = np.ones((1, 1, 1)), Sidebands(np.array([1e6]), np.array([1e6]), image_gain=1.0)
        >>> LoadMeans(4e5 * one, 2e5 * one, one, one, 290.0, 90.0).input_difference(sidebands).round(2).item()
        200.0
        """
        return np.asarray(self.hot_input.input_temperature(sidebands) - self.cold_input.input_temperature(sidebands))


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
    >>> means = LoadMeans(4e5 * one, 2e5 * one, one, one, 293.0, 77.0)
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
    >>> means = LoadMeans(hot, cold, np.ones((1, 1, 1)), np.ones((1, 1, 1)), 293.0, 77.0)
    >>> solution = solve_loads(means, sidebands, np.array([0.95]), coupling=1.0, clip_counts=0.01, clip_tsys=200.0)
    >>> [round(values.item(), 6) for values in (solution.t_rec_dsb, solution.t_rec_ssb, solution.gamma)]
    [90.0, 180.0, 1000.0]
    """
    t_hot_input = means.hot_input.input_temperature(sidebands)
    t_cold_input = means.cold_input.input_temperature(sidebands)
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
