"""Step ``combine_frames``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import CalibrationError, LayoutError
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.imager.frames import FrameSet
from cal_pipeline.imager.kinds import REFERENCE
from cal_pipeline.imager.models import ImageModel
from cal_pipeline.imager.physics.combine import combine_frames
from cal_pipeline.imager.skies import describe_setup
from cal_pipeline.steps.imager.base import ImageStep


class CombineFramesStep(ImageStep):
    """Combine images pixel by pixel, without the samples that are far from their median.

    The input is a set of images: a list of them or of their locations, or a store of rates.

    Examples
    --------
    >>> dark = CombineFramesStep.call(["rate.zarr/exp_000001", "rate.zarr/exp_000001"])
    >>> dark.shape, dark.meta["members"]
    ((64, 64), [1, 1])
    """

    class_alias = "combine_frames"
    product_kind = REFERENCE
    stage = "preprocess_dark"
    example_source = "rate.zarr"
    example_output = "dark_combine_frames.asdf"

    spec = """
    method = option('mean', 'median', default='mean')   # Mean, without weights, or median
    sigma  = float(default=4.0)                         # Distance from the median beyond which samples go [err]; 0: off
    """

    method: str
    sigma: float

    @classmethod
    def open_source(cls, source: Any, input_dir: str = "") -> FrameSet:
        """Open a set of images.

        Raises
        ------
        CalibrationError
            If there is none, or a store is given whose exposures are of several types.
        """
        frames = FrameSet.open(source, input_dir)
        types = sorted({str(header.get("exp_type")) for header in frames.headers})
        if frames.store is not None and not isinstance(source, FrameSet) and len(types) > 1:
            raise CalibrationError(
                f"{frames.store.path} holds exposures of types {', '.join(types)}; name those to combine, as in "
                f"[{frames.store.path}/exp_000001, ...], or use a pipeline"
            )
        return frames.copy()

    @classmethod
    def first_observation(cls, source: Any) -> Any:
        """Open a set of images."""
        return FrameSet.open(source)

    def check_parameters(self) -> None:
        """Refuse a distance below zero."""
        if not self.sigma >= 0:
            raise ParameterError(f"combine_frames: sigma = {self.sigma:g}; expected a number from 0 on")

    def process_observation(self, frames: FrameSet) -> ImageModel:
        """Combine the images."""
        data: list[NDArray[Any]] = []
        err: list[NDArray[Any]] = []
        dq: list[NDArray[Any]] = []
        setup: dict[str, Any] = {}
        for image in frames:
            _check_setup(image, setup)
            data.append(image.data)
            err.append(image.err)
            dq.append(image.dq)
        method: Any = self.method
        combined = combine_frames(data, err, dq, method, self.sigma)
        image = ImageModel(**combined._asdict(), units=setup["unit"])
        frames.hand_on(image)
        return image

    def describe_observation(self, observation: ImageModel) -> str:
        """Describe the result for the log."""
        level = float(np.nanmedian(observation.data)) if np.isfinite(observation.data).any() else np.nan
        return f"{len(observation.meta['members'])} images, median {level:.4g} {observation.units}"


def _check_setup(image: ImageModel, expected: dict[str, Any]) -> None:
    """Refuse an image of another detector, subarray or unit than those before it; filters may differ."""
    found = {**describe_setup(image.meta, image.shape, with_filter=False), "unit": image.units}
    for name, value in found.items():
        if expected.setdefault(name, value) != value:
            raise LayoutError(f"exposure {image.number}: {name} is {value}, expected {expected[name]} as before it")
