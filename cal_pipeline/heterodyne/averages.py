"""Averages of calibrated spectra over dumps, subscans, pixels and scans, with their true error."""

from __future__ import annotations

import difflib
import operator
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.text import list_few
from cal_pipeline.heterodyne.physics.shared_noise import Averaged, SharedNoiseMean, combine_means
from cal_pipeline.heterodyne.schema import ARRAY, CHANNEL, DUMP, OFF, RECEIVER, SUBSCAN

if TYPE_CHECKING:
    import xarray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

Weights = Literal["sigma", "equal"]
Selection = Literal["good", "all"]

_WEIGHTS = ("sigma", "equal")
_SELECTIONS = ("good", "all")

_BLOCK = 2**24
"""Samples of a subscan that are read together where the array is not chunked along the channels."""


def average_scan(
    dataset: xarray.Dataset,
    pixels: str | Sequence[str] | None = None,
    subscans: SupportsIndex | Sequence[SupportsIndex] | slice | None = None,
    weights: Weights = "sigma",
    flags: Selection = "good",
    each_pixel: bool = False,
) -> xarray.Dataset:
    """Average the spectra of a scan over its dumps, subscans and pixels.

    The arrays are read block by block, each sample once.

    Parameters
    ----------
    dataset : xarray.Dataset
        An L1 scan, or a band of one, as :meth:`~cal_pipeline.CalibratedSession.open_scan` opens it;
        parts of one are taken as well, but a part without some of the dumps leaves their time in ``t_int``.
    pixels : str or sequence of str, optional
        Names of the pixels to average; all if not given.
    subscans : int, sequence of int or slice, optional
        Positions among the ONs; all if not given.
    weights : {"sigma", "equal"}
        Weight of each sample: 1/sigma², or 1.
    flags : {"good", "all"}
        Samples to average: those without a flag, or all that are numbers.
    each_pixel : bool
        Whether to keep the pixels apart.

    Returns
    -------
    xarray.Dataset
        On the axis ``channel`` (with ``receiver`` and ``array`` for `each_pixel`): ``spectrum``, the
        mean T_A* [K], NaN without a sample; ``sigma``, its 1-sigma error [K]; ``t_int``, the time on
        source, summed over pixels [s]; ``n_samples``; ``weight``, the sum of the weights.

    Raises
    ------
    ValueError
        If a pixel, subscan, or kind of weights or flags is unknown.

    Warns
    -----
    UserWarning
        If the scan does not tell which noise its spectra share (L1 before version 1.2); ``sigma`` is
        NaN then.

    Notes
    -----
    The noise of an OFF is common to all dumps it is subtracted from, and does not average down with
    their number; :class:`~cal_pipeline.heterodyne.physics.shared_noise.SharedNoiseMean` has the
    formula. The error of the scale of T_A*, ``scale_error``, is not part of it.

    Examples
    --------
    >>> from cal_pipeline import CalibratedSession
    >>> scan = CalibratedSession("l1.zarr").open_scan(1)
    >>> mean = average_scan(scan, pixels="CHAI_PX00")
    >>> mean.spectrum.dims, int(mean.n_samples[0])
    (('channel',), 32)

    Independent noise would leave 1/sqrt(32) of that of a dump; the OFFs leave more:

    >>> round(float((mean.sigma / (scan.sigma.mean("subscan").squeeze() / 32**0.5)).median()), 1)
    1.5
    """
    _check_choice("weights", weights, _WEIGHTS)
    _check_choice("flags", flags, _SELECTIONS)
    parts = _ScanParts.of(dataset, pixels, subscans)
    blocks = [_average_block(parts, channels, weights, flags) for channels in parts.blocks()]
    each = Averaged(*(np.concatenate(arrays) for arrays in zip(*(block.mean for block in blocks), strict=True)))
    each = each._replace(sigma=np.where(parts.known, each.sigma, np.nan))
    t_int = _integration_time(parts, blocks)
    if not parts.known:
        warnings.warn(
            f"{parts.name}: no array ref_share or ref_off, which L1 has from version 1.2 on: the error of an average "
            "is unknown, sigma is NaN; calibrate the scan anew",
            stacklevel=2,
        )
    if not each_pixel:
        return parts.describe(combine_means(each), t_int.sum(axis=1), weights, flags)
    return parts.describe_pixels(each, t_int, weights, flags)


@dataclass(frozen=True)
class _ScanParts:
    """Part of an L1 scan to average.

    Parameters
    ----------
    dataset : xarray.Dataset
        The scan, or a part of one that lacks an axis.
    pixel : ndarray of int, shape (P,)
        Pixels, as index r·A + a.
    names : list of str
        Their names.
    subscans : ndarray of int, shape (S,)
        Positions among the ONs.
    share, off : ndarray, shape (K, P, S)
        Share of the OFF in each slot in the noise, and its subscan.
    known : bool
        Whether the shares are known.
    """

    dataset: xarray.Dataset
    pixel: Integers
    names: list[str]
    subscans: Integers
    share: Floats
    off: Integers
    known: bool

    @classmethod
    def of(cls, dataset: xarray.Dataset, pixels: Any, subscans: Any) -> _ScanParts:
        """Select pixels and subscans of a scan."""
        for name in ("spectra", "flags", "sigma", "t_int", "pixel"):
            if name not in dataset:
                raise ValueError(f"{name_scan(dataset)}: no array {name}; expected an L1 scan that was calibrated")
        all_names = [str(name) for name in _values(dataset, "pixel", (RECEIVER, ARRAY)).ravel().tolist()]
        chosen = choose_pixels(all_names, pixels, name_scan(dataset))
        ons = choose_subscans(dataset.sizes.get(SUBSCAN, 1), subscans, name_scan(dataset))
        known = "ref_share" in dataset and "ref_off" in dataset
        if known:
            share, off = (_noise_of_reference(dataset, name)[:, chosen][..., ons] for name in ("ref_share", "ref_off"))
        else:
            share, off = np.zeros((1, chosen.size, ons.size)), np.full((1, chosen.size, ons.size), -1)
        return cls(dataset, chosen, [all_names[p] for p in chosen], ons, share.astype(np.float64), off, known)

    @property
    def name(self) -> str:
        """Name of the scan, for messages."""
        return name_scan(self.dataset)

    @property
    def per_dump(self) -> bool:
        """Tell whether a dump shares noise with the same dump of other ONs, instead of with all dumps."""
        return bool(self.known and self.dataset["ref_share"].attrs.get("reference") == "dump")

    def size(self, axis: str) -> int:
        """Return the length of an axis; 1 if the scan lacks it."""
        return int(self.dataset.sizes.get(axis, 1))

    def blocks(self) -> Iterator[slice]:
        """Divide the channels as their chunks are."""
        n_channels = self.size(CHANNEL)
        largest = max(_BLOCK // (self.size(DUMP) * self.size(RECEIVER) * self.size(ARRAY)), 1)
        rows = self.dataset.spectra.encoding.get("preferred_chunks", {}).get(CHANNEL, largest)
        for start in range(0, n_channels, rows):
            yield slice(start, min(start + rows, n_channels))

    def read(self, name: str, axes: tuple[str, ...], channels: slice, on: int) -> NDArray[Any]:
        """Read an array of an ON, with the chosen pixels as its last axis."""
        return np.asarray(self._read_all(name, axes, channels, on)[..., self.pixel])

    def read_spectra(self, channels: slice, on: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Read T_A* (c, D, P) of an ON, and which dumps have a sample in any pixel of the scan, chosen or not."""
        values = self._read_all("spectra", (CHANNEL, DUMP), channels, on)
        return values[..., self.pixel], np.isfinite(values).any(axis=(0, 2))

    def _read_all(self, name: str, axes: tuple[str, ...], channels: slice, on: int) -> NDArray[Any]:
        """Read an array of an ON, with all pixels as its last axis."""
        values = _values(self.dataset, name, (*axes, RECEIVER, ARRAY), {CHANNEL: channels, SUBSCAN: int(on)})
        return values.reshape(*values.shape[: len(axes)], -1)

    def describe(self, mean: Averaged, t_int: Floats, weights: Weights, flags: Selection) -> xarray.Dataset:
        """Make the dataset of an average over pixels, of arrays (C,)."""
        return describe_average(self.dataset, (CHANNEL,), mean, t_int, weights, flags, {"pixels": self.names})

    def describe_pixels(self, mean: Averaged, t_int: Floats, weights: Weights, flags: Selection) -> xarray.Dataset:
        """Make the dataset of the averages of pixels, of arrays (C, P); those not chosen are NaN."""
        shape = (self.size(RECEIVER), self.size(ARRAY))

        def spread(values: NDArray[Any], fill: float) -> NDArray[Any]:
            full = np.full((len(values), shape[0] * shape[1]), fill, values.dtype)
            full[:, self.pixel] = values
            return full.reshape(-1, *shape)

        fills = (np.nan, np.nan, 0.0, 0)
        full = Averaged(*(spread(values, fill) for values, fill in zip(mean, fills, strict=True)))
        axes, time = (CHANNEL, RECEIVER, ARRAY), spread(t_int, 0.0)
        made = describe_average(self.dataset, axes, full, time, weights, flags, {"pixels": self.names})
        return made.assign_coords(pixel=((RECEIVER, ARRAY), _values(self.dataset, "pixel", (RECEIVER, ARRAY))))


_UNITS_OF_WEIGHT = {"sigma": "K-2", "equal": ""}
_KINDS = {"sigma": "weighted by 1/sigma squared", "equal": "of equal weights"}
_KEPT_ATTRIBUTES = ("scan_number", "source", "mode", "rest_freq_hz", "instmode")


def describe_average(
    dataset: xarray.Dataset,
    axes: tuple[str, ...],
    mean: Averaged,
    t_int: Floats,
    weights: Weights,
    flags: Selection,
    attributes: dict[str, Any],
) -> xarray.Dataset:
    """Make the dataset of an average, with frequencies and attributes of the scan.

    Parameters
    ----------
    dataset : xarray.Dataset
        Scan whose frequencies and attributes are taken over.
    axes : tuple of str
        Axes of the arrays.
    mean : Averaged
        The average.
    t_int : ndarray
        Time on source [s].
    weights : {"sigma", "equal"}
        Weight of each sample.
    flags : {"good", "all"}
        Samples that were averaged.
    attributes : dict
        Further attributes.

    Returns
    -------
    xarray.Dataset

    Examples
    --------
    >>> import xarray
    >>> scan = xarray.Dataset(coords={"signal_freqs": ("channel", np.array([461e9]))}, attrs={"scan_number": 7})
    >>> one = np.ones(1)
    >>> made = describe_average(scan, ("channel",), Averaged(one, one, one, one), one, "sigma", "good", {})
    >>> made.attrs
    {'scan_number': 7, 'weights': 'sigma', 'flags': 'good'}
    """
    import xarray

    arrays = {
        "spectrum": (axes, mean.mean, {"long_name": f"mean T_A*, {_KINDS[weights]}", "units": "K"}),
        "sigma": (axes, mean.sigma, {"long_name": "1-sigma error of the mean", "units": "K"}),
        "t_int": (axes, t_int, {"long_name": "integration time on source, summed over pixels", "units": "s"}),
        "n_samples": (axes, mean.number, {"long_name": "number of samples", "units": ""}),
        "weight": (axes, mean.weight, {"long_name": "sum of the weights", "units": _UNITS_OF_WEIGHT[weights]}),
    }
    known = [name for name in ("signal_freqs", "image_freqs") if name in dataset]
    coords = {name: dataset[name].reset_coords(drop=True) for name in known}
    kept = {name: dataset.attrs[name] for name in _KEPT_ATTRIBUTES if name in dataset.attrs}
    return xarray.Dataset(arrays, coords, kept | attributes | {"weights": weights, "flags": flags})


@dataclass(frozen=True)
class _Block:
    """Averages of a block of channels (c, P), samples (c, P, S), and dumps with a sample in any pixel (D, S)."""

    mean: Averaged
    number: NDArray[np.int32]
    dumps: NDArray[np.bool_]


def _average_block(parts: _ScanParts, channels: slice, weights: Weights, flags: Selection) -> _Block:
    """Average the dumps and subscans of a block of channels."""
    n_channels, n_pixels, n_ons = channels.stop - channels.start, parts.pixel.size, parts.subscans.size
    mean = SharedNoiseMean(n_channels, n_pixels, parts.per_dump)
    number = np.zeros((n_channels, n_pixels, n_ons), np.int32)
    dumps = np.zeros((parts.size(DUMP), n_ons), np.bool_)
    last_use = {int(off): index for index in range(n_ons) for off in np.unique(parts.off[..., index])}
    for index, on in enumerate(parts.subscans.tolist()):
        samples, dumps[:, index] = parts.read_spectra(channels, on)
        if flags == "good":
            flagged = parts.read("flags", (CHANNEL, DUMP), channels, on) != 0
            samples = np.where(flagged, np.nan, samples) if flagged.any() else samples
        sigma = parts.read("sigma", (CHANNEL,), channels, on).astype(np.float64)
        weight = 1.0 / sigma**2 if weights == "sigma" else np.ones_like(sigma)
        number[..., index] = mean.add(samples, sigma, weight, parts.share[..., index], parts.off[..., index])
        for off in (off for off, last in last_use.items() if last == index):
            mean.finish(off)
    return _Block(mean.averaged(), number, dumps)


def _integration_time(parts: _ScanParts, blocks: list[_Block]) -> Floats:
    """Compute the time on source of the samples averaged in each channel and pixel, (C, P) [s]."""
    # t_int counts the dumps with a sample in any pixel.
    dumps = np.logical_or.reduce([block.dumps for block in blocks]).sum(axis=0)
    of_dump = _values(parts.dataset, "t_int", (SUBSCAN,))[parts.subscans] / np.maximum(dumps, 1)
    return np.concatenate([block.number @ of_dump for block in blocks])


def _values(
    dataset: xarray.Dataset, name: str, axes: tuple[str, ...], part: Mapping[str, slice | int] = MappingProxyType({})
) -> NDArray[Any]:
    """Read an array, or a part of one, with its axes in order; axes it lacks have length 1."""
    # Arrays of a dataset carry all coordinates along, variables do not.
    found = dataset.variables[name].isel(part, missing_dims="ignore")
    present = [axis for axis in axes if axis in found.dims]
    return np.asarray(found.transpose(*present).values.reshape([found.sizes.get(axis, 1) for axis in axes]))


def _noise_of_reference(dataset: xarray.Dataset, name: str) -> NDArray[Any]:
    """Read ``ref_share`` or ``ref_off`` as (K, R·A, S)."""
    values = _values(dataset, name, (OFF, RECEIVER, ARRAY, SUBSCAN))
    return values.reshape(len(values), -1, values.shape[-1])


def name_scan(dataset: xarray.Dataset) -> str:
    """Name a scan, for messages."""
    return f"scan {dataset.attrs.get('scan_number', '(without a number)')}"


def _check_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} {value!r:.80}: choose one of {', '.join(allowed)}{_hint(str(value), allowed)}")


def choose_pixels(names: list[str], pixels: Any, where: str) -> Integers:
    """Find the indices of pixels by name."""
    if pixels is None:
        return np.arange(len(names))
    wanted = [pixels] if isinstance(pixels, str) else [str(name) for name in pixels]
    if not wanted:
        raise ValueError(f"{where}: no pixel is chosen; expected some of {list_few(names)}")
    for name in wanted:
        if name not in names:
            raise ValueError(f"{where} has no pixel {name!r:.80}; it has {list_few(names)}{_hint(name, names)}")
    return np.array([index for index, name in enumerate(names) if name in wanted])


def _hint(name: str, known: Sequence[str]) -> str:
    """Name the nearest spelling of a name; empty if none is near."""
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {list_few(near)}?" if near else ""


def choose_subscans(number: int, subscans: Any, where: str) -> Integers:
    """Find the positions of subscans among the ONs; negative ones count from the end."""
    if subscans is None or isinstance(subscans, slice):
        chosen = list(range(number))[subscans or slice(None)]
    else:
        given = [subscans] if np.ndim(subscans) == 0 else list(subscans)
        chosen = [operator.index(position) for position in given]
    for position in chosen:
        if not -number <= position < number:
            raise ValueError(f"{where} has no subscan {position}; expected positions among its {number} ONs, from 0")
    if not chosen:
        raise ValueError(f"{where}: no subscan is chosen of its {number}")
    return np.unique(np.array(chosen) % number)
