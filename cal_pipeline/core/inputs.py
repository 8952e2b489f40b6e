"""Locations of inputs, as users name them."""

from __future__ import annotations

import os
from typing import Any

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.parameters.values import show_value
from cal_pipeline.core.store.locations import is_url, normalize_location


def locate_input(source: Any, input_dir: str = "", expected: str = "a path or URL") -> str:
    """Return the plain path or URL of an input.

    Parameters
    ----------
    source : str or path-like
        Path or URL.
    input_dir : str
        Folder, or URL of one, of an input that is given without a folder.
    expected : str
        Description of what can be opened, for the message.

    Raises
    ------
    CalibrationError
        If `source` is no path.

    Examples
    --------
    >>> locate_input("session.zarr", "s3://night")
    's3://night/session.zarr'
    """
    if not isinstance(source, (str, bytes, os.PathLike)):
        raise CalibrationError(f"input {show_value(source)} cannot be opened; expected {expected}")
    where = normalize_location(os.fsdecode(source) if isinstance(source, bytes) else source)
    if input_dir and where and not is_url(where) and not os.path.dirname(where.rstrip("/")):
        folder = normalize_location(input_dir)
        return f"{folder}/{where}" if is_url(folder) else os.path.join(folder, where)
    return where
