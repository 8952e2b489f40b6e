"""Base of the pipelines of the imager."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.observation import WrittenObservation
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.parameters.values import plain_numbers
from cal_pipeline.core.pipeline import ObservationPipeline, default_output
from cal_pipeline.core.store.compare import Comparison
from cal_pipeline.core.store.identity import are_same_groups, identify_groups
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import Key, Product
from cal_pipeline.core.store.records import ObservationRecord, as_mapping
from cal_pipeline.core.text import format_ranges
from cal_pipeline.imager.compare import compare_image_stores
from cal_pipeline.imager.errors import ReferencesFolderError
from cal_pipeline.imager.exposure_types import ExposureRule, ExposureTable, read_exposure_table
from cal_pipeline.imager.exposures import ExposureStore, read_product
from cal_pipeline.imager.identity import recorded_references
from cal_pipeline.imager.models import ExposureModel, ImageModel
from cal_pipeline.imager.summary import summarize_image
from cal_pipeline.imager.writing import write_image
from cal_pipeline.report.beside import refuse_foreign_report, write_report_beside
from cal_pipeline.report.quality_table import refuse_foreign_table, write_quality_table
from cal_pipeline.steps.imager.base import ExposureStep, ImagerStep, name_reference_for

logger = logging.getLogger(__name__)


class ImagerPipeline(ImagerStep, ObservationPipeline):
    """Base of the pipelines: which exposures they take, and what is recorded of them."""

    spec = """
    exposures      = force_list(default=None)     # Exposures to process, as in 1,5:8 (default: all)
    exposure_table = string(default=None)         # File with further types of exposures
    """

    conversions = {"exposures": partial(plain_numbers, noun="exposure")}
    coercions = {"exposures": lambda value: [str(item) for item in value]}

    input_noun = "store of exposures"
    example_input = "visit.zarr"
    expected_input = "the path or URL of a store of exposures (visit.zarr)"
    input_key = "input"
    inputs_chosen_by = "load"

    input_product: ClassVar[str] = "ramp"
    """Attribute ``product`` of the stores that are taken."""

    column: ClassVar[str] = "stage1"
    """Column of the table of exposure types that names the pipeline."""

    never_skipped: ClassVar[tuple[str, ...]] = ()
    """Steps without which there is no result."""

    has_quality_table: ClassVar[bool] = False
    """Whether a table of quality figures is written beside the product."""

    product_class: ClassVar[type[Product]]
    """Class of the product."""

    exposures: list[Any] | None
    exposure_table: str | None

    def check_parameters(self) -> None:
        """Refuse to skip a step without which there is no result, and a folder that is not there."""
        super().check_parameters()
        for name in self.never_skipped:
            if getattr(self, name).skip:
                raise ParameterError(f"{self.class_alias}: steps.{name}.skip = True; the step cannot be left out")
        self.references_folder()

    def open_input(self, location: str) -> ExposureStore:
        """Open the store of exposures."""
        return ExposureStore(location, (self.input_product,))

    def table(self) -> ExposureTable:
        """Read the table of exposure types."""
        return read_exposure_table(self.exposure_table)

    def rule_for(self, dataset: ExposureStore, number: int) -> ExposureRule:
        """Look up the row of the table for an exposure.

        Raises
        ------
        ExposureTypeError
            If there is none.
        ObservationError
            If the attributes of the exposure cannot be read or are not as the format says.
        """
        where = f"{dataset.path}/{dataset.group(number)}"
        return self.table().look_up_exposure(dataset.attributes(number), where)

    def take(self, dataset: ExposureStore, role: str | None = None) -> list[int]:
        """List the selected exposures that the table has for this pipeline.

        Parameters
        ----------
        dataset : ExposureStore
            The input.
        role : str, optional
            Only those of this role.

        Returns
        -------
        list of int
            With those that cannot be read or are of an unknown type, which fail when they are opened.
        """
        return self._take(dataset, dataset.select(self.exposures), role)

    def _take(self, dataset: ExposureStore, selected: list[int], role: str | None = None) -> list[int]:
        taken, left = [], []
        # All at once: a store far away answers each request late.
        dataset.root.each(dataset.try_attributes, selected)
        for number in selected:
            try:
                rule = self.rule_for(dataset, number)
            except ObservationError:  # opening it reports the error
                rule = None
            if rule is None or (getattr(rule, self.column) == self.class_alias and role in (None, rule.role)):
                taken.append(number)
            elif getattr(rule, self.column) != self.class_alias:
                left.append(number)
        if left:
            logger.info("exposures %s left out: their types are not for %s", format_ranges(left), self.class_alias)
        return taken

    def select(self, dataset: ExposureStore) -> list[int]:
        """Select the exposures to process."""
        return self.take(dataset)

    def check_growing(self, root: StorePath) -> None:
        """Refuse a store of another kind."""
        read_product(root, (self.input_product,))

    def select_complete(self, dataset: ExposureStore, numbers: Sequence[Key]) -> list[Key]:
        """Select the exposures to process among complete ones: those that the table has for this pipeline."""
        return list(self._take(dataset, [int(number) for number in self.filter_asked(numbers)]))

    def open_product(self, location: str) -> Product:
        """Open the product."""
        return self.product_class(location)

    def default_output(self, dataset: ExposureStore) -> str:
        """Return the name of a product whose name was not given, such as ``visit_rate.zarr``."""
        return default_output(dataset.path, self.product_kind.product, self.input_product)

    def input_groups(self, observation: ExposureModel) -> list[str]:
        """List the groups of the input that a result depends on."""
        assert observation.store is not None
        return [observation.store.group(observation.number)]

    def find_changes(self, observation: ExposureModel, records: Sequence[ObservationRecord]) -> list[str]:
        """Name what an exposure is made from that is no longer as recorded."""
        provenance, store = records[0].provenance, observation.store
        assert store is not None
        if self.reference_digests(observation) != recorded_references(provenance):
            return ["reference files are others"]
        is_same = are_same_groups(store.root, self.input_groups(observation), "input", provenance)
        return [] if is_same else ["input changed"]

    def settled_for(self, observation: ExposureModel) -> Self:
        """Return the pipeline with the parameters that count for an exposure, of the file that it chooses too."""
        return self.with_parameters(self.resolve_with(self._file_for(observation.get_crds_parameters())))

    def reference_digests(self, observation: ExposureModel) -> dict[str, str]:
        """Choose the reference files that a run would use now; return their digests by type."""
        settled = self.settled_for(observation)
        found: dict[str, str] = {}
        for name in settled.step_defs:
            step = getattr(settled, name)
            if isinstance(step, ExposureStep) and not step.skip:
                for reftype, digest in step.reference_digests(observation).items():
                    is_other = found.get(reftype, digest) != digest
                    found[name_reference_for(step.class_alias, reftype) if is_other else reftype] = digest
        return found

    def provenance_of(self, observation: ExposureModel, provenance: Mapping[str, Any]) -> dict[str, Any]:
        """Complete the provenance of a run by what an exposure was made from."""
        store, groups = observation.store, self.input_groups(observation)
        assert store is not None
        return {
            **provenance,
            "input_groups": groups,
            **identify_groups(store.root, groups, "input"),
            "reference_files": [observation.references[name] for name in sorted(observation.references)],
        }

    def select_again(self, number: Key, attributes: Mapping[str, Any]) -> None:
        """Select an exposure, with the folder of reference files where it was if it is not found from here."""
        super().select_again(number, attributes)
        self.find_references_again(as_mapping(attributes.get("provenance")))

    def find_references_again(self, provenance: Mapping[str, Any]) -> None:
        """Set the folder of reference files to that of the recorded ones, unless another one is named and there."""
        with suppress(ReferencesFolderError):
            if self.references_folder() is not None:
                return
        overrides = {
            getattr(step, f"override_{reftype}", None)
            for step in self._steps().values()
            for reftype in step.reference_file_types
        }
        files = provenance.get("reference_files")
        entries = [as_mapping(entry) for entry in files] if isinstance(files, list) else []
        folders = {os.path.dirname(str(e.get("file"))) for e in entries if e.get("file") not in overrides}
        if len(folders) == 1:
            self.references = folders.pop()

    def check_output(self, root: StorePath) -> None:
        """Refuse a file in the place of the table of quality figures."""
        if self.has_quality_table:
            refuse_foreign_table(root)

    def finish_product(self, product: Product) -> None:
        """Write the table of quality figures beside the product."""
        if self.has_quality_table:
            write_quality_table(product)

    def refuse_report(self, root: StorePath) -> None:
        """Refuse a file in the place of the report."""
        refuse_foreign_report(root)

    def write_report(self, product: Product) -> None:
        """Write the report of the images beside the product."""
        from cal_pipeline.report.imager_report import write_report

        logger.info("report: %s", write_report_beside(product, write_report))

    def compare(
        self, first: str | Path, second: str | Path, numbers: Sequence[Key], leave_out: Sequence[str]
    ) -> Comparison:
        """Compare images of two products, whatever the origins of their parameters."""
        return compare_image_stores(first, second, numbers, origins=False)

    def write_observation(
        self, observation: ImageModel, root: StorePath, provenance: dict[str, Any]
    ) -> WrittenObservation:
        """Write an image."""
        own = self.provenance_of(observation, provenance)
        if "provenance" in observation.meta:
            own["input_provenance"] = make_json_ready(observation.meta["provenance"])
        self.write(observation, root, own)
        return summarize_image(observation)

    def write(self, image: ImageModel, root: StorePath, provenance: Mapping[str, Any]) -> None:
        """Write the arrays of an image."""
        write_image(image, root, provenance)
