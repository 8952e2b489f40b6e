"""Base of the steps that do the same to each image: alone, in a set, or integration by integration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.imager.frames import FrameSet
from cal_pipeline.imager.models import ImageModel
from cal_pipeline.imager.physics.image import Image
from cal_pipeline.steps.imager.base import ImageStep

Result = TypeVar("Result", ImageModel, FrameSet)


class ImageByImageStep(ImageStep):
    """Base of the steps that do the same to each image."""

    @classmethod
    def open_source(cls, source: Any, input_dir: str = "") -> Any:
        """Open an image, or take a set of images as it is."""
        if not isinstance(source, FrameSet):
            return super().open_source(source, input_dir)
        cls.refuse_twice(source)
        return source.copy()

    def apply(self, source: Result, function: Callable[[Image], Image]) -> Result:
        """Apply a function to an image and the integrations of a time series, or to each image of a set."""
        if isinstance(source, FrameSet):
            source.add_operation(partial(apply_to_image, function=function))
            return source
        return apply_to_image(source, function)


def apply_to_image(image: ImageModel, function: Callable[[Image], Image]) -> ImageModel:
    """Apply a function to an image, and to all integrations of a time series at once.

    Integrations of other exposures are left out of the result: they would be what the image is not.

    Parameters
    ----------
    image : ImageModel
        The image; it stays as it is.
    function : callable
        Function of the arrays, (y, x) or (I, y, x).

    Raises
    ------
    ObservationError
        As the function does, with the number of the exposure.
    """
    ints = find_integrations(image)
    try:
        result = image.with_arrays(**function(Image(**image.arrays))._asdict())
        result.ints = None if ints is None else ints.with_arrays(**function(Image(**ints.arrays))._asdict())
    except ObservationError as error:
        raise type(error)(f"exposure {image.number}: {error}") from error
    return result


def find_integrations(image: ImageModel) -> ImageModel | None:
    """Return the integrations of a time series; None of other exposures, whose image alone is calibrated."""
    return image.ints if image.meta.get("tso") else None
