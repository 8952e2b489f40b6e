"""Step ``background``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.imager.exposure_types import read_exposure_table
from cal_pipeline.imager.exposures import ExposureStore
from cal_pipeline.imager.models import ImageModel
from cal_pipeline.imager.physics.background import (
    Level,
    combine_skies,
    match_level,
    measure_level,
    subtract_background,
    subtract_level,
)
from cal_pipeline.imager.physics.image import Image, drop_variances
from cal_pipeline.imager.schema import RATE_UNITS
from cal_pipeline.imager.skies import describe_setup, find_skies, name_reference_of
from cal_pipeline.steps.imager.base import ImageStep
from cal_pipeline.steps.imager.dark import DarkStep
from cal_pipeline.steps.imager.flat_field import FlatFieldStep
from cal_pipeline.steps.imager.images import find_integrations

logger = logging.getLogger(__name__)


class _Background(NamedTuple):
    image: Image
    level: Level
    references: dict[str, dict[str, str]]


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
    once = True

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
            return None
        background = self._find_background(image, skies)
        record = {"method": "sky", "skies": skies, "level": background.level.value}
        if self.match and not background.level.significant:
            logger.warning("exposure %d: the level of the skies is not significant, they are not scaled", image.number)

        def subtract(plain: Image) -> tuple[Image, dict[str, float]]:
            scale = match_level(measure_level(plain), background.level) if self.match else 1.0
            return subtract_background(plain, background.image, scale), {"scale": scale}

        return _subtract(image, subtract, record)

    def _find_skies(self, image: ImageModel) -> list[int]:
        """Find the sky exposures for an image among those that are selected; warn if there is none."""
        if image.store is None:
            reason = "it is of no store, in which sky exposures could be"
            skies = []
        else:
            reason = "no sky exposure of its detector, filter and subarray is selected"
            table = read_exposure_table(self.search_attr("exposure_table"))
            skies = find_skies(image.store, image.meta, image.shape, self.search_attr("exposures"), table)
        if not skies:
            logger.warning("exposure %d: background not subtracted: %s", image.number, reason)
            self.not_applicable(reason)
        return skies

    def _find_background(self, image: ImageModel, skies: list[int]) -> _Background:
        """Return the mean of sky exposures, which is kept with the store for other images."""
        assert image.store is not None
        if image.units != RATE_UNITS:
            raise ObservationError(
                f"exposure {image.number}: its unit is {image.units!r}, expected {RATE_UNITS!r} as of its sky exposures"
            )
        steps = self._before(image)
        passed = str([(step.class_alias, step.get_pars()) for step in steps])
        key = ("background", str(describe_setup(image.meta, image.shape)), tuple(skies), passed)
        store = image.store
        background = store.remember(key, lambda: _combine(store, skies, steps))
        for name, entry in background.references.items():
            # Skies of another time may have another file than the image.
            if entry["sha256"] != image.references[entry["type"]]["sha256"]:
                image.references[name] = {**entry, "type": name}
        return background

    def _before(self, image: ImageModel) -> list[ImageStep]:
        """List the steps that the image has passed, and the skies are to pass."""
        steps: list[ImageStep] = []
        for alias, cls in (("dark", DarkStep), ("flat_field", FlatFieldStep)):
            if image.meta.cal_step.get(alias) == "COMPLETE":
                own = None if self.parent is None else getattr(self.parent, alias, None)
                steps.append(own or _repeat(cls(references=self.references), image))
        return steps

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
    ints = find_integrations(image)
    if ints is None:
        result.ints = None
    else:
        integrations = zip(*ints.arrays.values(), strict=True)
        result.ints = ints.stack([subtract(Image(*arrays))[0] for arrays in integrations])
    return result


def _repeat(step: ImageStep, image: ImageModel) -> ImageStep:
    """Let a step use the reference file that an image was made with, if it would choose another one."""
    (reftype,) = step.reference_file_types
    used = image.references.get(reftype)
    if used is not None and step.reference_digests(image).get(reftype) != used["sha256"]:
        setattr(step, f"override_{reftype}", used["file"])
    return step


def _combine(store: ExposureStore, skies: list[int], steps: list[ImageStep]) -> _Background:
    """Combine sky exposures after the steps that the image has passed."""
    passed: list[Image] = []
    references: dict[str, dict[str, str]] = {}
    for number in skies:
        sky = ImageModel.from_store(store, number, with_ints=False)
        for step in steps:
            sky = step.process_observation(sky)
        passed.append(drop_variances(Image(**sky.arrays)))
        references |= {name_reference_of(number, reftype): entry for reftype, entry in sky.references.items()}
    combined = combine_skies(passed)
    return _Background(combined, measure_level(combined), references)
