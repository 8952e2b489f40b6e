"""Step ``photom``."""

from __future__ import annotations

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.imager.layout import check_attributes
from cal_pipeline.imager.models import ImageModel
from cal_pipeline.imager.physics.photometry import calibrate_flux, compute_conversion
from cal_pipeline.imager.schema import RATE_UNITS
from cal_pipeline.steps.imager.base import ImageStep
from cal_pipeline.steps.imager.images import apply_to_image


class PhotomStep(ImageStep):
    """Convert rates to flux densities above the atmosphere [uJy].

    The error of the zero point is common to all pixels: it is the attribute ``zero_point_err``
    [mag], and not in the errors. In `image2` the step is skipped by default.

    Examples
    --------
    >>> image = PhotomStep.call("rate.zarr/exp_000004", references="visit.references")
    >>> image.units, image.meta["zero_point_err"]
    ('uJy', 0.02)
    """

    class_alias = "photom"
    reference_file_types = ["photom"]

    spec = """
    skip = boolean(default=True)   # Leave rates as they are
    """

    def process_observation(self, image: ImageModel) -> ImageModel:
        """Convert to flux densities."""
        where = f"exposure {image.number}"
        if image.units != RATE_UNITS:
            raise ObservationError(f"{where}: its unit is {image.units!r}, expected {RATE_UNITS!r}: it is calibrated")
        numbers = self.reference(image, "photom").numbers
        check_attributes({"airmass": image.meta.get("airmass")}, where)
        try:
            conversion = compute_conversion(numbers["zero_point"], numbers["extinction"], image.meta.get("airmass"))
        except ObservationError as error:
            raise ObservationError(f"{where}: {error}") from error
        result = apply_to_image(image, lambda plain: calibrate_flux(plain, conversion))
        result.meta["zero_point_err"] = numbers["zero_point_err"]
        result.meta["conversion_uJy_s_per_electron"] = conversion
        result.units = "uJy"
        if result.ints is not None:
            result.ints.units = "uJy"
        return result
