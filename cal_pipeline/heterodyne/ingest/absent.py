"""Fields that a profile declares and that no row of the files has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.ingest.profile import Profile, name_attribute
from cal_pipeline.heterodyne.ingest.rows import RowTable


def find_absent_fields(rows: RowTable, profile: Profile) -> dict[str, tuple[str, ...]]:
    """Find fields that a profile declares and no sound row has, as where a key is misspelt.

    Parameters
    ----------
    rows : RowTable
        Rows of the files; those with problems do not count.
    profile : Profile
        Their profile.

    Returns
    -------
    dict of str to tuple of str
        Keys that would hold the value, by field; none where no row is sound.

    Examples
    --------
    >>> from cal_pipeline.heterodyne.ingest.find_files import find_files
    >>> from cal_pipeline.heterodyne.ingest.profile import open_profile
    >>> from cal_pipeline.heterodyne.ingest.tabulate import tabulate
    >>> profile = open_profile("barge.toml")
    >>> find_absent_fields(tabulate(find_files(["night_files"], profile), profile).rows, profile)
    {}
    """
    sound = np.ones(len(rows), np.bool_)
    sound[list(rows.problems)] = False
    return dict(_each_absent(rows, profile, sound)) if sound.any() else {}


def _each_absent(rows: RowTable, profile: Profile, sound: NDArray[np.bool_]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for declared, found in ((profile.scan, rows.scan_values), (profile.map, rows.values)):
        for name, value in declared.items():
            if value.keys and name not in ("number", "lon", "lat") and not _is_anywhere(found, name, sound):
                yield name, tuple(dict.fromkeys(value.keys))
    for key in profile.carry:
        if not _is_anywhere(rows.carried, name_attribute(key), sound):
            yield name_attribute(key), (key,)


def _is_anywhere(found: Mapping[str, NDArray[Any]], name: str, sound: NDArray[np.bool_]) -> bool:
    """Tell whether a sound row has a value: neither NaN nor empty text."""
    if name not in found:
        return False
    values = found[name][sound]
    if values.dtype.kind == "f":
        return not bool(np.isnan(values).all())
    return any(value not in ("", None) and value == value for value in values.tolist())
