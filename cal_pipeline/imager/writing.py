"""Images of exposures as groups of a product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.run.threads import map_in_threads
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.imager.models import ImageModel
from cal_pipeline.imager.schema import IMAGES, VARIANCES, describe_array

CHUNK_SAMPLES = 2**19
"""Samples of a chunk, which holds whole rows."""


def write_image(
    image: ImageModel, root: StorePath, provenance: Mapping[str, Any], with_flat: bool = True, ints: str = ""
) -> None:
    """Write an image as a group.

    Parameters
    ----------
    image : ImageModel
        The image.
    root : StorePath
        Destination.
    provenance : mapping
        Provenance, ready for JSON.
    with_flat : bool
        Whether ``var_flat`` is written.
    ints : str
        Name of the subgroup of the integrations; empty if they are not written.
    """
    names = ["data", "err", *(VARIANCES if with_flat else VARIANCES[:2]), "dq"]
    if ints and image.ints is not None:
        write_group(root, ints, {})
        write_arrays({name: image.ints.arrays[name] for name in names}, root.child(ints), image.units)
    write_arrays({name: image.arrays[name] for name in names}, root, image.units)
    attributes = make_json_ready({**image.meta, "exposure_number": image.number})
    write_group(root, "", {**attributes, "provenance": dict(provenance)})


def write_arrays(arrays: Mapping[str, NDArray[Any]], group: StorePath, unit: str) -> None:
    """Write arrays of the schema to a group, in threads.

    Parameters
    ----------
    arrays : mapping
        Arrays by name.
    group : StorePath
        The group.
    unit : str
        Unit of the values and of their errors.
    """
    present = set(arrays)

    def write(name: str) -> None:
        values = arrays[name]
        *leading, n_rows, n_columns = values.shape
        rows = min(max(CHUNK_SAMPLES // max(n_columns, 1), 1), n_rows)
        chunks = (*(1 for _ in leading), rows, n_columns)
        IMAGES.create_array(group, name, values.shape, chunks, present, attributes=describe_array(name, unit)).write(
            values
        )

    map_in_threads(write, list(arrays), int(np.size(arrays["data"])) * len(arrays))
