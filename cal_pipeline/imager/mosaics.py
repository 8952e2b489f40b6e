"""Mosaics of dithered images: the grid, and the model of the result."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.run.threads import map_in_threads
from cal_pipeline.imager.frames import FrameSet
from cal_pipeline.imager.layout import check_attributes
from cal_pipeline.imager.meta import Meta
from cal_pipeline.imager.models import ImageModel
from cal_pipeline.imager.physics.image import Image, drop_variances
from cal_pipeline.imager.physics.mosaic import Mapper
from cal_pipeline.imager.physics.projection import Grid, Projection, compute_grid, parse_projection
from cal_pipeline.imager.schema import RATE_UNITS


class MosaicModel(ImageModel):
    """Mosaic of images.

    Parameters
    ----------
    data, err : array_like, shape (y, x)
        Values and their standard deviation.
    weight : array_like, shape (y, x)
        Sum of exposure time times drizzle weight [s].
    dq : array_like of uint32, shape (y, x)
        Flags (:class:`DQ`).
    meta : mapping, optional
        Attributes, with ``wcs`` and ``members``.
    units : str
        Unit of the values.
    """

    def __init__(
        self, data: Any, err: Any, weight: Any, dq: Any, meta: Mapping[str, Any] | None = None, units: str = RATE_UNITS
    ) -> None:
        super().__init__(data, err, dq=dq, meta=meta, units=units)
        self.weight = np.asarray(weight, np.float32)

    @property
    def number(self) -> Any:
        """Name of the mosaic."""
        return name_mosaic(self.meta)

    @property
    def arrays(self) -> dict[str, Any]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in ("data", "err", "weight", "dq")}


def name_mosaic(attributes: Mapping[str, Any]) -> str:
    """Return the name of the mosaic that an exposure belongs to: target and filter.

    Examples
    --------
    >>> name_mosaic({"target": "NGC 1068/core", "filter": "K"})
    'NGC_1068_core_K'
    """
    target, band = (str(attributes.get(key) or "unknown") for key in ("target", "filter"))
    return "".join(c if c.isascii() and (c.isalnum() or c in "-._") else "_" for c in f"{target}_{band}")


_OF_ONE_EXPOSURE = ("exposure_number", "exposure_time", "subarray", "wcs", "qa", "provenance", "background", "cal_step")
"""Attributes of an exposure that a mosaic does not share, or has a value of its own for."""


def combine_attributes(frames: FrameSet) -> Meta:
    """Return the attributes of a mosaic: those in which all exposures agree, and those of their set.

    A step is COMPLETE if it is for all exposures.

    Examples
    --------
    >>> headers = [{"exposure_number": n, "target": "M42", "filter": "K", "airmass": n / 2} for n in (2, 3)]
    >>> meta = combine_attributes(FrameSet([ImageModel(data=np.ones((4, 4)), meta=header) for header in headers]))
    >>> meta["target"], meta["members"], "airmass" in meta
    ('M42', [2, 3], False)
    """
    first, *others = frames.headers
    shared = {
        name: value
        for name, value in first.items()
        if name not in _OF_ONE_EXPOSURE and all(name in other and other[name] == value for other in others)
    }
    meta = Meta({**shared, **{name: frames.meta[name] for name in ("members", "date_obs") if name in frames.meta}})
    meta.cal_step.update(frames.meta.cal_step)
    return meta


def read_exposure_times(frames: FrameSet) -> list[float]:
    """Return the exposure times of images, which are their weights [s]; 1 if none has any.

    Raises
    ------
    LayoutError
        If one is missing or not above 0; names the exposure.
    """
    times = [header.get("exposure_time") for header in frames.headers]
    if all(time is None for time in times):
        return [1.0] * len(times)
    for header in frames.headers:
        check_attributes(header, f"exposure {header.get('exposure_number')}", required=("exposure_time",))
    return [float(header["exposure_time"]) for header in frames.headers]


def plain_images(frames: FrameSet) -> list[Image]:
    """Read the images of a set, with the arrays that a mosaic is made of; they are kept with the set.

    Raises
    ------
    LayoutError
        If their filters or units differ.
    CalibrationError
        If one cannot be read.
    """
    filters = {str(header.get("filter")) for header in frames.headers}
    if len(filters) > 1:
        raise LayoutError(f"mosaic {frames.name}: filters differ: {', '.join(sorted(filters))}; expected one")
    if frames.plain is None:
        found, units = [], set()
        for image in frames:
            found.append(drop_variances(Image(**image.arrays)))
            units.add(image.units)
        if len(units) > 1:
            raise LayoutError(f"mosaic {frames.name}: units differ: {', '.join(sorted(units))}; expected one")
        frames.plain, frames.units = found, units.pop()
    return frames.plain


def map_tiles(frames: FrameSet) -> Mapper:
    """Return the function that works on the tiles of a mosaic, in the threads of the run."""
    return partial(map_in_threads, samples=frames.n_samples)


def read_projection(attributes: Mapping[str, Any]) -> Projection:
    """Read the projection of an exposure from its attributes.

    Raises
    ------
    LayoutError
        If it has no ``wcs``, or one of another kind; names the exposure.
    """
    where = f"exposure {attributes.get('exposure_number')}: attribute wcs"
    if attributes.get("wcs") is None:
        raise LayoutError(f"{where} is missing, expected the keywords of a TAN projection")
    return parse_projection(attributes["wcs"], where)


def find_grid(frames: FrameSet) -> tuple[list[Projection], Grid]:
    """Find the projections of images, and the grid that they are resampled to.

    Raises
    ------
    LayoutError
        If an image has no ``wcs``, or one of another kind; names the exposure.
    """
    projections = [read_projection(header) for header in frames.headers]
    shapes = [(image.data.shape[0], image.data.shape[1]) for image in plain_images(frames)]
    return projections, compute_grid(projections, shapes)
