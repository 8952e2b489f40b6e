"""Step ``background``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from cal_pipeline.imager.exposure_types import read_exposure_table
from cal_pipeline.imager.models import ImageModel
from cal_pipeline.imager.physics.background import (
    Level,
    combine_skies,
    match_level,
    measure_level,
    subtract_background,
    subtract_level,
)
from cal_pipeline.imager.physics.image import Image
from cal_pipeline.imager.skies import describe_setup, find_skies
from cal_pipeline.steps.imager.base import ImageStep
from cal_pipeline.steps.imager.dark import DarkStep
from cal_pipeline.steps.imager.flat_field import FlatFieldStep

logger = logging.getLogger(__name__)


class _Background(NamedTuple):
    image: Image
    level: Level


class BackgroundStep(ImageStep):
    """Subtract the background: the mean of the sky exposures, or the image's own level.

    Sky exposures are those of the image's store, of its detector, filter and subarray; they pass
    through the steps `dark` and `flat_field` as the image has. Without any the step is skipped.

    Examples
    --------
    >>> from cal_pipeline.steps.imager import DarkStep, FlatFieldStep
    >>> image = FlatFieldStep.call(DarkStep.call("rate.zarr/exp_000004", references="visit.references"),
    ...                            references="visit.references")
    >>> image = BackgroundStep.call(image, references="visit.references")
    >>> image.meta["background"]["skies"]
    [7, 8]
    """

    class_alias = "background"

    spec = """
    method = option('sky', 'level', default='sky')   # Subtract the mean of sky exposures, or the image's own level
    match  = boolean(default=False)                  # Scale the mean of the skies to the level of the image
    """

    method: str
    match: bool

    def check_parameters(self) -> None:
        """Refuse a match without skies."""
        if self.match and self.method == "level":
            self.refuse_idle("match", "method", "it scales sky exposures; leave it out")

    def process_observation(self, image: ImageModel) -> ImageModel | None:
        """Subtract the background from the image and, of a time series, from each integration."""
        if self.method == "level":
            return _subtract(image, _own_level, {"method": "level"})
        skies = self._find_skies(image)
        if not skies:
            logger.warning("exposure %d: no sky exposure of its detector, filter and subarray", image.number)
            self.not_applicable("no sky exposure")
            return None
        assert image.store is not None
        before = str([step.get_pars() for step in self._before(image)])
        key = ("background", str(describe_setup(image.meta)), tuple(skies), before)
        background = image.store.remember(key, lambda: self._combine(image, skies))
        record = {"method": "sky", "skies": skies, "level": background.level.value}

        def subtract(plain: Image) -> tuple[Image, dict[str, float]]:
            scale = match_level(measure_level(plain), background.level) if self.match else 1.0
            return subtract_background(plain, background.image, scale), {"scale": scale}

        return _subtract(image, subtract, record)

    def _find_skies(self, image: ImageModel) -> list[int]:
        """Find the sky exposures for an image among those that are selected."""
        if image.store is None:
            return []
        table = read_exposure_table(self.search_attr("exposure_table"))
        return find_skies(image.store, image.meta, self.search_attr("exposures"), table)

    def _before(self, image: ImageModel) -> list[ImageStep]:
        """List the steps that the image has passed, and the skies are to pass."""
        steps: list[ImageStep] = []
        for alias, cls in (("dark", DarkStep), ("flat_field", FlatFieldStep)):
            if image.meta.cal_step.get(alias) == "COMPLETE":
                own = None if self.parent is None else getattr(self.parent, alias, None)
                steps.append(own or cls(references=self.references))
        return steps

    def _combine(self, image: ImageModel, skies: list[int]) -> _Background:
        """Combine sky exposures after the steps before this one."""
        assert image.store is not None
        passed = []
        for number in skies:
            sky = ImageModel.from_store(image.store, number)
            for step in self._before(image):
                step._reference_files_used = []
                sky = step.process_observation(sky) or sky
            passed.append(Image(**sky.arrays))
        combined = combine_skies(passed)
        return _Background(combined, measure_level(combined))

    def describe_observation(self, observation: ImageModel) -> str:
        """Describe the background for the log."""
        record = observation.meta["background"]
        of = f" of exposures {', '.join(map(str, record['skies']))}" if "skies" in record else ""
        return f"{record['level']:.4g} {observation.units}{of}"


Subtract = Callable[[Image], tuple[Image, dict[str, float]]]
"""Function that subtracts the background of an image, and what it recorded."""


def _own_level(plain: Image) -> tuple[Image, dict[str, float]]:
    level = measure_level(plain)
    return subtract_level(plain, level), {"level": level.value}


def _subtract(image: ImageModel, subtract: Subtract, record: dict[str, Any]) -> ImageModel:
    """Subtract a background from an image, and from each integration of a time series."""
    plain, own = subtract(Image(**image.arrays))
    result = image.with_arrays(**plain._asdict())
    result.meta["background"] = {**record, **own}
    if image.meta.get("tso") and image.ints is not None:
        integrations = zip(*image.ints.arrays.values(), strict=True)
        result.ints = image.ints.stack([subtract(Image(*arrays))[0] for arrays in integrations])
    return result
