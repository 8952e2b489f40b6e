"""Drift of the receiver between the loads before and after a scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.loads import LoadMeans, gain_of_loads
from cal_pipeline.heterodyne.physics.planck import Sidebands

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GainDrift:
    """Counts on the loads as linear functions of time.

    Parameters
    ----------
    hot, cold : ndarray, shape (C, R, A)
        Counts on the loads before the scan [ct].
    hot_after, cold_after : ndarray, shape (C, R, A)
        Counts on the loads after it, had they had the temperatures of those before [ct].
    hot_mjd, cold_mjd : tuple of float
        Mean times of hot and cold load before and after [d].
    usable : ndarray of bool, shape (C, R, A)
        True if HOT > COLD before and after; else counts are left unchanged.

    Examples
    --------
    The gain rises by 10 % in a day; half a day later counts are 5 % too high:

    >>> one = np.ones((1, 1, 1))
    >>> drift = GainDrift(2000.0 * one, 1000.0 * one, 2200.0 * one, 1100.0 * one, (0.0, 1.0), (0.0, 1.0), one > 0.0)
    >>> round(drift.restore(1575.0 * one, mjd=0.5).item(), 6)
    1500.0
    """

    hot: Floats
    cold: Floats
    hot_after: Floats
    cold_after: Floats
    hot_mjd: tuple[float, float]
    cold_mjd: tuple[float, float]
    usable: NDArray[np.bool_]

    @classmethod
    def between(cls, before: LoadMeans, after: LoadMeans, sidebands: Sidebands) -> GainDrift:
        """Derive the drift between two measurements of the loads.

        Parameters
        ----------
        before, after : LoadMeans
            The measurements.
        sidebands : Sidebands
            Frequencies and weights of the sidebands.

        Returns
        -------
        GainDrift

        Notes
        -----
        The later counts are brought to the input temperatures of the earlier loads with their own
        gain, HOT + gamma (T'_hot,before - T'_hot).

        Examples
        --------
        A cold load that has become 10 K warmer is no drift of the receiver:

        >>> one, sidebands = np.ones((1, 1, 1)), Sidebands(np.array([1e6]), np.array([1e6]), image_gain=0.0)
        >>> before = LoadMeans(3900.0 * one, 1800.0 * one, one, one, 290.0, 80.0)
        >>> after = LoadMeans(3900.0 * one, 1900.0 * one, one, one, 290.0, 90.0)
        >>> round(GainDrift.between(before, after, sidebands).cold_after.item(), 3)
        1800.0
        """
        t_hot, t_cold = (load.input_temperature(sidebands) for load in (after.hot_input, after.cold_input))
        gamma = gain_of_loads(after, t_hot - t_cold)
        hot = after.hot + gamma * (before.hot_input.input_temperature(sidebands) - t_hot)
        cold = after.cold + gamma * (before.cold_input.input_temperature(sidebands) - t_cold)
        with np.errstate(invalid="ignore"):
            usable = (before.hot > before.cold) & (hot > cold)
        return cls(
            before.hot,
            before.cold,
            hot,
            cold,
            (before.hot_mjd, after.hot_mjd),
            (before.cold_mjd, after.cold_mjd),
            usable,
        )

    @property
    def unknown_pixels(self) -> NDArray[np.bool_]:
        """Pixels (R, A) without any usable channel, which are left uncorrected as a whole."""
        return np.asarray(~self.usable.any(axis=0))

    @property
    def unusable_channels(self) -> NDArray[np.bool_]:
        """Channels (C, R, A) that cannot be corrected, in pixels that can.

        Examples
        --------
        >>> one = np.ones((2, 1, 2))
        >>> usable = np.array([[[True, False]], [[False, False]]])
        >>> drift = GainDrift(2 * one, one, 2 * one, one, (0.0, 1.0), (0.0, 1.0), usable)
        >>> drift.unusable_channels.tolist()
        [[[False, False]], [[True, False]]]
        """
        return np.asarray(~self.usable & ~self.unknown_pixels)

    def restore(self, counts: Floats, mjd: float, channels: slice = slice(None)) -> Floats:
        """Correct counts to the state of the receiver at the earlier loads.

        Parameters
        ----------
        counts : ndarray, shape (c, R, A) or (c, D, R, A)
            Counts of some channels, without the zero level [ct].
        mjd : float
            Time of the counts (MJD) [d].
        channels : slice
            Channels of `counts`; all if not given.

        Returns
        -------
        ndarray, shape of `counts`
            C1 + (counts - C(t))·(H1 - C1)/(H(t) - C(t)), exact where gain and offset drift linearly
            [ct].

        Examples
        --------
        An offset that rises by 100 counts in a day is removed, here at the end of that day:

        >>> one = np.ones((1, 1, 1))
        >>> drift = GainDrift(2000.0 * one, 1000.0 * one, 2100.0 * one, 1100.0 * one, (0.0, 1.0), (0.0, 1.0), one > 0.0)
        >>> drift.restore(1600.0 * one, mjd=1.0).item()
        1500.0
        """
        hot, cold = self.hot[channels], self.cold[channels]
        now_hot = _at(mjd, self.hot_mjd, hot, self.hot_after[channels])
        now_cold = _at(mjd, self.cold_mjd, cold, self.cold_after[channels])
        usable = self.usable[channels] & (now_hot > now_cold)
        # A scale of 1 and an offset of 0 leave the counts of unusable channels as they are.
        scale = np.divide(hot - cold, now_hot - now_cold, out=np.ones_like(hot), where=usable)
        offset = np.where(usable, cold - now_cold * scale, 0.0)
        if counts.ndim == 4:
            scale, offset = (np.ascontiguousarray(values)[:, None] for values in (scale, offset))
        return np.asarray(counts * scale + offset)


def _at(mjd: float, times: tuple[float, float], before: Floats, after: Floats) -> Floats:
    """Linear interpolation in time."""
    fraction = (mjd - times[0]) / (times[1] - times[0])
    return np.asarray(before + fraction * (after - before))
