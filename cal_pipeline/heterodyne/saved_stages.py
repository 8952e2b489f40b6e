"""Results of steps as trees of ASDF files, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.files.asdf_file import make_builtin
from cal_pipeline.heterodyne.coordinates import Coordinates
from cal_pipeline.heterodyne.physics.gain import GainDrift
from cal_pipeline.heterodyne.physics.loads import LoadInput, LoadMeans, LoadSolution, SkyLoad
from cal_pipeline.heterodyne.physics.planck import CONVENTIONS, Convention, Sidebands
from cal_pipeline.heterodyne.physics.pwv_fit import PwvFit
from cal_pipeline.heterodyne.physics.scale_error import ScaleError
from cal_pipeline.heterodyne.physics.sky import Opacity
from cal_pipeline.heterodyne.physics.sky_monitors import SkyMonitors
from cal_pipeline.heterodyne.references.telescope import Site
from cal_pipeline.heterodyne.stages import (
    AtmosphereStage,
    CalibrationStage,
    ChopStage,
    CouplingStage,
    GainStage,
    LoadStage,
    PairingStage,
    SkydiffStage,
)

T = TypeVar("T")


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


ARRAY = Converter((np.ndarray, np.number, np.bool_, float), _array_to_file, _array_from_file)
PLAIN = Converter((str, int, float, np.number), lambda x: x.item() if isinstance(x, np.number) else x, _unchanged)
"""Text or number."""

TUPLE = Converter((tuple,), list, tuple)
MAPPING = Converter((Mapping,), _unchanged, make_builtin)
CONVENTION = Converter((Convention,), lambda convention: convention.name, CONVENTIONS.__getitem__)

_NAMES_IN_FILES = {"pairing": "reference", "time_weights": "moment", "hot_input": "t_hot", "cold_input": "t_cold"}
"""Names in files of fields that have another name since."""


def to_tree(saved: Any) -> dict[str, Any]:
    """Convert an object of a class in :data:`FIELDS` to an ASDF tree, without the fields that are None.

    Raises
    ------
    TypeError
        If a field holds a value of another type than :data:`FIELDS` says.
    """
    tree = {}
    for field in dataclasses.fields(saved):
        value = getattr(saved, field.name)
        if value is None:
            continue
        converter = FIELDS[type(saved)].get(field.name, ARRAY)
        if not isinstance(value, converter.kinds):
            expected = " or ".join(kind.__name__ for kind in converter.kinds)
            raise TypeError(
                f"{type(saved).__name__}.{field.name} is {type(value).__name__}, expected {expected}; a field that is "
                "no array needs a converter in saved_stages.FIELDS"
            )
        tree[_NAMES_IN_FILES.get(field.name, field.name)] = converter.to_file(value)
    return tree


def from_tree(cls: type[T], tree: Mapping[str, Any]) -> T:
    """Restore an object of a class in :data:`FIELDS` from the tree made by :func:`to_tree`.

    A field that the tree lacks gets its default, or None without one.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        name = _NAMES_IN_FILES.get(field.name, field.name)
        if name in tree:
            values[field.name] = FIELDS[cls].get(field.name, ARRAY).from_file(tree[name])
        elif field.default is dataclasses.MISSING:
            values[field.name] = None
    return cls(**values)


def make_nested_converter(cls: type) -> Converter:
    """Make the converter of a field that holds an object of a class in :data:`FIELDS`."""
    return Converter((cls,), to_tree, partial(from_tree, cls))


def _load_from_file(item: Any) -> LoadInput | SkyLoad:
    """Restore a load; older files hold its temperature alone."""
    if not isinstance(item, Mapping):
        return LoadInput(item)
    return from_tree(SkyLoad, item) if "t_input" in item else from_tree(LoadInput, item)


FIELDS: dict[type, dict[str, Converter]] = {
    Coordinates: {"shape": TUPLE},
    Sidebands: {"convention": CONVENTION},
    LoadInput: {"physical": PLAIN, "ambient": PLAIN},
    SkyLoad: {"known": PLAIN, "ambient": PLAIN},
    LoadMeans: {
        **dict.fromkeys(("hot_input", "cold_input"), Converter((LoadInput, SkyLoad), to_tree, _load_from_file)),
        **dict.fromkeys(("hot_mjd", "cold_mjd"), PLAIN),
    },
    LoadSolution: {},
    Site: dict.fromkeys(("latitude_deg", "longitude_deg", "altitude_m"), PLAIN),
    LoadStage: {
        "sidebands": make_nested_converter(Sidebands),
        "means": make_nested_converter(LoadMeans),
        "solution": make_nested_converter(LoadSolution),
        "coupling": PLAIN,
        "scan_numbers": TUPLE,
        "reason": PLAIN,
        "following": make_nested_converter(LoadMeans),
        "following_scan": PLAIN,
        "telescope": PLAIN,
        "telescope_sha256": PLAIN,
        **dict.fromkeys(("forward_efficiency_err", "t_hot_err", "t_cold_err", "image_gain_err"), PLAIN),
        "site": make_nested_converter(Site),
        "assumed": TUPLE,
        "clip_sigma": PLAIN,
        "saturation_counts": PLAIN,
        "dropped_subscans": PLAIN,
        "passed_over": TUPLE,
        "odd_times": PLAIN,
    },
    GainDrift: {"hot_mjd": TUPLE, "cold_mjd": TUPLE},
    GainStage: {"level": PLAIN, "drift": make_nested_converter(GainDrift), "reason": PLAIN},
    PairingStage: {"mode": PLAIN, "odd_times": PLAIN},
    PwvFit: {},
    Opacity: {},
    ScaleError: {"inputs": TUPLE},
    SkyMonitors: {},
    AtmosphereStage: {
        "strategy": PLAIN,
        "fit": make_nested_converter(PwvFit),
        "opacity": make_nested_converter(Opacity),
        "table": PLAIN,
        "table_sha256": PLAIN,
        "table_version": PLAIN,
        "scale_error": make_nested_converter(ScaleError),
        "monitors": make_nested_converter(SkyMonitors),
    },
    CalibrationStage: {"precision": PLAIN},
    CouplingStage: {},
    SkydiffStage: {"n": PLAIN},
    ChopStage: {},
}
"""Converters of the fields of the classes that are saved; a field that is not listed is an array."""
