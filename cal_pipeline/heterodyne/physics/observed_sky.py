"""The sky as it was observed in the OFFs, in kelvin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.compiled import compiled
from cal_pipeline.heterodyne.physics.rows import rows, rows_to_fill, unpack_rows
from cal_pipeline.heterodyne.physics.sharing import Mapper, groups_of_rows, one_by_one
from cal_pipeline.heterodyne.physics.sky import ModelledSky

Floats = NDArray[np.float64]


def observed_sky(
    off: Sequence[Floats],
    hot: Floats,
    gamma: Floats,
    t_hot_input: Floats,
    skies: Sequence[ModelledSky],
    each: Mapper = one_by_one,
) -> tuple[Floats, Floats]:
    """Compute the mean observed sky of several OFFs, and by how much it differs from the model.

    Parameters
    ----------
    off : sequence of ndarray, shape (C, R, A)
        Mean counts of each OFF [ct].
    hot, gamma : ndarray, shape (C, R, A)
        Counts on the hot load [ct] and gain [ct/K].
    t_hot_input : ndarray, shape (C, 1, 1) or (C, 1, A)
        Input temperature of the hot load [K].
    skies : sequence of ModelledSky
        Fitted sky at each OFF, against the hot load; its PWV is NaN if none was fitted.
    each : callable
        Calls a function on every item of a sequence and returns a list of the results; may use
        threads.

    Returns
    -------
    t_sky : ndarray, shape (C, R, A)
        Mean over the OFFs of (OFF - HOT)/gamma + T'_hot [K].
    residual : ndarray, shape (C, R, A)
        Mean over the fitted OFFs of observed minus modelled [K].

    Raises
    ------
    ValueError
        If a sky has another number of channels, arrays or pixels.

    Notes
    -----
    The sky is linear in the counts, so it is computed once, from their mean.

    Examples
    --------
    200 counts below a hot load of 280 K, at 2 ct/K, are a sky of 180 K. The model is that of the
    `direction` of the example of :class:`~cal_pipeline.heterodyne.physics.sky.SkyDirection`, with ln 2 mm of water:

    >>> one, t_hot = np.ones((1, 1, 1)), np.full((1, 1, 1), 280.0)
    >>> sky = ModelledSky(direction.against(t_hot), np.array([[np.log(2.0)]]), n_wanted=1)
    >>> t_sky, residual = observed_sky([800.0 * one], 1000.0 * one, 2.0 * one, t_hot, [sky])
    >>> t_sky.item(), residual.round(1).item()
    (180.0, 43.7)
    """
    n_channels, n_receivers, n_arrays = hot.shape
    counts = [rows(values, hot.shape) for values in off]
    hot_rows, gain = rows(hot), rows(gamma, hot.shape)

    def average_rows(chosen: slice) -> tuple[Floats, Floats]:
        sums = np.zeros((5, chosen.stop - chosen.start, n_channels))
        for one, sky in zip(counts, skies, strict=True):
            temperature, *_, row = sky.of((n_receivers, n_arrays), chosen)
            if temperature.shape[1] != n_channels:
                raise ValueError(f"a sky has {temperature.shape[1]} channels, expected {n_channels}")
            _add_sky(one[chosen], temperature, row, sums)
        return _mean_sky(sums, hot_rows[chosen], gain[chosen])

    found = each(average_rows, groups_of_rows(n_receivers * n_arrays, n_channels))
    above_hot, residual = (np.concatenate(parts) for parts in zip(*found, strict=True))
    pixels = hot.shape[1:]
    return unpack_rows(above_hot, pixels) + t_hot_input, unpack_rows(residual, pixels)


@compiled
def _add_sky(off: Floats, model: Floats, row: NDArray[np.int64], sums: Floats) -> None:
    """Add an OFF to the sums (5, P, C): valid counts and number; fitted counts, number, model.

    `row` gives the row of the model (Q, C) for each pixel.
    """
    n_pixels, n_channels = off.shape
    for p in range(n_pixels):
        q = row[p]
        for c in range(n_channels):
            counts = off[p, c]
            if not np.isnan(counts):
                sums[0, p, c] += counts
                sums[1, p, c] += 1.0
                if not np.isnan(model[q, c]):
                    sums[2, p, c] += counts
                    sums[3, p, c] += 1.0
                    sums[4, p, c] += model[q, c]


def sky_above_hot(off: Floats, hot: Floats, gamma: Floats) -> Floats:
    """Compute the observed input temperature of the sky above that of the hot load.

    Parameters
    ----------
    off : ndarray, shape (C, R, A)
        Mean counts of an OFF [ct].
    hot, gamma : ndarray, shape (C, R, A)
        Counts on the hot load [ct] and gain [ct/K].

    Returns
    -------
    ndarray, shape (C, R, A)
        (OFF - HOT)/gamma, negative for a sky colder than the load [K].

    Examples
    --------
    >>> one = np.ones((1, 1, 1))
    >>> sky_above_hot(800.0 * one, 1000.0 * one, 2.0 * one)
    array([[[-100.]]])
    """
    sky = np.empty(hot.shape, order="F")
    _above_hot_rows(rows(off, hot.shape), rows(hot), rows(gamma, hot.shape), rows_to_fill(sky, hot.shape))
    return sky


@compiled
def _above_hot(off: float, hot: float, gamma: float) -> float:
    """(OFF - HOT)/gamma: the one place where counts on the sky become kelvin."""
    return (off - hot) / gamma


@compiled
def _above_hot_rows(off: Floats, hot: Floats, gamma: Floats, sky: Floats) -> None:
    """Put the sky above the hot load into `sky`; all (P, C)."""
    n_pixels, n_channels = hot.shape
    for p in range(n_pixels):
        for c in range(n_channels):
            sky[p, c] = _above_hot(off[p, c], hot[p, c], gamma[p, c])


@compiled
def _mean_sky(sums: Floats, hot: Floats, gamma: Floats) -> tuple[Floats, Floats]:
    """Compute observed sky above the hot load, and observed minus modelled, (P, C); NaN for zero samples."""
    n_pixels, n_channels = hot.shape
    sky, residual = np.empty((n_pixels, n_channels)), np.empty((n_pixels, n_channels))
    for p in range(n_pixels):
        for c in range(n_channels):
            present, fitted = sums[1, p, c], sums[3, p, c]
            sky[p, c] = _above_hot(sums[0, p, c] / present, hot[p, c], gamma[p, c])
            seen = _above_hot(sums[2, p, c] / fitted, hot[p, c], gamma[p, c])
            residual[p, c] = seen - sums[4, p, c] / fitted
    return sky, residual
