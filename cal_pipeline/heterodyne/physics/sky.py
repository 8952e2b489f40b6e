"""Input of the receiver from the atmosphere, the background and the spillover."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.opacity import zenith_opacity
from cal_pipeline.heterodyne.physics.planck import Sidebands
from cal_pipeline.heterodyne.physics.rows import rows, unpack_rows
from cal_pipeline.heterodyne.physics.sky_layers import attenuate, in_tiles, look_through, respond

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Opacity:
    """Zenith opacity of the atmosphere as a linear function of PWV, tau_j = b_j·PWV + c_j.

    Parameters
    ----------
    b, c : ndarray, shape (B, L, C)
        Opacity of water vapour [Np/mm] and of the dry atmosphere [Np] in each of the B sidebands that
        contribute, the signal first, from the telescope up to the top of each of the L layers; the
        last: the whole atmosphere.
    offset : ndarray, shape (L,)
        Temperature of each layer minus that of the ground [K].

    Examples
    --------
    An atmosphere in one piece, seen in two sidebands:

    >>> opacity = Opacity(np.array([[[0.5]], [[0.25]]]), np.array([[[0.25]], [[0.75]]]), np.zeros(1))
    >>> opacity.signal(1.0).tolist(), opacity.image(1.0).tolist()
    ([0.75], [1.0])
    """

    b: Floats
    c: Floats
    offset: Floats

    @classmethod
    def of_zenith(cls, zenith_opacity: float, n_sidebands: int, n_channels: int) -> Opacity:
        """Make a known opacity, in one layer, of all channels and sidebands; water does not change it.

        Parameters
        ----------
        zenith_opacity : float
            Zenith opacity [Np].
        n_sidebands, n_channels : int
            Number B of sidebands that contribute, and C of channels.

        Examples
        --------
        >>> Opacity.of_zenith(0.125, n_sidebands=1, n_channels=2).signal(0.0).tolist()
        [0.125, 0.125]
        """
        shape = (n_sidebands, 1, n_channels)
        return cls(np.zeros(shape), np.full(shape, zenith_opacity), np.zeros(1))

    @property
    def isothermal(self) -> bool:
        """Tell whether the atmosphere is one layer at the temperature of the ground."""
        return self.offset.size == 1 and not self.offset.any()

    def signal(self, pwv: float | Floats) -> Floats:
        """Compute the zenith opacity of the whole atmosphere in the signal sideband.

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
        >>> opacity = Opacity(np.array([[[0.5]], [[0.25]]]), np.array([[[0.25]], [[0.75]]]), np.zeros(1))
        >>> opacity.signal(np.array([0.0, 1.0])).tolist(), opacity.image(np.array([0.0, 1.0])).tolist()
        ([[0.25, 0.75]], [[0.75, 1.0]])
        """
        return self._zenith(0, pwv)

    def image(self, pwv: float | Floats) -> Floats:
        """Compute the zenith opacity in the image sideband [Np], like :meth:`signal`; NaN without an image."""
        if len(self.b) > 1:
            return self._zenith(1, pwv)
        return np.full((self.b.shape[-1], *np.shape(pwv)), np.nan)

    def _zenith(self, sideband: int, pwv: float | Floats) -> Floats:
        water = np.asarray(pwv, np.float64)
        extend = (slice(None), *(None,) * water.ndim)
        return zenith_opacity(self.b[sideband, -1][extend], self.c[sideband, -1][extend], water)


@dataclass(frozen=True)
class Surroundings:
    """Temperatures of what surrounds the telescope.

    Parameters
    ----------
    t_ground : float
        Temperature of the air at the telescope, from which those of the layers follow [K].
    t_spill : float
        Temperature of what the spillover sees [K].

    Examples
    --------
    >>> Surroundings(t_ground=268.0, t_spill=275.0)
    Surroundings(t_ground=268.0, t_spill=275.0)
    """

    t_ground: float
    t_spill: float

    @classmethod
    def average(cls, weights: Floats, t_ground: Floats, t_spill: Floats) -> Surroundings:
        """Average the temperatures at several OFFs.

        Parameters
        ----------
        weights : ndarray, shape (O,)
            Weights w of the OFFs, which sum to 1.
        t_ground, t_spill : ndarray, shape (O,)
            Temperatures at each OFF [K].

        Returns
        -------
        Surroundings
            Σ w t_ground and Σ w t_spill [K].

        Examples
        --------
        >>> Surroundings.average(np.array([0.75, 0.25]), np.array([280.0, 284.0]), np.array([270.0, 270.0]))
        Surroundings(t_ground=281.0, t_spill=270.0)
        """
        return cls(*(float(weights @ temperature) for temperature in (t_ground, t_spill)))


@dataclass(frozen=True, eq=False)
class Air:
    """The atmosphere and the spillover at given temperatures, for all directions and any amount of water.

    Parameters
    ----------
    sidebands : Sidebands
        Frequencies and weights of the sidebands.
    opacity : Opacity
        Zenith opacity against water.
    forward_efficiency : ndarray, shape (A,)
        Forward efficiency of each array.
    surroundings : Surroundings
        Temperatures of ground and spillover.
    brightness : ndarray, shape (B, L + 1, C)
        J(nu_sb, T_j) of each layer, T_j = t_ground + offset_j, and of the background behind them [K].
    share : ndarray, shape (A, B)
        f_eff w_sb, the share of each array's input that comes from the sky in each sideband.
    opaque : ndarray, shape (C, 1, A)
        Input temperature where the lowest layer hides all others, f_eff Σ_sb w_sb J(nu_sb, T_1) +
        (1 - f_eff) T'_spill [K].

    Examples
    --------
    Air as warm as the ground; at 1 GHz it is as bright as it is warm, and so is the background:

    >>> nu, water, none = np.array([1e9]), np.ones((1, 1, 1)), np.zeros((1, 1, 1))
    >>> sidebands, opacity = Sidebands(nu, nu, image_gain=0.0), Opacity(water, none, np.zeros(1))
    >>> air = Air.around(sidebands, opacity, np.array([1.0]), Surroundings(270.0, 270.0))
    >>> air.brightness.round(1).ravel().tolist(), air.opaque.round(1).item()
    ([270.0, 2.7], 270.0)
    """

    sidebands: Sidebands
    opacity: Opacity
    forward_efficiency: Floats
    surroundings: Surroundings
    brightness: Floats
    share: Floats
    opaque: Floats

    @classmethod
    def around(
        cls, sidebands: Sidebands, opacity: Opacity, forward_efficiency: Floats, surroundings: Surroundings
    ) -> Air:
        """Compute everything that does not depend on direction and water.

        Parameters
        ----------
        sidebands : Sidebands
            Frequencies and weights of the sidebands.
        opacity : Opacity
            Zenith opacity against water.
        forward_efficiency : ndarray, shape (A,)
            Forward efficiency of each array.
        surroundings : Surroundings
            Temperatures of ground and spillover.

        Returns
        -------
        Air

        Examples
        --------
        A telescope that sees the sky with 0.9 of its beam, and with the rest the ground of 290 K; with the
        `sidebands` and the `opacity` of the example of :class:`SkyDirection`:

        >>> air = Air.around(sidebands, opacity, np.array([0.9]), Surroundings(270.0, 290.0))
        >>> air.opaque.round(1).item()
        272.0
        """
        nu, layers = sidebands.frequencies[:, None], (surroundings.t_ground + opacity.offset)[:, None]
        behind = np.stack(sidebands.background[: len(nu)])
        brightness = np.concatenate([sidebands.convention.brightness(nu, layers), behind[:, None]], axis=1)
        share = np.ascontiguousarray((forward_efficiency * sidebands.weights).T)
        spill = sidebands.input_temperature(surroundings.t_spill)
        # A sum in a fixed order, unlike that of a matrix product.
        warm = sum(share[:, sideband] * brightness[sideband, 0][:, None, None] for sideband in range(len(nu)))
        opaque = np.asarray(warm + (1.0 - forward_efficiency) * spill)
        return cls(sidebands, opacity, forward_efficiency, surroundings, brightness, share, opaque)

    def against(self, t_input: Floats) -> Air:
        """Return the air as it is seen against a load.

        Parameters
        ----------
        t_input : ndarray, shape (C, 1, 1) or (C, 1, A)
            Input temperature of the load, from which temperatures then count [K].

        Examples
        --------
        With the `air` of the example of the class:

        >>> air.against(np.full((1, 1, 1), 280.0)).opaque.round(1).item()
        -10.0
        """
        return replace(self, opaque=self.opaque - t_input)

    @cached_property
    def tiles(self) -> AirInTiles:
        """Arrays of this air in tiles of channels."""
        opacity = self.opacity
        tiles = map(_read_in_tiles, (rows(self.opaque), self.brightness, opacity.b, opacity.c))
        return AirInTiles(*tiles)

    @cached_property
    def layer_slopes(self) -> Floats:
        """Derivatives dJ(nu_sb, T_j)/dT of the layers, shape (B, L, C) [K/K]."""
        layers = (self.surroundings.t_ground + self.opacity.offset)[:, None]
        return self.sidebands.convention.brightness_slope(self.sidebands.frequencies[:, None], layers)

    @cached_property
    def spillover(self) -> tuple[Floats, Floats]:
        """Input temperature of the spillover [K] and its derivative by ln g [K], each (A, C)."""
        n_channels, t_spill = len(self.opaque), self.surroundings.t_spill
        of_arrays = (self.sidebands.input_temperature(t_spill), self.sidebands.image_gain_slope(t_spill))
        temperature, by_gain = (rows(np.broadcast_to(values, (n_channels, 1, self.n_arrays))) for values in of_arrays)
        return temperature, by_gain

    @property
    def n_arrays(self) -> int:
        """Number A of arrays."""
        return len(self.share)


class AirInTiles(NamedTuple):
    """Arrays of an :class:`Air` with the channels in tiles, see :func:`.in_tiles`.

    Parameters
    ----------
    opaque : ndarray, shape (A, T, W)
        Input temperature where the lowest layer hides all others [K].
    brightness : ndarray, shape (B, L + 1, T, W)
        Brightness of the layers and the background [K].
    wet, dry : ndarray, shape (B, L, T, W)
        Opacity coefficients up to the tops of the layers [Np/mm, Np].

    Examples
    --------
    With the `air` of the example of :class:`Air`, which has a single channel:

    >>> air.tiles.brightness.shape
    (1, 2, 1, 1)
    """

    opaque: Floats
    brightness: Floats
    wet: Floats
    dry: Floats


@dataclass(frozen=True, eq=False)
class SkyDirection:
    """The sky at one airmass, ready to be evaluated for any amount of water.

    Parameters
    ----------
    air : Air
        Atmosphere and spillover.
    airmass : float
        Airmass.

    Examples
    --------
    A sky without opacity shows the cosmic background, an opaque one the temperature of the air; at
    1 GHz both are near the physical temperatures:

    >>> nu, water, none = np.array([1e9]), np.ones((1, 1, 1)), np.zeros((1, 1, 1))
    >>> sidebands, opacity = Sidebands(nu, nu, image_gain=0.0), Opacity(water, none, np.zeros(1))
    >>> air = Air.around(sidebands, opacity, np.array([1.0]), Surroundings(270.0, 270.0))
    >>> direction = SkyDirection(air, airmass=1.0)
    >>> [direction.observe(np.array([[pwv]]))[0].round(1).item() for pwv in (0.0, 100.0)]
    [2.7, 270.0]
    """

    air: Air
    airmass: float

    def against(self, t_input: Floats) -> SkyDirection:
        """Return the direction as it is seen against a load.

        Parameters
        ----------
        t_input : ndarray, shape (C, 1, 1) or (C, 1, A)
            Input temperature of the load, from which temperatures then count [K].

        Examples
        --------
        With the `direction` of the example of the class:

        >>> direction.against(np.full((1, 1, 1), 280.0)).observe(np.array([[100.0]]))[0].round(1).item()
        -10.0
        """
        return SkyDirection(self.air.against(t_input), self.airmass)

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
            Transmission t_r(nu_s) of the whole atmosphere.

        Examples
        --------
        With the `direction` of the example of the class, 1 Np/mm without dry air:

        >>> temperature, through = direction.observe(np.array([[np.log(2.0)]]))
        >>> through.round(6).item(), temperature.round(1).item()  # half background, half air
        (0.5, 136.3)
        """
        shape = (len(pwv), self.air.n_arrays)
        water = np.broadcast_to(pwv, shape).reshape(-1, order="F")
        through = np.empty((water.size, len(self.air.opaque)))
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
            The temperature, f_eff Σ_sb w_sb E(nu_sb) + (1 - f_eff) T'_spill [K], with
            E = J(T_1) - Σ_j [J(T_j) - J(T_(j+1))] t_j and t_j = exp(-airmass·tau_j), T_(L+1) that of the
            background; its derivative by PWV [K/mm]; the change of the sky's emission for a relative
            error of 1 of all opacities,
            f_eff Σ_sb w_sb Σ_j [J(T_j) - J(T_(j+1))]·airmass·tau_j·t_j without the background [K].

        References
        ----------
        Radiative transfer through layers of constant temperature, summed by parts; Mangum & Shirley
        2015, PASP 127, 266, sect. 14, for a single layer.
        """
        found = np.empty((n_wanted, water.size, len(self.air.opaque)))
        look = self._look_into(found)
        for place, pwv, a, through_layers in self._evaluate(water, array):
            look(place, pwv, a, through_layers)
            if through is not None:
                in_tiles(through)[place] = through_layers[0, -1]
        return found

    def respond_rows(self, water: Floats, array: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Compute how the emission of the sky responds to errors of what it is computed from.

        Parameters
        ----------
        water, array
            As of :meth:`observe_rows`.

        Returns
        -------
        modelled : ndarray, shape (3, Q, C)
            Results of :meth:`observe_rows`.
        responses : ndarray, shape (3 + B, Q, C)
            For 1 K more of t_ground, f_eff Σ_sb w_sb Σ_j (t_(j-1) - t_j) dJ(T_j)/dT with t_0 = 1 [K/K];
            for offsets twice as large, the same with offset_j in the sum [K]; for twice the dry opacity,
            f_eff Σ_sb w_sb Σ_j [J(T_j) - J(T_(j+1))]·airmass·c_j·t_j [K]; E(nu_sb) of each sideband [K].

        Examples
        --------
        With the `direction` of the example of the class, where half of the light is the air's, which is
        in one piece without dry opacity:

        >>> _, responses = direction.respond_rows(np.array([np.log(2.0)]), np.array([0]))
        >>> responses.ravel().round(1).tolist()  # of ground, profile, dry opacity; emission
        [0.5, 0.0, 0.0, 136.3]
        """
        air, opacity = self.air, self.air.opacity
        modelled = np.empty((3, water.size, len(air.opaque)))
        responses = np.zeros((3 + len(air.brightness), water.size, len(air.opaque)))
        slopes, tiles = _read_in_tiles(air.layer_slopes), in_tiles(responses)
        of_air = air.tiles
        look = self._look_into(modelled)
        for place, pwv, a, through_layers in self._evaluate(water, array):
            look(place, pwv, a, through_layers)
            given = (of_air.brightness, slopes, opacity.offset, of_air.dry, self.airmass, air.share[a], through_layers)
            respond(*given, *place, tiles)
        return modelled, responses

    def _evaluate(
        self, water: Floats, array: NDArray[np.int64]
    ) -> Iterator[tuple[tuple[int, int], float, int, Floats]]:
        """Yield index and tile, PWV and array of each pixel with the transmission of the layers, (B, L, W).

        Its memory is that of what comes next too: a tile at a time, of all pixels, stays in the cache.
        NumPy's exponential takes a fifth of the time of a compiled loop's.
        """
        *_, wet, dry = self.air.tiles
        n_bands, n_layers, n_tiles, width = wet.shape
        through = np.empty((n_bands, n_layers, width))
        for tile in range(n_tiles):
            before: float | None = None
            for q, (pwv, a) in enumerate(zip(water.tolist(), array.tolist(), strict=True)):
                if pwv != before:
                    attenuate(wet, dry, tile, pwv, self.airmass, through)
                    np.exp(through, out=through)
                    before = pwv
                yield (q, tile), pwv, a, through

    def _look_into(self, found: Floats) -> Callable[[tuple[int, int], float, int, Floats], None]:
        """Return a function that writes temperature, slope and error of the sky, or temperature, of a tile to `found`.

        Parameters
        ----------
        found : ndarray, shape (3 or 1, Q, C)
        """
        of_air, share, out = self.air.tiles, self.air.share, in_tiles(found)

        def look(place: tuple[int, int], pwv: float, array: int, through: Floats) -> None:
            look_through(*of_air, pwv, self.airmass, array, share[array], through, *place, out)

        return look

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
        air, opacity = self.air, self.air.opacity
        opaque = air.opaque[channels, 0, :].T
        contrast = -np.diff(air.brightness[:, :, channels], axis=1)
        b, c = opacity.b[:, :, channels], opacity.c[:, :, channels]
        hidden = np.zeros((len(air.brightness), len(grid), opaque.shape[1]))
        for sideband, layer in np.ndindex(*b.shape[:2]):
            through = np.exp(np.multiply.outer(-self.airmass * grid, b[sideband, layer]))
            hidden[sideband] += through * (contrast[sideband, layer] * np.exp(-self.airmass * c[sideband, layer]))
        return np.asarray(opaque[:, None] - np.tensordot(air.share, hidden, axes=1))


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
        n_arrays = direction.air.n_arrays
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
        n_known = self._direction.air.n_arrays
        if n_known != n_arrays or self._water.size not in (1, n_receivers * n_arrays):
            raise ValueError(f"a sky of {n_known} arrays and {self._water.size} pixels is wanted for pixels {pixels}")
        array = np.repeat(np.arange(n_arrays), n_receivers)[chosen]
        if self._whole is not None:
            return *self._whole, array
        return *self._direction.observe_rows(self._water[chosen], array, self._n_wanted), np.arange(array.size)


def _read_in_tiles(values: Floats) -> Floats:
    """Return an array that is only read in tiles of channels, a copy if it has no views in tiles."""
    return in_tiles(np.ascontiguousarray(values))
