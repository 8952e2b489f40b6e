"""Bases of the steps and pipelines of the imager."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.core.records import digest_file
from cal_pipeline.core.step import BaseStep, ObservationStep
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.kinds import RATE
from cal_pipeline.imager.layout import check_attributes, determine_read_pattern
from cal_pipeline.imager.models import ExposureModel, ImageModel, RampModel, open_exposure
from cal_pipeline.imager.parameter_files import choose_parameter_file
from cal_pipeline.imager.physics.reads import ReadTimes, compute_read_times
from cal_pipeline.imager.reference_files import Reference, read_reference
from cal_pipeline.imager.references import choose_reference, find_reference, find_references_folder
from cal_pipeline.registry import list_steps

Flags = NDArray[np.uint32]


class ImagerStep(BaseStep):
    """Base of steps and pipelines: how exposures are opened, reference and parameter files chosen."""

    spec = """
    output_use_model = boolean(default=True)     # Name the files of steps after the exposure
    references       = string(default=None)      # Folder of reference files (default: that in CAL_PIPELINE_REFERENCES)
    """

    product_kind = RATE
    observation_type = ExposureModel
    stage_names = tuple(step.class_alias for step in list_steps("imager") if not step.is_pipeline)

    model_type: ClassVar[type[Any]] = RampModel
    """Class of the exposures that are taken."""

    stage: ClassVar[str] = "detector1"
    """Alias of the pipeline that the step belongs to, whose parameter files hold its parameters."""

    references: str | None

    @classmethod
    def open_source(cls, source: Any, input_dir: str = "") -> Any:
        """Open an exposure; see :func:`cal_pipeline.imager.models.open_exposure`."""
        return open_exposure(source, cls.model_type, input_dir).copy()

    @classmethod
    def first_observation(cls, source: Any) -> Any:
        """Open the only exposure of an input, or the first of many."""
        return open_exposure(source, cls.model_type, first=True)

    @classmethod
    def choose_parameter_file(cls, described: Mapping[str, Any]) -> Path | None:
        """Choose the parameter file for an instrument, detector and exposure type; None for none."""
        return choose_parameter_file(pipeline=cls.stage, **described)

    def references_folder(self) -> Path | None:
        """Return the folder of reference files; None where none is named.

        Raises
        ------
        ReferencesFolderError
            If it is not there.
        """
        return find_references_folder(self.search_attr("references"))


class ExposureStep(ImagerStep, ObservationStep):
    """Base of the steps, which take an exposure (or its location) and return another.

    The input is a model, a file that a step wrote, or an exposure of a store
    (``visit.zarr/exp_000001``); it stays as it is.
    """

    example_source = "visit.zarr/exp_000001"
    example_output = "exp_000001_jump.asdf"

    once: ClassVar[bool] = False
    """Whether an exposure that has passed the step is refused: it would be corrected twice."""

    @classmethod
    def open_source(cls, source: Any, input_dir: str = "") -> Any:
        """Open an exposure, and refuse one that a correction has been applied to already.

        Raises
        ------
        CalibrationError
            If there is no such exposure, or it has passed a step that can be passed once only.
        """
        opened = super().open_source(source, input_dir)
        cls.refuse_twice(opened)
        return opened

    @classmethod
    def refuse_twice(cls, model: ExposureModel) -> None:
        """Refuse an exposure that has passed a step which can be passed once only."""
        if cls.once and model.meta.cal_step.get(str(cls.class_alias)) == "COMPLETE":
            raise ObservationError(f"exposure {model.number} has passed the step {cls.class_alias} already")

    def reference(self, model: ExposureModel, reftype: str) -> Reference:
        """Read the reference file of a type for an exposure.

        Parameters
        ----------
        model : ExposureModel
            The exposure.
        reftype : str
            Type of the reference file.

        Raises
        ------
        ReferenceFileError
            If none suits the exposure, or it cannot be read.
        """
        return self._read(model, reftype, lambda: choose_reference(self.references_folder(), reftype, model.meta))

    def find_reference(self, model: ExposureModel, reftype: str) -> Reference | None:
        """Read the reference file of a type that an exposure may do without; None where none suits it."""
        if self.get_ref_override(reftype) is None:
            found = find_reference(self.references_folder(), reftype, model.meta)
            if found is None:
                return None
            return self._read(model, reftype, lambda: found)
        return self.reference(model, reftype)

    def reference_digests(self, model: ExposureModel) -> dict[str, str]:
        """Choose the reference files that the step would use for an exposure; return their digests by type.

        Types without a file are left out.
        """
        found = {}
        for reftype in self.reference_file_types:
            override = self.get_ref_override(reftype)
            path = override or find_reference(self.references_folder(), reftype, model.meta)
            digest = digest_file(path) if path else None
            if digest is not None:
                found[reftype] = digest
        return found

    def _read(self, model: ExposureModel, reftype: str, choose: Any) -> Reference:
        path = self.reference_path(reftype, choose)
        n_rows, n_columns = model.shape[-2:]
        reference = read_reference(path, reftype, model.meta, (n_rows, n_columns))
        entry = {"type": reftype, "file": str(reference.path), "sha256": reference.sha256}
        if model.references.get(reftype, entry)["sha256"] != reference.sha256:
            entry["type"] = name_reference_for(self.class_alias, reftype)
        model.references[entry["type"]] = entry
        return reference


def name_reference_for(step: str, reftype: str) -> str:
    """Return the name under which a step's reference file is recorded, if a step before it has used another one.

    Examples
    --------
    >>> name_reference_for("ramp_fit", "gain")
    'gain for ramp_fit'
    """
    return f"{reftype} for {step}"


class RampStep(ExposureStep):
    """Base of the steps that take ramps."""

    model_type = RampModel

    def process(self, source: Any = None) -> Any:
        """Run the step on a ramp; see :meth:`.ObservationStep.process`."""
        result = super().process(source)
        if self.parent is None and isinstance(result, RampModel):
            # Errors belong to the call, and the arrays given may change after it.
            result.compute()
        return result

    def read_times(self, ramp: RampModel) -> ReadTimes:
        """Compute the times of the reads of a ramp.

        Raises
        ------
        LayoutError
            If its attributes do not say when they were.
        """
        where = f"exposure {ramp.number}"
        check_attributes({"frame_time": ramp.meta.get("frame_time")}, where, required=("frame_time",))
        pattern = determine_read_pattern(ramp.meta, ramp.shape[1], where)
        return compute_read_times(pattern, float(ramp.meta["frame_time"]))

    def gain_and_noise(self, ramp: RampModel) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Read gain and read noise, from reference files or else the attributes of the exposure.

        Pixels without a gain or noise above 0 are flagged NO_GAIN_VALUE and DO_NOT_USE.

        Returns
        -------
        gain, noise : ndarray of float32, shape (y, x)
            Gain [electron/adu] and noise of one read [electron].
        """
        maps = [self._map(ramp, reftype, name) for reftype, name in (("gain", "gain"), ("readnoise", "read_noise"))]
        is_bad = ~np.all([np.isfinite(values) & (values > 0) for values in maps], axis=0)
        flags = is_bad.astype(np.uint32) * np.uint32(DQ.NO_GAIN_VALUE | DQ.DO_NOT_USE)
        ramp.add_flags(flags)
        return maps[0], maps[1]

    def _map(self, ramp: RampModel, reftype: str, attribute: str) -> NDArray[np.float32]:
        given = ramp.meta.get(attribute)
        # Without these no reference file can be chosen, and there need not be one.
        is_named = all(ramp.meta.get(name) for name in ("instrument", "detector", "date_obs"))
        if given is not None and not is_named and self.get_ref_override(reftype) is None:
            return np.broadcast_to(np.float32(given), ramp.shape[-2:])
        reference = self.reference(ramp, reftype) if given is None else self.find_reference(ramp, reftype)
        if reference is not None:
            values: NDArray[np.float32] = reference.arrays["data"]
            return values
        return np.broadcast_to(np.float32(given), ramp.shape[-2:])


class ImageStep(ExposureStep):
    """Base of the steps that take images."""

    model_type = ImageModel
    stage = "image2"
    example_source = "rate.zarr/exp_000001"
    example_output = "exp_000001_dark.asdf"
