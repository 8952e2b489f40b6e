"""Atmosphere tables: wet and dry zenith opacity against frequency and pressure, in ASDF."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import asdf
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cal_pipeline.heterodyne.physics.opacity import (
    BetweenPressures,
    find_pressures,
    interpolate_coefficients,
    interpolate_in_frequency,
)
from cal_pipeline.heterodyne.references.atm_file import compress_frequency, expand_frequency, read_tree, require_keys
from cal_pipeline.heterodyne.references.atm_grid import AtmGrid, AtmRangeError, AtmTableError, Floats, ascending

__all__ = ["AtmRangeError", "AtmTable", "AtmTableError", "LayerCoefficients"]

T = TypeVar("T", bound=np.generic)

LAYERED = 2
"""Version of the format with layers; version 1 holds the whole atmosphere only."""

LAYER_TOLERANCE = 2.0**-10
"""Largest relative decrease of b and c from one layer's top to the next, by rounding."""

OFFSETS = (-150.0, 100.0)
"""Temperatures of layers relative to the ground that occur [K]; absolute temperatures exceed them."""


class LayerCoefficients(NamedTuple):
    """Opacity coefficients up to the tops of the layers, and temperatures of the layers.

    Parameters
    ----------
    b, c : ndarray of float64, shape (L, ...)
        Wet [Np/mm] and dry [Np] zenith opacity coefficients from the telescope up to the top of
        each layer, at the frequencies asked for; the last: the whole atmosphere.
    offset : ndarray of float64, shape (L,)
        Temperature of each layer minus that of the ground [K].

    Examples
    --------
    Opacities of the layers themselves are differences:

    >>> layers = LayerCoefficients(b=np.array([0.25, 0.5]), c=np.array([0.0, 0.125]), offset=np.array([-8.0, -45.0]))
    >>> np.diff(layers.c, prepend=0.0)
    array([0.   , 0.125])
    """

    b: Floats
    c: Floats
    offset: Floats


@dataclass(frozen=True, eq=False)
class AtmTable(AtmGrid):
    """Opacity coefficients of an atmosphere: tau0 = b·PWV + c.

    Parameters
    ----------
    frequency : ndarray, shape (F,)
        Frequencies, ascending, F >= 2 [Hz]. Intervals more than 10 times the median step separate
        windows.
    pressure : ndarray, shape (P,)
        Pressures at the telescope, ascending [Pa].
    b : ndarray of float32, shape (P, L, F)
        Wet zenith opacity per mm of precipitable water vapour from the telescope up to the top of
        each layer, the last that of the whole atmosphere [Np/mm]. Shape (P, F): a single layer.
    c : ndarray of float32, shape (P, L, F)
        Dry zenith opacity, likewise [Np].
    meta : dict
        Source of the numbers: model, version, site, altitude_m, temperature_profile, created.
    sha256 : str or None
        Checksum of the file; None for a table made in memory.
    layer_offset : ndarray, shape (P, L), optional
        Temperature of each layer minus that of the ground [K]. Not given: a single layer at the
        temperature of the ground (version 1 of the format).
    layer_top_km : ndarray, shape (L,), optional
        Tops of the layers above the telescope, ascending [km]; given if `layer_offset` is.
    name : str
        File name.

    Raises
    ------
    AtmTableError
        If a shape is wrong, an axis does not ascend, a value is not finite, b or c is negative or
        decreases from one layer's top to the next, or an offset does not occur in nature.

    Examples
    --------
    Halfway between two frequencies a coefficient is their mean:

    >>> table = AtmTable(np.array([460e9, 462e9]), np.array([51500.0]), b=[[0.25, 0.75]], c=[[0.125, 0.125]])
    >>> b, c = table.coefficients(461e9, 51500.0)
    >>> float(b), float(c)
    (0.5, 0.125)
    """

    b: NDArray[np.float32]
    c: NDArray[np.float32]
    meta: dict[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    layer_offset: Floats | None = None
    layer_top_km: Floats | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.layer_offset is None) != (self.layer_top_km is None):
            raise AtmTableError(f"{self.name}: give both layer_offset and layer_top_km, or neither for a single layer")
        n_layers = 1
        if self.layer_top_km is not None:
            tops = ascending(self.layer_top_km, "layer_top_km", self.name)
            n_layers = len(tops)
            object.__setattr__(self, "layer_top_km", tops)
            object.__setattr__(self, "layer_offset", self._check_offsets(n_layers))
        for key in ("b", "c"):
            object.__setattr__(self, key, self._check_coefficients(key, n_layers))

    @property
    def version(self) -> int:
        """Version of the format: 2 with layers, 1 with the whole atmosphere only."""
        return 1 if self.layer_top_km is None else LAYERED

    @classmethod
    def open(cls, path: str | PathLike[str]) -> AtmTable:
        """Read and check a table.

        Parameters
        ----------
        path : path
            ASDF file with `frequency` ({start, step, n} or an array), `pressure`, `b`, `c` and
            `meta`; in version 2 of the format also `version`, `layer_offset` and `layer_top_km`.

        Returns
        -------
        AtmTable

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        AtmTableError
            If it is no ASDF file, or a version, key, shape or value is not what the format asks
            for.

        Examples
        --------
        >>> from cal_pipeline.heterodyne.references.shipped import shipped_atm_table
        >>> AtmTable.open(shipped_atm_table("ccat")).describe_range()
        '453-497, 778-822 GHz at 480-560 hPa'
        """
        path = Path(path)
        tree = read_tree(path)
        version = tree.get("version", 1)
        if version not in (1, LAYERED):
            raise AtmTableError(
                f"{path}: version is {version!r}, expected {LAYERED}, or 1 or none; a newer release may read it"
            )
        layers = ("layer_offset", "layer_top_km") if version == LAYERED else ()
        require_keys(tree, ("frequency", "pressure", "b", "c", *layers), path)
        meta = tree.get("meta", {})
        if not isinstance(meta, Mapping):
            raise AtmTableError(f"{path}: meta is {type(meta).__name__}, expected a mapping")
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        try:
            return cls(
                frequency=expand_frequency(tree["frequency"], path.name),
                pressure=tree["pressure"],
                b=tree["b"],
                c=tree["c"],
                meta=dict(meta),
                sha256=checksum,
                name=path.name,
                **{key: tree[key] for key in layers},
            )
        except AtmTableError as error:
            raise AtmTableError(f"{path.parent}/{error}") from error

    def write(self, path: str | PathLike[str], compression: str = "zlib") -> None:
        """Write the table as ASDF, in the version of the format that it has.

        Parameters
        ----------
        path : path
            File to write; an existing one is replaced.
        compression : {"zlib", "bzp2"}
            Codec of the arrays; every asdf installation reads both.
        """
        layered = self.layer_top_km is not None
        tree: dict[str, Any] = {
            "frequency": compress_frequency(self.frequency) or self.frequency,
            "pressure": self.pressure,
            "b": self.b if layered else self.b[:, 0],
            "c": self.c if layered else self.c[:, 0],
            "meta": dict(self.meta),
        }
        if layered:
            tree |= {"version": LAYERED, "layer_offset": self.layer_offset, "layer_top_km": self.layer_top_km}
        with asdf.AsdfFile(tree) as file:
            file.write_to(Path(path), all_array_compression=compression)

    def coefficients(self, nu: ArrayLike, pressure: float) -> tuple[Floats, Floats]:
        """Interpolate coefficients of the whole atmosphere at frequencies and a pressure.

        Parameters
        ----------
        nu : array_like
            Sky frequencies, of any shape [Hz].
        pressure : float
            Pressure at the telescope [Pa].

        Returns
        -------
        b, c : ndarray of float64
            Wet [Np/mm] and dry [Np] zenith opacity coefficients, with the shape of `nu`.

        Raises
        ------
        AtmRangeError
            If any frequency or the pressure lies outside the table; nothing is extrapolated.

        Examples
        --------
        The line of water at 557 GHz is not in the table of a site that cannot see through it:

        >>> from cal_pipeline.heterodyne.references.shipped import open_atm_table, shipped_atm_table
        >>> open_atm_table(shipped_atm_table("ccat")).coefficients(557e9, 51500.0)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        cal_pipeline.heterodyne.references.atm_grid.AtmRangeError: atmosphere table atm_ccat.asdf does not cover ...
        """
        nu, p = self.clip(np.asarray(nu, np.float64), pressure)
        return self._interpolate(self.b, -1, nu, p), self._interpolate(self.c, -1, nu, p)

    def layer_coefficients(self, nu: ArrayLike, pressure: float) -> LayerCoefficients:
        """Interpolate coefficients of all layers at frequencies and a pressure.

        Parameters
        ----------
        nu : array_like
            Sky frequencies, of any shape [Hz].
        pressure : float
            Pressure at the telescope [Pa].

        Returns
        -------
        LayerCoefficients
            b and c with the axis of the layers before those of `nu`; each layer is interpolated
            like the whole atmosphere by `coefficients`, which the last one equals. Offsets are
            linear in the logarithm of the pressure.

        Raises
        ------
        AtmRangeError
            If any frequency or the pressure lies outside the table; nothing is extrapolated.

        Examples
        --------
        A layer of half the water, 8 K colder than the ground, below one that is 45 K colder:

        >>> table = AtmTable(
        ...     np.array([460e9, 462e9]),
        ...     np.array([51500.0]),
        ...     b=[[[0.25, 0.25], [0.5, 0.5]]],
        ...     c=[[[0.0, 0.0], [0.125, 0.125]]],
        ...     layer_offset=[[-8.0, -45.0]],
        ...     layer_top_km=[2.0, 40.0],
        ... )
        >>> b, c, offset = table.layer_coefficients(461e9, 51500.0)
        >>> b.tolist(), c.tolist(), offset.tolist()
        ([0.25, 0.5], [0.0, 0.125], [-8.0, -45.0])
        """
        nu = np.asarray(nu, np.float64)
        p = self.clip_pressure(pressure)
        below, above, weight = find_pressures(self.pressure, p)
        look_up = _look_up_layers if nu.size <= _FEW_FREQUENCIES else _look_up_layers.__wrapped__
        pair = look_up(self, nu.tobytes(), below, above) if nu.size and self.holds_pressure(pressure) else None
        if pair is None:
            self.clip(nu, pressure)  # raises unless there are no frequencies
        b, c = pair.at(weight).reshape(2, -1, *nu.shape) if pair else np.empty((2, self.b.shape[1], *nu.shape))
        if self.layer_offset is None:
            return LayerCoefficients(b, c, np.zeros(1))
        log_pressure = np.log(self.pressure)
        offset = np.array([np.interp(np.log(p), log_pressure, row) for row in self.layer_offset.T])
        return LayerCoefficients(b, c, offset)

    def _interpolate(self, values: NDArray[np.float32], layer: int, nu: Floats, p: float) -> Floats:
        return interpolate_coefficients(self.frequency, self.pressure, values[:, layer], nu, p)

    def _check_offsets(self, n_layers: int) -> Floats:
        """Check the temperatures of the layers: shape [P, L], finite, differences from the ground."""
        offset = _numeric(self.layer_offset, "layer_offset", self.name, np.float64)
        shape = (len(self.pressure), n_layers)
        if offset.shape != shape:
            raise AtmTableError(
                f"{self.name}: layer_offset has shape {offset.shape}, expected [pressure, layer] = {shape}"
            )
        low, high = OFFSETS
        wrong = offset[~((offset >= low) & (offset <= high))]
        if wrong.size:
            raise AtmTableError(
                f"{self.name}: layer_offset holds {wrong[0]:g} K, expected the temperature of a layer minus that of "
                f"the ground, from {low:g} to {high:g} K"
            )
        offset.flags.writeable = False
        return offset

    def _check_coefficients(self, key: str, n_layers: int) -> NDArray[np.float32]:
        """Check b or c: shape [P, L, F], finite, not negative, not less up to a higher layer."""
        array = _numeric(getattr(self, key), key, self.name, np.float32)
        n_pressures, n_frequencies = len(self.pressure), len(self.frequency)
        shape: tuple[int, ...] = (n_pressures, n_layers, n_frequencies)
        if self.version == 1 and array.shape != shape:
            shape = (n_pressures, n_frequencies)
        if array.shape != shape:
            axes = "pressure, layer, frequency" if len(shape) == 3 else "pressure, frequency"
            raise AtmTableError(f"{self.name}: {key} has shape {array.shape}, expected [{axes}] = {shape}")
        array = array.reshape(n_pressures, n_layers, n_frequencies)
        if not np.all(np.isfinite(array)):
            raise AtmTableError(f"{self.name}: {key} holds values that are not finite")
        if np.any(array < 0.0):
            raise AtmTableError(
                f"{self.name}: {key} holds negative values (least {array.min():g}); an opacity is 0 or above"
            )
        self._check_ascent(array, key)
        array.flags.writeable = False
        return array

    def _check_ascent(self, array: NDArray[np.float32], key: str) -> None:
        """Make sure that b or c does not decrease from one layer's top to the next, but for rounding."""
        for layer in range(1, array.shape[1]):
            lower, upper = array[:, layer - 1], array[:, layer]
            descents = np.argwhere(upper < (1.0 - LAYER_TOLERANCE) * lower)
            if descents.size:
                p, f = descents[0]
                raise AtmTableError(
                    f"{self.name}: {key} decreases from {lower[p, f]:g} up to layer {layer} to {upper[p, f]:g} up to "
                    f"layer {layer + 1}, at {self.pressure[p] / 100:g} hPa and {self.frequency[f] / 1e9:.10g} GHz; "
                    "expected the opacity from the telescope up to the top of each layer"
                )


_FEW_FREQUENCIES = 4096
"""Largest number of frequencies whose coefficients are cached, up to 2 MB an entry; for more the gain is small."""


@lru_cache(maxsize=8)
def _look_up_layers(table: AtmTable, nu: bytes, below: int, above: int) -> BetweenPressures | None:
    """Look up b and c of all layers, (2, L, C), at two pressures; None for frequencies outside the table.

    Scans of a session have the same frequencies, and other pressures; a scan has one or two bands of
    two sidebands.
    """
    frequencies, inside = table.clip_frequencies(np.frombuffer(nu, np.float64))
    if not np.all(inside):
        return None

    def at(index: int) -> Floats:
        layers = [values[index, layer] for values in (table.b, table.c) for layer in range(values.shape[1])]
        found = [interpolate_in_frequency(table.frequency, values, frequencies) for values in layers]
        return np.array(found).reshape(2, -1, frequencies.size)

    low = at(below)
    return BetweenPressures(low, low if above == below else at(above))


def _numeric(value: Any, key: str, name: str, dtype: type[T]) -> NDArray[T]:
    """Copy an array of a table as numbers of a type."""
    try:
        return np.array(value, dtype)
    except (TypeError, ValueError) as error:
        raise AtmTableError(f"{name}: {key} is not numeric: {error}") from error
