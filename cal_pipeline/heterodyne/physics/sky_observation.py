"""OFFs and loads as the fit of water vapour sees them: counts in kelvin, with variances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.heterodyne.physics.averages import running_mean
from cal_pipeline.heterodyne.physics.loads import LoadMeans, LoadSolution, receiver_temperature
from cal_pipeline.heterodyne.physics.rows import rows, unpack_rows
from cal_pipeline.heterodyne.physics.sharing import Mapper, one_by_one
from cal_pipeline.heterodyne.physics.sky import SkyDirection

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SkyView:
    """One OFF as the fit sees it: counts against the hot load, in kelvin through the smoothed gain.

    Parameters
    ----------
    step : ndarray, shape (C, R, A)
        (OFF - HOT)/gamma_smooth, 0 where unusable [K].
    variance : ndarray, shape (C, R, A)
        Its radiometric variance, infinite where unusable [K²].
    level : ndarray, shape (C, R, A)
        a = (OFF - COLD)/(HOT - COLD) of the smoothed counts, 0 where unusable.
    off_variance : ndarray, shape (C, R, A)
        Part of `variance` that is this OFF's own [K²].
    direction : SkyDirection
        The modelled sky towards it, against the hot load.

    Examples
    --------
    An OFF that is 150 ± 0.1 K colder than the hot load, in two channels, towards the `direction` of
    the example of :class:`SkyObservation`:

    >>> one = np.ones((2, 1, 1))
    >>> off = SkyView(-150.0 * one, 0.01 * one, 0.25 * one, 0.01 * one, direction)
    >>> np.sqrt(off.variance).ravel().tolist()
    [0.1, 0.1]
    """

    step: Floats
    variance: Floats
    level: Floats
    off_variance: Floats
    direction: SkyDirection


@dataclass(frozen=True)
class LoadView:
    """The loads as the fit sees them.

    Parameters
    ----------
    gain_ratio : ndarray, shape (C, R, A)
        gamma/gamma_smooth, 0 where unusable.
    hot_variance, cold_variance : ndarray, shape (C, R, A)
        Radiometric variances of the load means on the double-sideband scale [K²].
    cold_power : ndarray, shape (C, R, A)
        Smoothed COLD/gamma_smooth, receiver and cold load, 0 where unusable [K].
    input_difference : ndarray, shape (C, 1, 1) or (C, 1, A)
        T'_hot - T'_cold [K].

    Examples
    --------
    Loads without noise on a receiver of 90 K, and a gain without structure along the channels:

    >>> one = np.ones((1, 1, 1))
    >>> loads = LoadView(one, 0.0 * one, 0.0 * one, cold_power=170.0 * one, input_difference=200.0 * one)
    >>> loads.power(0.5 * one).item()  # halfway between cold and hot load
    270.0
    """

    gain_ratio: Floats
    hot_variance: Floats
    cold_variance: Floats
    cold_power: Floats
    input_difference: Floats

    def power(self, level: Floats) -> Floats:
        """Return smoothed counts over gamma_smooth, receiver and input, at a level between the loads.

        Parameters
        ----------
        level : ndarray, shape (C, R, A)
            a = (counts - COLD)/(HOT - COLD) of smoothed counts.
        """
        return np.asarray(level * self.input_difference + self.cold_power)


@dataclass(frozen=True)
class SkyObservation:
    """Measurements of the water vapour above the telescope in a band of a scan.

    Parameters
    ----------
    loads : LoadView
        The loads, common to all OFFs.
    sky : sequence of SkyView
        The OFFs.
    model_error : float
        Fractional error of the opacity.

    Examples
    --------
    An OFF below 0.5 mm of water, in two channels of a single-sideband receiver with a sigma of 0.1 K:

    >>> from cal_pipeline.heterodyne.physics.planck import Sidebands
    >>> from cal_pipeline.heterodyne.physics.sky import Air, Opacity, Surroundings
    >>> nu, one = np.array([461e9, 462e9]), np.ones((2, 1, 1))
    >>> sidebands, opacity = Sidebands(nu, nu, 0.0), Opacity(*2 * [np.array([[[0.5, 1.0]]])], np.zeros(1))
    >>> air = Air.around(sidebands, opacity, np.array([0.95]), Surroundings(270.0, 270.0))
    >>> direction = SkyDirection(air, airmass=1.5).against(280.0 * one)
    >>> step, _ = direction.observe(np.array([[0.5]]))
    >>> off = SkyView(step, 0.01 * one, 0.5 * one, 0.01 * one, direction)
    >>> loads = LoadView(one, 0.0 * one, 0.0 * one, cold_power=170.0 * one, input_difference=200.0 * one)
    >>> observation = SkyObservation(loads, [off], model_error=0.0)
    >>> observation.pixels
    (1, 1)
    """

    loads: LoadView
    sky: Sequence[SkyView]
    model_error: float

    @property
    def pixels(self) -> tuple[int, int]:
        """Number of receivers and of arrays (R, A)."""
        _, n_receivers, n_arrays = self.loads.gain_ratio.shape
        return n_receivers, n_arrays

    def samples(self, view: SkyView, chosen: slice = slice(None)) -> tuple[Any, ...]:
        """Collect what compiled loops take of an OFF: step, variance and gain ratio, each (P, C), and model error.

        Parameters
        ----------
        view : SkyView
            The OFF.
        chosen : slice
            Pixels, index a·R + r; all if not given.
        """
        samples = (rows(values)[chosen] for values in (view.step, view.variance, self.loads.gain_ratio))
        return *samples, self.model_error

    def alone(self, off: int) -> SkyObservation:
        """Return the observation reduced to one OFF.

        Parameters
        ----------
        off : int
            Index of the OFF.

        Examples
        --------
        With the `observation` of the example of the class:

        >>> len(observation.alone(0).sky)
        1
        """
        return SkyObservation(self.loads, [self.sky[off]], self.model_error)


def view_sky(
    off: Sequence[Floats],
    off_dumps: Sequence[NDArray[np.integer[Any]]],
    exptime: Sequence[float],
    directions: Sequence[SkyDirection],
    means: LoadMeans,
    loads: LoadSolution,
    channel_width: float,
    each: Mapper = one_by_one,
) -> tuple[LoadView, list[SkyView]]:
    """Prepare OFFs and loads for the fit.

    Parameters
    ----------
    off : sequence of ndarray, shape (C, R, A)
        Mean counts of each OFF [ct].
    off_dumps : sequence of ndarray of int, shape (C, R, A)
        Number of valid dumps in them.
    exptime : sequence of float
        Integration time of one of those dumps [s].
    directions : sequence of SkyDirection
        The modelled sky towards each OFF, against the hot load.
    means, loads : LoadMeans, LoadSolution
        The loads.
    channel_width : float
        Noise bandwidth B of a channel [Hz].
    each : callable
        Calls a function on every item of a sequence and returns a list of the results; may use
        threads.

    Returns
    -------
    loads : LoadView
    sky : list of SkyView

    Notes
    -----
    sigma_rad² = [T_off²/t_off + a² T_hot²/t_hot + (1 - a)² T_cold²/t_cold]/B, all of it from counts
    smoothed along the channels, so that the noise of a channel does not choose its own weight. The
    step stays linear in the counts: division by a noisy gain biases PWV by tens of percent in
    narrow channels.

    Examples
    --------
    Counts of a receiver of 90 K and 1000 ct/K on loads of 280 and 80 K, and on a sky as cold as the
    cold load, towards the `direction` of the example of :class:`SkyObservation`:

    >>> means = LoadMeans(370e3 * one, 170e3 * one, 10.0 * one, 10.0 * one, 280.0, 80.0)
    >>> inputs = 280.0 * one, 80.0 * one
    >>> solution = LoadSolution(1e3 * one, 90.0 * one, 90.0 * one, 200.0 * one, *inputs, bad_channel=one < 0.0)
    >>> dumps = np.ones((2, 1, 1), np.int32)
    >>> loads, (off,) = view_sky([170e3 * one], [dumps], [10.0], [direction], means, solution, channel_width=1e6)
    >>> off.step.ravel().round(6).tolist()  # below the hot load [K]
    [-200.0, -200.0]
    >>> np.sqrt(off.variance).ravel().round(4).tolist()  # 170 K/sqrt(1 MHz·10 s), from sky and cold load
    [0.076, 0.076]
    """
    hot, cold = running_mean(means.hot), running_mean(means.cold)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = loads.t_hot_input - loads.t_cold_input
        gain = (hot - cold) / difference
        t_rec = receiver_temperature(hot, cold, loads.t_hot_input, loads.t_cold_input)
        hot_variance = (t_rec + loads.t_hot_input) ** 2 / (channel_width * means.hot_time)
        cold_variance = (t_rec + loads.t_cold_input) ** 2 / (channel_width * means.cold_time)
        gain_ratio = loads.gamma / gain
        cold_power = cold / gain
    loads_usable = ~loads.bad_channel & np.isfinite(gain_ratio) & (gain > 0.0)
    for load_variance in (hot_variance, cold_variance):
        # A negative one comes of a negative integration time.
        loads_usable &= np.isfinite(load_variance) & (load_variance >= 0.0)

    with np.errstate(divide="ignore", invalid="ignore"):
        per_gain, per_span = 1.0 / gain, 1.0 / (hot - cold)
    seen = (means.hot, cold, per_gain, per_span, hot_variance, cold_variance, loads_usable)
    shape = means.hot.shape
    common = tuple(rows(values, shape) for values in seen)

    # One piece of memory for all: large pieces come in large pages, which take the system a tenth of the time.
    found = np.empty((len(off), 4, *common[0].shape))

    def view_off(k: int) -> SkyView:
        _view(
            tuple(rows(values, shape) for values in (off[k], running_mean(off[k]), off_dumps[k])),
            common,
            channel_width * exptime[k],
            found[k],
        )
        step, variance, level, off_variance = found[k]
        return SkyView(
            step=unpack_rows(step, shape[1:]),
            variance=unpack_rows(variance, shape[1:]),
            level=unpack_rows(level, shape[1:]),
            off_variance=unpack_rows(off_variance, shape[1:]),
            direction=directions[k],
        )

    sky = each(view_off, range(len(off)))
    view = LoadView(
        gain_ratio=np.where(loads_usable, gain_ratio, 0.0),
        hot_variance=np.where(loads_usable, hot_variance, 0.0),
        cold_variance=np.where(loads_usable, cold_variance, 0.0),
        cold_power=np.where(loads_usable, cold_power, 0.0),
        input_difference=difference,
    )
    return view, sky


@compiled
def _view(off: tuple[Any, ...], loads: tuple[Any, ...], width_times_time: float, seen: Floats) -> None:
    """Put step, variance, level and own variance of an OFF into (4, P, C), from arrays (P, C)."""
    counts, smooth, dumps = off
    hot, cold, per_gain, per_span, hot_variance, cold_variance, usable = loads
    n_pixels, n_channels = counts.shape
    for p in range(n_pixels):
        for c in range(n_channels):
            step = (counts[p, c] - hot[p, c]) * per_gain[p, c]
            level = (smooth[p, c] - cold[p, c]) * per_span[p, c]
            own = (smooth[p, c] * per_gain[p, c]) ** 2 / (width_times_time * dumps[p, c])
            variance = own + level**2 * hot_variance[p, c] + (1.0 - level) ** 2 * cold_variance[p, c]
            if usable[p, c] and np.isfinite(step) and np.isfinite(variance) and variance > 0.0:
                seen[0, p, c], seen[1, p, c], seen[2, p, c], seen[3, p, c] = step, variance, level, own
            else:
                seen[0, p, c], seen[1, p, c], seen[2, p, c], seen[3, p, c] = 0.0, np.inf, 0.0, 0.0
