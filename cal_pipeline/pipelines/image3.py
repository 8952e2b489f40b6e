"""The pipeline ``image3``: dithered images to mosaics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cal_pipeline.core.errors import ObservationError, StoreError
from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.observation import WrittenObservation
from cal_pipeline.core.pipeline import specify_run
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.records import as_mapping
from cal_pipeline.core.text import format_count
from cal_pipeline.imager.associations import Associations
from cal_pipeline.imager.exposures import ExposureStore
from cal_pipeline.imager.frames import FrameSet
from cal_pipeline.imager.kinds import MOSAIC
from cal_pipeline.imager.models import ExposureModel, ImageModel
from cal_pipeline.imager.mosaics import name_mosaic, read_projection
from cal_pipeline.imager.product import MosaicProduct
from cal_pipeline.imager.writing import write_arrays
from cal_pipeline.pipelines.imager import ImagerPipeline
from cal_pipeline.steps.imager import MosaicStep, OutlierStep


class Image3Pipeline(ImagerPipeline):
    """Combine calibrated, dithered images to a mosaic for each target and filter.

    Parameters are those in `spec` and, as ``steps={"outlier": {...}, ...}``, those of the steps.

    Examples
    --------
    >>> from cal_pipeline import Image3Pipeline
    >>> product = Image3Pipeline.call("cal.zarr", output_file="mosaics.zarr")
    >>> product.numbers
    ['FIELD_H']
    """

    class_alias = "image3"

    spec = specify_run(MOSAIC)

    step_defs = {"outlier": OutlierStep, "mosaic": MosaicStep}

    product_kind = MOSAIC
    product_class = MosaicProduct
    model_type = ImageModel
    stage = "image3"
    column = "stage3"
    input_product = "cal"
    example_input = "cal.zarr"
    never_skipped = ("mosaic",)

    def open_input(self, location: str) -> Any:
        """Open the store of calibrated images, and group them by target and filter.

        Raises
        ------
        StoreError
            If two targets have the same name but for characters that a store does not take.
        """
        store = ExposureStore(location, (self.input_product,))
        members: dict[str, list[int]] = {}
        spelled: dict[str, tuple[Any, Any]] = {}
        for number in self.take(store):
            attributes = self._read_attributes(store, number)
            name = store.group(number) if attributes is None else name_mosaic(attributes)
            spelling = (None, None) if attributes is None else (attributes.get("target"), attributes.get("filter"))
            if spelled.setdefault(name, spelling) != spelling:
                raise StoreError(
                    f"{store.path}: target and filter {spelled[name]!r:.80} and {spelling!r:.80} make the same name "
                    f"{name}; rename one of them, or select with exposures"
                )
            members.setdefault(name, []).append(number)
        return Associations(store, members)

    def _read_attributes(self, store: ExposureStore, number: int) -> Mapping[str, Any] | None:
        """Read the attributes of an exposure; None for one that stands alone, since opening it reports an error."""
        try:
            self.rule_for(store, number)
            attributes = store.attributes(number)
            read_projection(attributes)
        except ObservationError:
            return None
        return attributes

    def select(self, dataset: Any) -> list[Any]:
        """Select the mosaics to make.

        Raises
        ------
        StoreError
            If there is none.
        """
        if not dataset.members:
            raise StoreError(f"{dataset.path}: no exposure for {self.class_alias} is selected")
        return sorted(dataset.members)

    def select_again(self, number: str, attributes: Mapping[str, Any]) -> None:
        """Select the exposures of a mosaic."""
        self.find_references_again(as_mapping(attributes.get("provenance")))
        self.exposures = list(attributes["members"])

    def open_observation(self, dataset: Any, number: Any) -> FrameSet:
        """Open the exposures of a mosaic."""
        frames: FrameSet = dataset.open_frames(number)
        for member in frames.members:
            self.rule_for(dataset.store, member)
        return frames

    def input_groups(self, observation: ExposureModel) -> list[str]:
        """List the groups of the exposures of a mosaic."""
        assert observation.store is not None
        return [observation.store.group(number) for number in observation.meta["members"]]

    def write_observation(self, observation: Any, root: StorePath, provenance: dict[str, Any]) -> WrittenObservation:
        """Write a mosaic."""
        write_arrays(observation.arrays, root, observation.units)
        attributes = make_json_ready(dict(observation.meta))
        write_group(root, "", {**attributes, "provenance": self.provenance_of(observation, provenance)})
        n_rows, n_columns = observation.shape
        noun = format_count(len(observation.meta["members"]), "exposure")
        return WrittenObservation(f"mosaic {observation.number}, {n_columns} x {n_rows} pixels of {noun}")
