"""Open the exposure that a step is given, wherever it is stored."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, TypeVar

from cal_pipeline.core.errors import CalibrationError, StoreError
from cal_pipeline.core.files.asdf_file import is_asdf
from cal_pipeline.core.inputs import locate_input
from cal_pipeline.core.store.locations import is_url
from cal_pipeline.imager.exposures import ExposureStore
from cal_pipeline.imager.kinds import RAMP
from cal_pipeline.imager.models import ImageModel, RampModel, read_model

EXPECTED_INPUT = (
    "the path or URL of an exposure (visit.zarr/exp_000001), of a store with one (visit.zarr), or a file that a step "
    "wrote (.asdf)"
)
"""Description of inputs, for messages."""

_EXPOSURE = re.compile(r"(.+)/exp_([0-9]{6})/*")

Model = TypeVar("Model", RampModel, ImageModel)

_NAMES = {RampModel: "ramps", ImageModel: "images"}


def open_exposure(source: Any, cls: type[Model], input_dir: str = "", first: bool = False) -> Model:
    """Open an exposure.

    Parameters
    ----------
    source : RampModel, ImageModel, str or path-like
        An exposure; the path or URL of one in a store (``visit.zarr/exp_000001``), or of a store
        with one exposure; or a file that a step wrote.
    cls : type
        Class of the exposure that is wanted.
    input_dir : str
        Folder of an input that is given without one.
    first : bool
        Whether the first exposure of a store with several is wanted.

    Raises
    ------
    CalibrationError
        If there is no exposure of the class, or more than one.
    """
    if isinstance(source, (RampModel, ImageModel)):
        return _of_class(source, cls, repr(source))
    where = locate_input(source, input_dir, EXPECTED_INPUT)
    path = Path(where)
    if path.suffix == ".asdf" or (not is_url(where) and path.is_file() and path.suffix != ".zip"):
        return _of_class(_read_file(where), cls, where)
    named = _EXPOSURE.fullmatch(where if is_url(where) else os.path.abspath(where))
    store = ExposureStore(named[1] if named else where)
    numbers = store.select([named[2]] if named else None)
    if len(numbers) != 1 and not first:
        raise CalibrationError(
            f"{where} holds {len(numbers)} exposures and a step takes one; name it, as in {where}/exp_{numbers[0]:06d}"
        )
    opened = store.open_ramp(numbers[0]) if store.product == RAMP else store.open_image(numbers[0])
    return _of_class(opened, cls, where)


def _of_class(model: RampModel | ImageModel, cls: type[Model], where: str) -> Model:
    """Return a model if it is of a class."""
    if not isinstance(model, cls):
        raise CalibrationError(f"{where} holds {_NAMES[type(model)]}, expected {_NAMES[cls]}")
    return model


def _read_file(where: str) -> RampModel | ImageModel:
    if is_url(where):
        raise StoreError(f"{where} is remote; files that a step wrote are read from local folders, copy it first")
    if not os.path.exists(where):
        raise StoreError(f"{where} is not there; expected a file that a step wrote, or an exposure of a store")
    if not is_asdf(where):
        raise StoreError(f"{where} is no file that a step wrote (ASDF); expected {EXPECTED_INPUT}")
    return read_model(where)
