"""Step ``mosaic``."""

from __future__ import annotations

import numpy as np

from cal_pipeline.imager.frames import FrameSet
from cal_pipeline.imager.mosaics import MosaicModel, find_grid, map_tiles, plain_images
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
        times = [float(header.get("exposure_time", 1.0)) for header in frames.headers]
        projections, grid = find_grid(frames)
        built = build_mosaic(images, projections, times, grid, frames.outliers, map_tiles(frames))
        mosaic = frames.hand_on(MosaicModel(built.data, built.err, built.weight, built.dq, units=frames.units))
        mosaic.meta["wcs"] = format_projection(grid.projection)
        mosaic.meta["exposure_time"] = sum(times)
        return mosaic

    def describe_observation(self, observation: MosaicModel) -> str:
        """Describe the mosaic for the log."""
        n_rows, n_columns = observation.shape
        seen = np.isfinite(observation.data).mean()
        return f"{n_columns} x {n_rows} pixels of {len(observation.meta['members'])} images, {seen:.0%} covered"
