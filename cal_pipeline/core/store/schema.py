"""Declared arrays of a product: axes, type, unit and meaning, once for writing, attributes and docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from cal_pipeline.core.store.arrays import create_writer
from cal_pipeline.core.store.interface import ArrayWriter, DiscardingWriter
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.paths import StorePath


@dataclass(frozen=True)
class ProductArray:
    """An array of a product.

    Parameters
    ----------
    dims : tuple of tuple of str
        The axes it may have.
    dtype : str
        NumPy type, or ``"str"``.
    units : str
        Unit that astropy parses in its default, FITS and VOUnit formats, or CF time.
    long_name : str
        Description.
    other_dtypes : tuple of str
        Further types that it may be written with.
    """

    dims: tuple[tuple[str, ...], ...]
    dtype: str
    units: str
    long_name: str
    other_dtypes: tuple[str, ...] = ()

    def dims_of(self, ndim: int) -> tuple[str, ...]:
        """Return the axes of an array with `ndim` dimensions."""
        for dims in self.dims:
            if len(dims) == ndim:
                return dims
        raise ValueError(f"{self.long_name}: {ndim} axes, expected one of {self.dims}")


@dataclass(frozen=True)
class ProductSchema:
    """All arrays of a product.

    Parameters
    ----------
    arrays : dict
        Arrays of a group by name.
    coordinates : dict
        Arrays that are coordinates of the others, and their axes.
    diagnostics : dict
        Arrays of groups below, by the group, except those that are in `arrays` too.
    chunked_axis : str
        First axis of the arrays that are written in chunks along that axis.
    attributes : dict
        Further attributes of some arrays.
    """

    arrays: Mapping[str, ProductArray]
    coordinates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    diagnostics: Mapping[str, ProductArray] = field(default_factory=dict)
    chunked_axis: str = ""
    attributes: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    def find(self, name: str) -> ProductArray:
        """Look up an array by its name or, for a diagnostic, its path."""
        group, _, array = name.partition("/")
        if array and array not in self.arrays:
            return self.diagnostics[group]
        return self.arrays[array or group]

    def attributes_of(self, name: str, dims: tuple[str, ...], present: set[str]) -> dict[str, Any]:
        """Make the CF attributes of an array.

        Parameters
        ----------
        name : str
            Name of the array; its path in the group where it is part of a diagnostic.
        dims : tuple of str
            Its axes.
        present : set of str
            Names of all arrays of the group.

        Returns
        -------
        dict
            ``long_name``, ``units``, ``coordinates`` (of a data variable) and further CF attributes.
        """
        spec = self.find(name)
        attributes: dict[str, Any] = {"long_name": spec.long_name, "units": spec.units}
        if name.rpartition("/")[2] not in self.coordinates:
            coordinates = [c for c, axes in self.coordinates.items() if c in present and set(axes) <= set(dims)]
            if coordinates:
                attributes["coordinates"] = " ".join(coordinates)
        return attributes | self.attributes.get(name, {})

    def create_array(
        self,
        group: StorePath | None,
        name: str,
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        present: set[str],
        dtype: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> ArrayWriter:
        """Create an array in a group, empty.

        Parameters
        ----------
        group : StorePath or None
            The group; None to discard all that is written.
        name : str
            Name of the array; path from the group where it is part of a diagnostic.
        shape, chunks : tuple of int
            Its shape and chunks.
        present : set of str
            Names of all arrays of the group.
        dtype : str
            One of its types in the schema; the first if empty.
        attributes : mapping, optional
            Attributes besides those of the schema.

        Raises
        ------
        ValueError
            If the schema knows no such type of the array.
        """
        spec = self.find(name)
        if dtype and dtype not in (spec.dtype, *spec.other_dtypes):
            raise ValueError(f"{name}: type {dtype}, expected one of {', '.join((spec.dtype, *spec.other_dtypes))}")
        dims = spec.dims_of(len(shape))
        if group is None:
            return DiscardingWriter(shape, chunks)
        described = self.attributes_of(name, dims, present) | dict(attributes or {})
        return create_writer(group, name, shape, chunks, dtype or spec.dtype, dims, described)

    def write_array(
        self,
        group: StorePath | None,
        name: str,
        values: NDArray[Any],
        chunk: int,
        present: set[str],
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a whole array, in chunks of `chunk` along its first axis if that is the chunked one.

        Without a group it is discarded.
        """
        chunks = tuple(max(n, 1) for n in values.shape)
        if values.ndim and self.find(name).dims_of(values.ndim)[0] == self.chunked_axis:
            chunks = (min(chunk, values.shape[0]), *chunks[1:])
        self.create_array(group, name, values.shape, chunks, present, attributes=attributes).write(values)

    def create_diagnostic(
        self,
        group: StorePath | None,
        name: str,
        coordinates: Mapping[str, NDArray[Any]],
        chunk: int,
        attributes: dict[str, Any],
    ) -> None:
        """Create the group of a diagnostic, with the coordinates of its arrays; nothing without a group."""
        if group is None:
            return
        write_group(group, name, attributes)
        for coordinate, values in coordinates.items():
            self.write_array(group, f"{name}/{coordinate}", values, chunk, set())
