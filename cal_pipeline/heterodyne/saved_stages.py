"""Results of steps as trees of ASDF files, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from types import NoneType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.planck import CONVENTIONS, Convention

T = TypeVar("T")


def plain(value: Any) -> Any:
    """Convert containers of an ASDF tree to built-in ones."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _array_to_file(array: Any) -> Any:
    """Convert text to a list, and what has no axes to a number."""
    if isinstance(array, np.ndarray) and array.dtype.kind in "UOT":
        return array.astype(object).tolist()
    return array.item() if np.ndim(array) == 0 and hasattr(array, "item") else array


def _array_from_file(item: Any) -> NDArray[Any]:
    array = np.asarray(item)
    return array.astype(np.str_) if array.dtype.kind in "UOT" else array


def _unchanged(value: Any) -> Any:
    return value


class Converter(NamedTuple):
    """Conversion of a field.

    Parameters
    ----------
    kinds : tuple of type
        Types of its values.
    to_file, from_file : callable
        Conversion of a value to what an ASDF file takes, and back.
    """

    kinds: tuple[type, ...]
    to_file: Callable[[Any], Any]
    from_file: Callable[[Any], Any]


_PLAIN = Converter((str, int, float, np.number), lambda x: x.item() if isinstance(x, np.number) else x, _unchanged)

_CONVERTERS: dict[Any, Converter] = {
    np.ndarray: Converter((np.ndarray, np.number, np.bool_, float), _array_to_file, _array_from_file),
    tuple: Converter((tuple,), list, tuple),
    dict: Converter((Mapping,), _unchanged, plain),
    Convention: Converter((Convention,), lambda convention: convention.name, CONVENTIONS.__getitem__),
    **dict.fromkeys((str, bool, int, float), _PLAIN),
}
"""Converters by the type that a field is declared with; other dataclasses are trees of their own."""

_NAMES_IN_FILES = {"pairing": "reference", "time_weights": "moment"}
"""Names in files of fields that have another name since."""


def converters_of(cls: type) -> dict[str, Converter]:
    """Choose the converter of each field of a dataclass, by its declared type.

    Raises
    ------
    TypeError
        If a field is declared with a type that files do not hold.
    """
    hints = get_type_hints(cls)
    fields = dataclasses.fields(cls)
    return {field.name: _converter(f"{cls.__name__}.{field.name}", hints[field.name]) for field in fields}


def _converter(name: str, declared: Any) -> Converter:
    """Choose the converter for a declared type, which may be optional."""
    kinds = [kind for kind in get_args(declared) if kind is not NoneType] if NoneType in get_args(declared) else []
    kind = kinds[0] if len(kinds) == 1 else declared
    kind = get_origin(kind) or kind
    if kind in _CONVERTERS:
        return _CONVERTERS[kind]
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return Converter((kind,), to_tree, partial(from_tree, kind))
    raise TypeError(
        f"{name} is declared as {declared}, expected text, a number, an array, a tuple, a dict or a dataclass"
    )


def to_tree(saved: Any) -> dict[str, Any]:
    """Convert a dataclass to an ASDF tree, without the fields that are None.

    Raises
    ------
    TypeError
        If a field holds a value of another type than it is declared with.
    """
    tree = {}
    for name, converter in converters_of(type(saved)).items():
        value = getattr(saved, name)
        if value is None:
            continue
        if not isinstance(value, converter.kinds):
            expected = " or ".join(kind.__name__ for kind in converter.kinds)
            raise TypeError(f"{type(saved).__name__}.{name} is {type(value).__name__}, expected {expected}")
        tree[_NAMES_IN_FILES.get(name, name)] = converter.to_file(value)
    return tree


def from_tree(cls: type[T], tree: Mapping[str, Any]) -> T:
    """Restore a dataclass from the tree made by :func:`to_tree`.

    A field that the tree lacks gets its default, or None without one.
    """
    values: dict[str, Any] = {}
    converters = converters_of(cls)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        name = _NAMES_IN_FILES.get(field.name, field.name)
        if name in tree:
            values[field.name] = converters[field.name].from_file(tree[name])
        elif field.default is dataclasses.MISSING:
            values[field.name] = None
    return cls(**values)
