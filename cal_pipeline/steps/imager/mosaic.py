"""Step ``mosaic``."""

from __future__ import annotations

import numpy as np

from cal_pipeline.imager.frames import FrameSet
from cal_pipeline.imager.mosaics import (
    MosaicModel,
    combine_attributes,
    find_grid,
    map_tiles,
    plain_images,
    read_exposure_times,
)
from cal_pipeline.imager.physics.mosaic import build_mosaic
from cal_pipeline.imager.physics.projection import format_projection
from cal_pipeline.steps.imager.outlier import FramesStep


class MosaicStep(FramesStep):
    """Combine dithered images to a mosaic, weighted by exposure time.

    Pointings are believed. Errors of neighbouring pixels are correlated, since an image's pixel
    falls on several of the mosaic: the error of a sum over pixels is larger than from ``err`` alone.

    Examples
    --------
    >>> mosaic = MosaicStep.call("cal.zarr")
    >>> mosaic.weight.shape == mosaic.data.shape
    True
    """

    class_alias = "mosaic"

    def process_observation(self, frames: FrameSet) -> MosaicModel:
        """Resample the images and average them."""
        images = plain_images(frames)
        times = read_exposure_times(frames)
        projections, grid = find_grid(frames)
        built = build_mosaic(images, projections, times, grid, frames.outliers, map_tiles(frames))
        meta = combine_attributes(frames)
        meta |= {"wcs": format_projection(grid.projection), "exposure_time": sum(times)}
        mosaic = MosaicModel(**built._asdict(), meta=meta, units=frames.units)
        mosaic.meta.filename = frames.meta.filename
        mosaic.clock, mosaic.store, mosaic.references = frames.clock, frames.store, dict(frames.references)
        return mosaic

    def describe_observation(self, observation: MosaicModel) -> str:
        """Describe the mosaic for the log."""
        n_rows, n_columns = observation.shape
        seen = np.isfinite(observation.data).mean()
        return f"{n_columns} x {n_rows} pixels of {len(observation.meta['members'])} images, {100 * seen:.0f} % covered"
