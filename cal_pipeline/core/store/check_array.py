"""Check of an array of a product against its schema."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from cal_pipeline.core.store.check import Contents
from cal_pipeline.core.store.interface import ArrayReader
from cal_pipeline.core.store.metadata import TEXT
from cal_pipeline.core.store.schema import ProductArray, ProductSchema


@dataclass(frozen=True)
class ArrayChecks:
    """Checks of the arrays of one observation against a schema.

    Parameters
    ----------
    contents : Contents
        Objects of the observation; takes the faults.
    schema : ProductSchema
        The schema.
    format_name : str
        Name of the format in messages, such as ``"L1"``.
    lengths : dict
        Length of each axis, and the array that set it; filled by the checks.
    """

    contents: Contents
    schema: ProductSchema
    format_name: str
    lengths: dict[str, tuple[int, str]] = field(default_factory=dict)

    def check(
        self,
        reader: ArrayReader,
        spec: ProductArray,
        name: str,
        label: str,
        further: Mapping[str, Any] = MappingProxyType({}),
        free: Collection[str] = (),
    ) -> None:
        """Check type, axes, shape and attributes of an array.

        Parameters
        ----------
        reader : ArrayReader
            The array.
        spec : ProductArray
            Its entry in the schema.
        name : str
            Its name in the schema.
        label : str
            Its path in the observation, for messages.
        further : mapping
            Attributes besides, or in place of, those of the schema.
        free : collection of str
            Attributes of any value.
        """
        contents, path = self.contents, reader.path
        types = ["string" if dtype == "str" else dtype for dtype in (spec.dtype, *spec.other_dtypes)]
        if str(reader.dtype) not in types:
            contents.report(path, f"type {reader.dtype}", " or ".join(types))
        if reader.dtype != TEXT and reader.dtype.kind == "f" and reader.fill_value == reader.fill_value:
            contents.report(path, f"fill_value {reader.fill_value}", "NaN")
        axes = tuple(reader.dimension_names or ())
        if axes not in spec.dims or len(axes) != reader.ndim:
            expected = " or ".join(f"[{', '.join(dims)}]" for dims in spec.dims)
            contents.report(path, f"dimension_names [{', '.join(map(str, axes))}] of {reader.ndim} axes", expected)
            return
        for axis, length in zip(spec.dims_of(reader.ndim), reader.shape, strict=True):
            known, other = self.lengths.setdefault(axis, (length, label))
            if length != known:
                contents.report(path, f"shape {reader.shape}", f"{known} along {axis}, as {other} has")
        self._check_attributes(reader, spec, name, further, free)

    def _check_attributes(
        self, reader: ArrayReader, spec: ProductArray, name: str, further: Mapping[str, Any], free: Collection[str]
    ) -> None:
        """Compare the attributes of an array with those that it would be written with."""
        contents, path = self.contents, reader.path
        group = path.rpartition("/")[0]
        present = {key.rpartition("/")[2] for key in contents.arrays if key.rpartition("/")[0] == group}
        wanted = self.schema.attributes_of(name, spec.dims_of(reader.ndim), present) | dict(further)
        for key, value in wanted.items():
            if reader.attributes.get(key) != value:
                contents.report(path, f"attribute {key} = {reader.attributes.get(key)!r}", repr(value))
        for key in sorted(reader.attributes.keys() - wanted.keys() - set(free)):
            contents.report(
                path, f"attribute {key}, which {self.format_name} does not have", "attributes of the schema"
            )
