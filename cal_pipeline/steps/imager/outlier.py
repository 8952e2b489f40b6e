"""Step ``outlier``."""

from __future__ import annotations

from typing import Any

from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.text import format_count
from cal_pipeline.imager.frames import FrameSet
from cal_pipeline.imager.kinds import MOSAIC
from cal_pipeline.imager.mosaics import find_grid, map_tiles, name_mosaic, plain_images
from cal_pipeline.imager.physics.mosaic import find_outliers_of_images
from cal_pipeline.imager.physics.outlier import OutlierLimits
from cal_pipeline.steps.imager.base import ImageStep


class FramesStep(ImageStep):
    """Base of the steps that take a set of images: a list of them or of their locations, or a store."""

    product_kind = MOSAIC
    stage = "image3"
    example_source = "cal.zarr"
    example_output = "M42_K_mosaic.asdf"

    @classmethod
    def open_source(cls, source: Any, input_dir: str = "") -> FrameSet:
        """Open a set of images."""
        return FrameSet.open(source, input_dir, name_mosaic).copy()

    @classmethod
    def first_observation(cls, source: Any) -> FrameSet:
        """Open a set of images."""
        return FrameSet.open(source, name_of=name_mosaic)


class OutlierStep(FramesStep):
    """Find samples of dithered images that are far from the median of all, as trails and missed hits are.

    Images are resampled to the grid of the mosaic. A sample goes if it is farther from the median
    than `sigma` errors plus `gradient` times the largest difference of the median to its
    neighbours: errors alone would eat the cores of stars. It needs three images at a place. In
    `image3` the step sets the limits, and `mosaic` finds the samples as it resamples the images.

    Examples
    --------
    >>> frames = OutlierStep.call("cal.zarr")
    >>> len(frames.outliers) == len(frames)
    True
    """

    class_alias = "outlier"

    spec = """
    sigma    = float(default=5.0)   # Distance from the median beyond which a sample goes [err]
    gradient = float(default=1.0)   # Allowance in units of the largest difference of the median to its neighbours
    """

    sigma: float
    gradient: float

    def check_parameters(self) -> None:
        """Refuse limits that are not positive."""
        if not self.sigma > 0:
            raise ParameterError(f"outlier: sigma = {self.sigma:g}; expected a number above 0, or skip the step")
        if not self.gradient >= 0:
            raise ParameterError(f"outlier: gradient = {self.gradient:g}; expected a number from 0 on")

    def process_observation(self, frames: FrameSet) -> None:
        """Find the outliers of all images."""
        if len(frames) < 3:
            self.not_applicable(f"{format_count(len(frames), 'image')}, and a median needs 3")
            return
        limits = OutlierLimits(self.sigma, self.gradient)
        if self.parent is not None:
            frames.outliers = limits
            return
        images, (projections, grid) = plain_images(frames), find_grid(frames)
        frames.outliers = find_outliers_of_images(images, projections, grid, *limits, mapper=map_tiles(frames))

    def describe_observation(self, observation: FrameSet) -> str:
        """Count the outliers for the log."""
        masks = observation.outliers if isinstance(observation.outliers, list) else []
        return f"{sum(int(part.mask.sum()) for part in masks)} samples of {len(observation)} images"
