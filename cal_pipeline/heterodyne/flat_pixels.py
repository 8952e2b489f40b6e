"""An L1 scan for xarray users: one axis of named pixels, attributes that files take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from cal_pipeline.heterodyne.schema import ARRAY, RECEIVER, TERM

if TYPE_CHECKING:
    import xarray

PIXEL = "pixel"
"""Axis that takes the place of ``receiver`` and ``array``."""

_RENAMED = {"mode": "observing_mode"}
"""Attributes of a scan by other names: files that SciPy writes break at an attribute ``mode``."""

_OF_TIMES = ("units", "calendar", "dtype")
"""Encoding of times as days, which a format without whole numbers of 64 bits needs."""

Index = int | slice


class _FlatArray(BackendArray):
    """Array of a store with the axes receiver and array as one; nothing is read until it is indexed.

    Parameters
    ----------
    variable : xarray.Variable
        Array with the adjacent axes receiver and array.
    """

    def __init__(self, variable: xarray.Variable) -> None:
        self.variable = variable
        self.axis = variable.dims.index(RECEIVER)
        self.receivers, self.arrays = (variable.sizes[name] for name in (RECEIVER, ARRAY))
        shape = variable.shape
        self.shape = (*shape[: self.axis], self.receivers * self.arrays, *shape[self.axis + 2 :])
        self.dtype = variable.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        support = indexing.IndexingSupport.BASIC
        values: NDArray[Any] = indexing.explicit_indexing_adapter(key, self.shape, support, self._read)
        return values

    def _read(self, key: tuple[Index, ...]) -> NDArray[Any]:
        """Read the receivers that hold the wanted pixels, and keep these."""
        before, wanted, after = key[: self.axis], key[self.axis], key[self.axis + 1 :]
        pixels = np.arange(self.receivers * self.arrays)[wanted]
        if pixels.size == 0:
            first, last = 0, 0
        else:
            first, last = int(pixels.min()) // self.arrays, int(pixels.max()) // self.arrays + 1
        # Whole axes are kept as slices, so that the flat axis is where the two were.
        read = np.asarray(self.variable[(*before, slice(first, last), slice(None), *after)].values)
        axis = sum(isinstance(item, slice) for item in before)
        flat = read.reshape(*read.shape[:axis], (last - first) * self.arrays, *read.shape[axis + 2 :])
        return np.asarray(np.take(flat, pixels - first * self.arrays, axis=axis))


def flatten_pixels(dataset: xarray.Dataset) -> xarray.Dataset:
    """Replace the axes receiver and array of an L1 scan by one of named pixels, lazily.

    Parameters
    ----------
    dataset : xarray.Dataset
        L1 scan as :meth:`~cal_pipeline.CalibratedSession.open_scan` opens it.

    Returns
    -------
    xarray.Dataset
        With the index ``pixel``, and ``receiver`` and ``array`` as coordinates of it. Nothing but the
        names of the pixels is read. Attributes are text and numbers, so that ``to_netcdf`` takes them:
        nested ones are JSON, and ``mode`` is ``observing_mode``. ``mode`` is ``observing_mode``.

    Examples
    --------
    >>> from cal_pipeline import CalibratedSession
    >>> flat = flatten_pixels(CalibratedSession("l1.zarr").open_scan(1))
    >>> flat.spectra.dims, flat.pixel.values.tolist()
    (('channel', 'dump', 'pixel', 'subscan'), ['CHAI_PX00'])
    """
    import xarray

    shape = dataset.sizes[RECEIVER], dataset.sizes[ARRAY]
    rest = dataset.drop_vars(PIXEL)
    variables = {name: _flatten(variable) for name, variable in rest.variables.items()}
    receiver, array = np.indices(shape)
    coords: dict[Any, Any] = {name: variables.pop(name) for name in rest.coords}
    coords[PIXEL] = (PIXEL, np.array(name_pixels(dataset)), {"long_name": "pixel id"})
    coords[RECEIVER] = (PIXEL, receiver.ravel())
    coords[ARRAY] = (PIXEL, array.ravel())
    terms: Any = dataset["scale_error_terms"].attrs.get("terms") if "scale_error_terms" in dataset else None
    if isinstance(terms, list) and len(terms) == dataset.sizes.get(TERM):
        coords[TERM] = (TERM, np.asarray(terms).astype(str))
    flat: xarray.Dataset = xarray.Dataset(variables, coords, make_attributes_plain(dataset.attrs))
    return flat


def name_pixels(dataset: xarray.Dataset) -> list[str]:
    """Return the names of the pixels of an L1 scan, at index r·A + a.

    Examples
    --------
    >>> from cal_pipeline import CalibratedSession
    >>> name_pixels(CalibratedSession("l1.zarr").open_scan(1))
    ['CHAI_PX00']
    """
    return [str(name) for name in dataset[PIXEL].values.ravel().tolist()]


def _flatten(variable: xarray.Variable) -> xarray.Variable:
    import xarray

    attributes = make_attributes_plain(variable.attrs)
    if RECEIVER not in variable.dims:
        # Of the encoding only that of times is kept: the rest is Zarr's own, which other formats refuse.
        encoding = {name: variable.encoding[name] for name in _OF_TIMES if name in variable.encoding}
        return xarray.Variable(variable.dims, variable._data, attributes, encoding if "units" in encoding else None)
    flat = _FlatArray(variable)
    dims = [PIXEL if name == RECEIVER else name for name in variable.dims if name != ARRAY]
    return xarray.Variable(dims, indexing.LazilyIndexedArray(flat), attributes)


def make_attributes_plain(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Convert attributes to text and numbers; nested ones to JSON, lists of text to text; leave out unknown ones.

    Parameters
    ----------
    attributes : mapping
        Attributes, ready for JSON.

    Returns
    -------
    dict
        Attributes that a netCDF file takes.

    Examples
    --------
    >>> make_attributes_plain({"mode": "otf", "converged": True, "qa": {"verdict": "pass"}, "line": None})
    {'observing_mode': 'otf', 'converged': 1, 'qa': '{"verdict": "pass"}'}
    """
    named = {_RENAMED.get(str(name), str(name)): value for name, value in attributes.items()}
    return {name: _make_plain(value) for name, value in named.items() if value is not None}


def _make_plain(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (str, int, float, np.generic, np.ndarray)):
        return value
    if isinstance(value, (list, tuple)) and value and all(type(item) in (int, float) for item in value):
        return list(value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False)
