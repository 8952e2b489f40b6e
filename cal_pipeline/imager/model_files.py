"""Files that steps save exposures to: their content before it is a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.files.asdf_file import open_asdf
from cal_pipeline.imager.schema import VARIANCES

FORMAT = 1
"""Version of the files."""

ARRAYS: Mapping[str, tuple[str, ...]] = {
    "RampModel": ("data", "pixeldq", "groupdq"),
    "ImageModel": ("data", "err", *VARIANCES, "dq"),
    "MosaicModel": ("data", "err", "weight", "dq"),
    "FrameSet": (),
}
"""Arrays of each class of models."""


def read_tree(path: str | Path) -> dict[str, Any]:
    """Read what a model was saved to: built-in containers, and arrays in memory.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    StoreError
        If the file is not of a model.
    """
    try:
        with open_asdf(path, lazy_load=False, memmap=False) as file:
            tree = file.tree.get("cal_pipeline_exposure")
            if tree is None or tree.get("class") not in ARRAYS or tree.get("format") != FORMAT:
                raise StoreError(f"{path} holds no exposure of a step (cal_pipeline_exposure, format {FORMAT})")
            found: dict[str, Any] = _copy(tree)
            return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise describe_unreadable(path, error) from error


def _copy(value: Any) -> Any:
    """Copy a tree out of a file, which is closed then."""
    if isinstance(value, Mapping):
        return {str(key): _copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(item) for item in value]
    return np.array(value) if hasattr(value, "dtype") and hasattr(value, "shape") else value


def describe_unreadable(path: str | Path, error: Exception) -> StoreError:
    """Make the error of a file whose content is not as a step writes it."""
    return StoreError(f"{path} cannot be read as an exposure that a step wrote: {type(error).__name__}: {error}")
