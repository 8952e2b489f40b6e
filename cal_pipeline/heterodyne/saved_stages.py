"""Results of steps as trees of ASDF files, and back."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, TypeVar

import numpy as np

from cal_pipeline.heterodyne.physics.planck import CONVENTIONS, Convention, Sidebands

T = TypeVar("T")


def plain(value: Any) -> Any:
    """Convert containers of an ASDF tree to built-in ones."""
    if isinstance(value, typing.Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


_FILE_NAMES = {"pairing": "reference", "time_weights": "moment"}
"""Names in files of fields that have another name since."""


def to_tree(value: Any) -> Any:
    """Convert a dataclass of arrays, numbers and dataclasses to an ASDF tree."""
    if isinstance(value, Sidebands):
        names = [f.name for f in dataclasses.fields(value)]
        return {n: getattr(value, n) for n in names if n != "convention"} | {"convention": value.convention.name}
    if dataclasses.is_dataclass(value):
        tree = {_FILE_NAMES.get(f.name, f.name): to_tree(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {name: item for name, item in tree.items() if item is not None}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "UOT":
        return value.astype(object).tolist()
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value.item()
    if isinstance(value, tuple):
        return list(value)
    return value


def from_tree(cls: type[T], tree: Any) -> T:
    """Restore the dataclass `cls` from the tree made by :func:`to_tree`."""
    hints = typing.get_type_hints(cls)
    names = {f.name: _FILE_NAMES.get(f.name, f.name) for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    return cls(**{name: _restore(hints[name], tree[key]) if key in tree else None for name, key in names.items()})


def _restore(hint: Any, item: Any) -> Any:
    """Restore a field of a dataclass from its tree, by its annotation."""
    options = [arg for arg in typing.get_args(hint) if arg is not type(None)]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = options[0]
    if hint is Convention:
        return CONVENTIONS[item]
    if dataclasses.is_dataclass(hint):
        return from_tree(typing.cast("type[Any]", hint), item)
    if typing.get_origin(hint) is tuple:
        return tuple(item)
    if typing.get_origin(hint) is dict:
        return plain(item)
    if hint is typing.Any or isinstance(hint, type):
        return item
    # Only arrays are left; their annotation at run time depends on the version of NumPy.
    array = np.asarray(item)
    return array.astype(np.str_) if array.dtype.kind in "UOT" else array
