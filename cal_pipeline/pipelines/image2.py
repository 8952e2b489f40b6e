"""The pipeline ``image2``: rates to calibrated images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.pipeline import specify_run
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.imager.exposure_types import SCIENCE
from cal_pipeline.imager.exposures import ExposureStore
from cal_pipeline.imager.kinds import CAL
from cal_pipeline.imager.meta import Meta
from cal_pipeline.imager.models import ExposureModel, ImageModel
from cal_pipeline.imager.product import CalProduct
from cal_pipeline.imager.skies import find_skies, name_reference_of
from cal_pipeline.imager.writing import write_image
from cal_pipeline.pipelines.imager import ImagerPipeline
from cal_pipeline.steps.imager import BackgroundStep, DarkStep, FlatFieldStep, PhotomStep


class Image2Pipeline(ImagerPipeline):
    """Calibrate rates: subtract dark and background, divide by the flat field, scale to flux.

    Science exposures are written. Sky exposures among the selected ones are what the background is
    made of. Parameters are those in `spec` and, as ``steps={"background": {...}, ...}``, those of
    the steps; `photom` is skipped by default.

    Examples
    --------
    >>> from cal_pipeline import Image2Pipeline
    >>> product = Image2Pipeline.call("rate.zarr", output_file="cals.zarr", references="visit.references")
    >>> image = product.open_image(product.numbers[0])
    >>> image.meta.cal_step.background, image.meta.cal_step.photom
    ('COMPLETE', 'SKIPPED')
    """

    class_alias = "image2"

    spec = specify_run(CAL)

    step_defs = {
        "dark": DarkStep,
        "flat_field": FlatFieldStep,
        "background": BackgroundStep,
        "photom": PhotomStep,
    }

    product_kind = CAL
    has_quality_table = True
    product_class = CalProduct
    model_type = ImageModel
    stage = "image2"
    column = "stage2"
    input_product = "rate"
    example_input = "rate.zarr"

    def select(self, dataset: ExposureStore) -> list[int]:
        """Select the science exposures to calibrate.

        Raises
        ------
        StoreError
            If there is none.
        """
        taken = self.take(dataset, SCIENCE)
        if not taken:
            raise StoreError(f"{dataset.path}: no science exposure for {self.class_alias} is selected")
        return taken

    def select_again(self, number: int, attributes: Mapping[str, Any]) -> None:
        """Select an exposure with the skies that were subtracted from it."""
        background = attributes.get("background")
        skies = background.get("skies", []) if isinstance(background, Mapping) else []
        super().select_again(number, attributes)
        self.exposures = [number, *skies]

    def open_observation(self, dataset: ExposureStore, number: int) -> ImageModel:
        """Open a rate image."""
        self.rule_for(dataset, number)
        is_series = bool(dataset.attributes(number).get("tso"))
        return ImageModel.from_store(dataset, number, with_ints=is_series)

    def input_groups(self, observation: ExposureModel) -> list[str]:
        """List the groups of an image and of its skies."""
        assert observation.store is not None
        return [observation.store.group(number) for number in (observation.number, *self._find_skies(observation))]

    def _find_skies(self, observation: ExposureModel) -> list[int]:
        """List the sky exposures for an image; none if they are not used."""
        settled = self.settled_for(observation)
        assert observation.store is not None
        if settled.background.skip or settled.background.method != "sky":
            return []
        return find_skies(observation.store, observation.meta, observation.shape, self.exposures, self.table())

    def reference_digests(self, observation: ExposureModel) -> dict[str, str]:
        """Choose the reference files of an image and of its skies; return their digests by type."""
        found = super().reference_digests(observation)
        assert observation.store is not None
        for number in self._find_skies(observation):
            sky = observation.copy()
            sky.meta = Meta(observation.store.attributes(number))
            of_sky = super().reference_digests(sky)
            for name in ("dark", "flat"):
                if name in of_sky and of_sky[name] != found.get(name):
                    found[name_reference_of(number, name)] = of_sky[name]
        return found

    def write(self, image: ImageModel, root: StorePath, provenance: Mapping[str, Any]) -> None:
        """Write a calibrated image, and the integrations of a time series."""
        write_image(image, root, provenance, ints="calints" if image.meta.get("tso") else "")
