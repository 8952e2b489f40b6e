"""Input of the receiver from the atmosphere, the background and the spillover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.compiled import compiled, rows, rows_to_fill, unpack_rows
from cal_pipeline.heterodyne.physics.opacity import zenith_opacity
from cal_pipeline.heterodyne.physics.planck import Sidebands
from cal_pipeline.heterodyne.physics.sharing import Mapper, groups_of_rows, one_by_one

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Opacity:
    """Zenith opacity of the atmosphere as a linear function of PWV, tau0 = b·PWV + c.

    Parameters
    ----------
    b_signal, b_image : ndarray, shape (C,)
        Opacity of water vapour in the two sidebands [Np/mm]; NaN in the image when g = 0.
    c_signal, c_image : ndarray, shape (C,)
        Opacity of the dry atmosphere in the two sidebands [Np].

    Examples
    --------
    >>> opacity = Opacity(np.array([0.5]), np.array([0.25]), np.array([0.75]), np.array([0.25]))
    >>> opacity.signal(1.0).tolist(), opacity.image(1.0).tolist()
    ([0.75], [1.0])
    """

    b_signal: Floats
    c_signal: Floats
    b_image: Floats
    c_image: Floats

    def signal(self, pwv: float | Floats) -> Floats:
        """Compute the zenith opacity in the signal sideband.

        Parameters
        ----------
        pwv : float or ndarray
            Precipitable water vapour [mm], broadcast behind the channel axis.

        Returns
        -------
        ndarray, shape (C, ...)
            b·PWV + c [Np].

        Examples
        --------
        >>> opacity = Opacity(np.array([0.5]), np.array([0.25]), np.array([0.75]), np.array([0.25]))
        >>> opacity.signal(np.array([0.0, 1.0])).tolist(), opacity.image(np.array([0.0, 1.0])).tolist()
        ([[0.25, 0.75]], [[0.25, 1.0]])
        """
        return _zenith(self.b_signal, self.c_signal, pwv)

    def image(self, pwv: float | Floats) -> Floats:
        """Compute the zenith opacity in the image sideband [Np], like :meth:`signal`; NaN when g = 0."""
        return _zenith(self.b_image, self.c_image, pwv)


def _zenith(b: Floats, c: Floats, pwv: float | Floats) -> Floats:
    water = np.asarray(pwv, np.float64)
    extend = (slice(None), *(None,) * water.ndim)
    return zenith_opacity(b[extend], c[extend], water)


@dataclass(frozen=True)
class Surroundings:
    """Temperatures of what surrounds the telescope.

    Parameters
    ----------
    t_atm : float
        Effective temperature of the atmosphere [K].
    t_spill : float
        Temperature of what the spillover sees [K].

    Examples
    --------
    >>> Surroundings(t_atm=268.0, t_spill=275.0)
    Surroundings(t_atm=268.0, t_spill=275.0)
    """

    t_atm: float
    t_spill: float

    @classmethod
    def average(cls, weights: Floats, t_atm: Floats, t_spill: Floats) -> Surroundings:
        """Average the temperatures at several OFFs.

        Parameters
        ----------
        weights : ndarray, shape (O,)
            Weights w of the OFFs, which sum to 1.
        t_atm, t_spill : ndarray, shape (O,)
            Temperatures at each OFF [K].

        Returns
        -------
        Surroundings
            Σ w t_atm and Σ w t_spill [K].

        Examples
        --------
        >>> Surroundings.average(np.array([0.75, 0.25]), np.array([280.0, 284.0]), np.array([270.0, 270.0]))
        Surroundings(t_atm=281.0, t_spill=270.0)
        """
        return cls(*(float(weights @ temperature) for temperature in (t_atm, t_spill)))


@dataclass(frozen=True)
class SkyDirection:
    """The sky at one airmass, ready to be evaluated for any amount of water.

    Parameters
    ----------
    opaque : ndarray, shape (C, 1, A)
        Input temperature of a sky without transmission [K].
    warm, contrast : ndarray, shape (B, C)
        For each of the B sidebands that count, w_sb J(nu_sb, t_atm) and
        w_sb [J(nu_sb, t_atm) - J(nu_sb, 2.725 K)] [K].
    wet, dry : ndarray, shape (B, C)
        Opacity along the line of sight, airmass·b [Np/mm] and airmass·c [Np].
    forward_efficiency : ndarray, shape (A,)
        Forward efficiency of each array.

    Examples
    --------
    A sky without opacity shows the cosmic background, an opaque one the temperature of the air; at
    1 GHz both are near the physical temperatures:

    >>> nu, water, none = np.array([1e9]), np.array([1.0]), np.array([0.0])
    >>> sidebands, opacity = Sidebands(nu, nu, image_gain=1.0), Opacity(water, none, water, none)
    >>> direction = SkyDirection.towards(sidebands, opacity, 1.0, Surroundings(270.0, 270.0), np.array([1.0]))
    >>> [direction.observe(np.array([[pwv]]))[0].round(1).item() for pwv in (0.0, 100.0)]
    [2.7, 270.0]
    """

    opaque: Floats
    warm: Floats
    contrast: Floats
    wet: Floats
    dry: Floats
    forward_efficiency: Floats

    @classmethod
    def towards(
        cls,
        sidebands: Sidebands,
        opacity: Opacity,
        airmass: float,
        surroundings: Surroundings,
        forward_efficiency: Floats,
    ) -> SkyDirection:
        """Compute everything independent of PWV.

        Parameters
        ----------
        sidebands : Sidebands
            Frequencies and weights of the sidebands.
        opacity : Opacity
            Zenith opacity against water.
        airmass : float
            Airmass.
        surroundings : Surroundings
            Temperatures of atmosphere and spillover.
        forward_efficiency : ndarray, shape (A,)
            Forward efficiency of each array.

        Returns
        -------
        SkyDirection

        Examples
        --------
        With the `sidebands` and the `opacity` of the example of the class; a telescope that sees the sky
        with 0.9 of its beam sees an opaque sky of 270 K and the ground of 290 K:

        >>> direction = SkyDirection.towards(sidebands, opacity, 1.0, Surroundings(270.0, 290.0), np.array([0.9]))
        >>> direction.observe(np.array([[100.0]]))[0].round(1).item()
        272.0
        """
        brightness, (behind_signal, behind_image) = sidebands.convention.brightness, sidebands.background
        bands = [(sidebands.weight_signal, sidebands.signal, behind_signal, opacity.b_signal, opacity.c_signal)]
        if sidebands.has_image:
            bands.append((sidebands.weight_image, sidebands.image, behind_image, opacity.b_image, opacity.c_image))
        warm = np.stack([w * brightness(nu, surroundings.t_atm) for w, nu, *_ in bands])
        cold = np.stack([w * behind for w, _, behind, *_ in bands])
        # Usually both are the ambient temperature, and the sum over the sidebands is known already.
        ambient = surroundings.t_spill == surroundings.t_atm
        spill = warm.sum(axis=0)[:, None, None] if ambient else sidebands.input_temperature(surroundings.t_spill)
        return cls(
            opaque=forward_efficiency * warm.sum(axis=0)[:, None, None] + (1.0 - forward_efficiency) * spill,
            warm=warm,
            contrast=warm - cold,
            wet=np.stack([airmass * b for *_, b, _ in bands]),
            dry=np.stack([airmass * c for *_, c in bands]),
            forward_efficiency=forward_efficiency,
        )

    def observe(self, pwv: Floats) -> tuple[Floats, Floats]:
        """Compute the input temperature of blank sky and the transmission.

        Parameters
        ----------
        pwv : ndarray, shape (1 or R, A) or (1, 1)
            Water above the telescope [mm].

        Returns
        -------
        temperature : ndarray, shape (C, 1 or R, A)
            Input temperature of blank sky [K]; see :meth:`observe_rows`.
        through : ndarray, shape (C, 1 or R, A)
            Transmission t_r(nu_s).

        Examples
        --------
        With the `direction` of the example of the class, 1 Np/mm without dry air:

        >>> temperature, through = direction.observe(np.array([[np.log(2.0)]]))
        >>> through.round(6).item(), temperature.round(1).item()  # half background, half air
        (0.5, 136.3)
        """
        shape = (len(pwv), self.forward_efficiency.size)
        water = np.broadcast_to(pwv, shape).reshape(-1, order="F")
        through = np.empty((water.size, len(self.opaque)))
        (temperature,) = self.observe_rows(water, np.repeat(np.arange(shape[1]), shape[0]), 1, through)
        return unpack_rows(temperature, shape), unpack_rows(through, shape)

    def observe_rows(
        self, water: Floats, array: NDArray[np.int64], n_wanted: int = 3, through: Floats | None = None
    ) -> Floats:
        """Compute the input temperature of blank sky and its response to PWV and opacity errors.

        Parameters
        ----------
        water : ndarray, shape (Q,)
            Water above the telescope for each pixel [mm].
        array : ndarray of int, shape (Q,)
            Array that the pixel belongs to.
        n_wanted : int
            1 for the temperature alone, 3 for all.
        through : ndarray, shape (Q, C), optional
            Output array for the transmission in the signal sideband.

        Returns
        -------
        ndarray, shape (1 or 3, Q, C)
            The temperature,
            f_eff Σ_sb w_sb [J(nu_sb, t_atm)(1 - t_r) + J(nu_sb, 2.725 K) t_r]
            + (1 - f_eff) T'_spill [K];
            its derivative by PWV [K/mm]; the change of the sky's emission for a relative error of 1
            of all opacities,
            f_eff Σ_sb w_sb J(nu_sb, t_atm)·airmass·tau0·exp(-airmass·tau0) [K].

        References
        ----------
        Mangum & Shirley 2015, PASP 127, 266, sect. 14; a single layer at one temperature.
        """
        opaque, found = rows(self.opaque), np.empty((n_wanted, water.size, len(self.opaque)))
        minus_depth, transmission = np.empty_like(self.wet), np.empty_like(self.wet)
        for q, (pwv, a) in enumerate(zip(water.tolist(), array.tolist(), strict=True)):
            # A pixel at a time stays in the cache; NumPy's exponential takes a fifth of the time of a compiled loop's.
            _attenuate(self.wet, self.dry, pwv, minus_depth)
            np.exp(minus_depth, out=transmission)
            given = (self.warm, self.contrast, self.wet, self.forward_efficiency[a], minus_depth, transmission)
            _through(opaque[a], *given, found[:, q])
            if through is not None:
                through[q] = transmission[0]
        return found

    def on_grid(self, grid: Floats, channels: slice) -> Floats:
        """Compute the sky temperature of some channels at each PWV of a grid.

        Parameters
        ----------
        grid : ndarray, shape (G,)
            PWV [mm].
        channels : slice
            The c channels to evaluate.

        Returns
        -------
        ndarray, shape (A, G, c)
            Input temperature of blank sky [K].

        Examples
        --------
        With the `direction` of the example of the class:

        >>> direction.on_grid(np.array([0.0, np.log(2.0)]), slice(None)).round(1).tolist()
        [[[2.7], [136.3]]]
        """
        seen = np.zeros((len(grid), len(self.opaque[channels])))
        for contrast, wet, dry in zip(self.contrast, self.wet, self.dry, strict=True):
            attenuated = np.exp(np.multiply.outer(-grid, wet[channels]))
            attenuated *= contrast[channels] * np.exp(-dry[channels])
            seen += attenuated
        opaque = self.opaque[channels, 0, :].T
        return np.asarray(opaque[:, None] - self.forward_efficiency[:, None, None] * seen)


class ModelledSky:
    """The sky in one direction at a given PWV, pixel by pixel.

    A PWV shared by all receivers is evaluated once.

    Parameters
    ----------
    direction : SkyDirection
        The direction.
    pwv : ndarray, shape (1, 1) or (R, A)
        Water above the telescope [mm].
    n_wanted : int
        1 for its temperature, 3 for slope and error too.

    Examples
    --------
    Two receivers with different water, in the `direction` of the example of :class:`SkyDirection`:

    >>> sky = ModelledSky(direction, np.array([[0.0], [100.0]]), n_wanted=1)
    >>> temperature, row = sky.of((2, 1))
    >>> temperature.round(1).tolist(), row.tolist()
    ([[2.7], [270.0]], [0, 1])
    """

    def __init__(self, direction: SkyDirection, pwv: Floats, n_wanted: int = 3) -> None:
        self._direction, self._n_wanted = direction, n_wanted
        self._water = pwv.reshape(-1, order="F")
        n_arrays = direction.forward_efficiency.size
        shared = np.repeat(self._water, n_arrays) if pwv.size == 1 else None
        self._whole = None if shared is None else direction.observe_rows(shared, np.arange(n_arrays), n_wanted)

    def of(self, pixels: tuple[int, int], chosen: slice = slice(None)) -> tuple[Any, ...]:
        """Return the sky of pixels, with the row of each.

        Parameters
        ----------
        pixels : tuple of int
            Number of receivers and of arrays (R, A).
        chosen : slice
            The P pixels to return, index a·R + r; all if not given.

        Returns
        -------
        *results : ndarray, shape (Q, C)
            Results of :meth:`SkyDirection.observe_rows`.
        row : ndarray of int, shape (P,)
            Row of each pixel in them.

        Raises
        ------
        ValueError
            If the sky was made for another number of arrays or pixels.
        """
        n_receivers, n_arrays = pixels
        n_known = self._direction.forward_efficiency.size
        if n_known != n_arrays or self._water.size not in (1, n_receivers * n_arrays):
            raise ValueError(f"a sky of {n_known} arrays and {self._water.size} pixels is wanted for pixels {pixels}")
        array = np.repeat(np.arange(n_arrays), n_receivers)[chosen]
        if self._whole is not None:
            return *self._whole, array
        return *self._direction.observe_rows(self._water[chosen], array, self._n_wanted), np.arange(array.size)


@compiled
def _attenuate(wet: Floats, dry: Floats, pwv: float, minus_depth: Floats) -> None:
    """Write the negative opacity along the line of sight to `minus_depth`; all (B, C)."""
    n_bands, n_channels = wet.shape
    for b in range(n_bands):
        for c in range(n_channels):
            minus_depth[b, c] = -(wet[b, c] * pwv + dry[b, c])


@compiled
def _through(
    opaque: Floats,
    warm: Floats,
    contrast: Floats,
    wet: Floats,
    f_eff: float,
    minus_depth: Floats,
    transmission: Floats,
    found: Floats,
) -> None:
    """Write temperature, slope and error of the sky, (3, C), or temperature, (1, C), to `found`.

    Inputs are the arrays of a :class:`SkyDirection`, the negative opacity along the line of sight
    and the transmission, all (B, C).
    """
    n_bands, n_channels = transmission.shape
    for k in range(len(found)):
        for c in range(n_channels):
            found[k, c] = 0.0 if k else opaque[c]
    for b in range(n_bands):
        for c in range(n_channels):
            found[0, c] -= f_eff * contrast[b, c] * transmission[b, c]
        if len(found) > 1:
            for c in range(n_channels):
                found[1, c] += f_eff * contrast[b, c] * transmission[b, c] * wet[b, c]
                found[2, c] -= f_eff * warm[b, c] * minus_depth[b, c] * transmission[b, c]


def observed_sky(
    off: Sequence[Floats],
    hot: Floats,
    gamma: Floats,
    t_hot_input: Floats,
    skies: Sequence[ModelledSky],
    each: Mapper = one_by_one,
) -> tuple[Floats, Floats]:
    """Compute the observed input temperature of the sky, against the hot load, and its residual.

    Parameters
    ----------
    off : sequence of ndarray, shape (C, R, A)
        Mean counts of each OFF, NaN where there is no valid dump [ct].
    hot, gamma : ndarray, shape (C, R, A)
        Counts on the hot load [ct] and gain [ct/K].
    t_hot_input : ndarray, shape (C,)
        Input temperature of the hot load [K].
    skies : sequence of ModelledSky
        Fitted sky at each OFF; its PWV is NaN if none was fitted.
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
    `direction` of the example of :class:`SkyDirection`, with ln 2 mm of water:

    >>> one, sky = np.ones((1, 1, 1)), ModelledSky(direction, np.array([[np.log(2.0)]]), n_wanted=1)
    >>> t_sky, residual = observed_sky([800.0 * one], 1000.0 * one, 2.0 * one, np.array([280.0]), [sky])
    >>> t_sky.item(), residual.round(1).item()
    (180.0, 43.7)
    """
    n_channels, n_receivers, n_arrays = hot.shape
    counts = [rows(values, hot.shape) for values in off]
    hot_rows, gain = rows(hot), rows(gamma, hot.shape)

    def average_rows(chosen: slice) -> tuple[Floats, Floats]:
        sums = np.zeros((5, chosen.stop - chosen.start, n_channels))
        for one, sky in zip(counts, skies, strict=True):
            temperature, row = sky.of((n_receivers, n_arrays), chosen)
            if temperature.shape[1] != n_channels:
                raise ValueError(f"a sky has {temperature.shape[1]} channels, expected {n_channels}")
            _add_sky(one[chosen], temperature, row, sums)
        return _mean_sky(sums, hot_rows[chosen], gain[chosen], t_hot_input)

    found = each(average_rows, groups_of_rows(n_receivers * n_arrays, n_channels))
    sky, residual = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return unpack_rows(sky, hot.shape[1:]), unpack_rows(residual, hot.shape[1:])


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
def _mean_sky(sums: Floats, hot: Floats, gamma: Floats, t_hot_input: Floats) -> tuple[Floats, Floats]:
    """Compute observed sky, and observed minus modelled, (P, C); NaN for zero samples."""
    n_pixels, n_channels = hot.shape
    sky, residual = np.empty((n_pixels, n_channels)), np.empty((n_pixels, n_channels))
    for p in range(n_pixels):
        for c in range(n_channels):
            present, fitted = sums[1, p, c], sums[3, p, c]
            sky[p, c] = _above_hot(sums[0, p, c] / present, hot[p, c], gamma[p, c]) + t_hot_input[c]
            seen = _above_hot(sums[2, p, c] / fitted, hot[p, c], gamma[p, c]) + t_hot_input[c]
            residual[p, c] = seen - sums[4, p, c] / fitted
    return sky, residual
