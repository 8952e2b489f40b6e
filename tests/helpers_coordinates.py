"""Arrays beside the counts as odd as they come, and the page that says what is accepted."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np

from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.heterodyne.l0 import read_coordinates

SHAPE = (4, 2, 2, 1, 4)
PAGE = " ".join((Path(__file__).parents[1] / "docs" / "input.rst").read_text().split())
"""The page of the documentation that says what is accepted and what is refused."""

NaN = float("nan")


def read(tmp_path):
    return read_coordinates(LocalStorePath(tmp_path / "s.zarr"), "scan_000001/source", SHAPE)


def set_attributes(group, name, **attributes):
    path = Path(str(group.store_path).removeprefix("file://")) / name / "zarr.json"
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps(metadata | {"attributes": attributes}))


def set_metadata(group, name, **changes):
    path = Path(str(group.store_path).removeprefix("file://")) / name / "zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def store_with_zarr(group, name, values, dtype=None, **how):
    """Store an array as zarr does it when nobody tells it otherwise: chunks of fill values are left out."""
    values = np.asarray(values)
    with warnings.catch_warnings():
        # zarr warns of types that are not in the specification yet.
        warnings.simplefilter("ignore")
        array = group.create_array(
            name, shape=values.shape, dtype=dtype or values.dtype, overwrite=True, compressors=None, **how
        )
        array[...] = values
