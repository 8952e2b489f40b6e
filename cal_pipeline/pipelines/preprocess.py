"""The pipelines ``preprocess_dark`` and ``preprocess_flatfield``: rates to reference files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.observation import WrittenObservation
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.pipeline import specify_run
from cal_pipeline.core.store.file_output import RESULT
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.text import format_count
from cal_pipeline.imager.associations import Associations, refuse_mixture
from cal_pipeline.imager.dq import DQ, LASTING
from cal_pipeline.imager.exposures import ExposureStore
from cal_pipeline.imager.frames import FrameSet
from cal_pipeline.imager.kinds import REFERENCE
from cal_pipeline.imager.models import ExposureModel, ImageModel
from cal_pipeline.imager.physics.combine import normalize
from cal_pipeline.imager.physics.dark import flag_hot_pixels
from cal_pipeline.imager.physics.flat import flag_unusable_flat
from cal_pipeline.imager.physics.image import Image
from cal_pipeline.imager.reference_files import write_reference
from cal_pipeline.imager.reference_product import ReferenceProduct
from cal_pipeline.pipelines.imager import ImagerPipeline
from cal_pipeline.steps.imager import CombineFramesStep, DarkStep, NormalizeStep


class PreprocessPipeline(ImagerPipeline):
    """Base of the pipelines that combine exposures to a reference file."""

    product_kind = REFERENCE
    model_type = ImageModel
    column = "stage2"
    input_product = "rate"
    example_input = "rate.zarr"
    never_skipped = ("combine_frames",)

    resume = verify = report = False
    """No parameters: a file is written as a whole."""

    reftype: ClassVar[str]
    """Type of the reference file."""

    with_filter: ClassVar[bool] = False
    """Whether the file is for one filter."""

    # A file is written as a whole, so these are no parameters.
    resume = False
    verify = False
    report = False

    def open_input(self, location: str) -> Any:
        """Open the store of rates, and find the exposures that are combined.

        Raises
        ------
        StoreError
            If there is none, or if detectors, subarrays or, where it matters, filters differ.
        """
        store = ExposureStore(location, (self.input_product,))
        numbers = self.take(store)
        if not numbers:
            raise StoreError(f"{store.path}: no exposure for {self.class_alias} is selected")
        refuse_mixture(store, numbers, self.with_filter)
        return Associations(store, {self.reftype: numbers})

    def select(self, dataset: Any) -> list[Any]:
        """Select the reference file to make."""
        return list(dataset.members)

    def default_output(self, dataset: Any) -> str:
        """Return the name of a file whose name was not given, such as ``dark.asdf``."""
        return f"{self.reftype}.asdf"

    def open_observation(self, dataset: Any, number: Any) -> FrameSet:
        """Open the exposures."""
        frames: FrameSet = dataset.open_frames(number)
        for member in frames.members:
            self.rule_for(dataset.store, member)
        return frames

    def open_product(self, location: str) -> Any:
        """Return the reference file as a product."""
        return ReferenceProduct(location, self.reftype)

    def describe_timing(self, observation: ExposureModel) -> str:
        """Format a log line with the time spent in each stage."""
        line = super().describe_timing(observation)
        return line.replace(f"reference {observation.number}", f"reference {self.reftype}", 1)

    def input_groups(self, observation: ExposureModel) -> list[str]:
        """List the groups of the exposures that are combined."""
        assert observation.store is not None
        return [observation.store.group(number) for number in observation.meta["members"]]

    def write_observation(self, observation: Any, root: StorePath, provenance: dict[str, Any]) -> WrittenObservation:
        """Write the reference file."""
        names = (
            "instrument",
            "detector",
            *(("filter",) if self.with_filter else ()),
            "subarray",
            "members",
            "cal_step",
        )
        meta = {name: observation.meta[name] for name in names if observation.meta.get(name) is not None}
        meta |= {"useafter": observation.meta["date_obs"], "units": self._units}
        meta |= {"provenance": make_json_ready(self.provenance_of(observation, provenance))}
        content = {"data": observation.data, "err": observation.err, "dq": observation.dq & LASTING}
        assert isinstance(root, LocalStorePath)
        write_reference(root.path / RESULT, self.reftype, meta, content)
        of = format_count(len(observation.meta["members"]), "exposure")
        lit = (observation.dq & np.uint32(DQ.REFERENCE_PIXEL)) == 0
        good = lit & ((observation.dq & np.uint32(DQ.DO_NOT_USE)) == 0)
        level = (
            f"median {np.median(observation.data[good]):.4g} {self._units}".rstrip() if good.any() else "no good pixel"
        )
        bad = 1.0 - good.sum() / max(int(lit.sum()), 1)
        return WrittenObservation(f"{self.reftype} of {of}, {level}, bad {100 * bad:.2f} %")

    _units = "electron / s"


class PreprocessDarkPipeline(PreprocessPipeline):
    """Combine dark exposures to a reference file of the dark rate.

    Examples
    --------
    >>> from cal_pipeline import PreprocessDarkPipeline
    >>> product = PreprocessDarkPipeline.call("rate.zarr", output_file="my_dark.asdf")
    >>> product.open().meta["members"]
    [1]
    """

    class_alias = "preprocess_dark"
    stage = "preprocess_dark"
    reftype = "dark"

    spec = f"""
    hot_sigma = float(default=20.0)          # Distance from the median beyond which a pixel is HOT [1.4826 MAD]
    {specify_run(REFERENCE)}
    """

    step_defs = {"combine_frames": CombineFramesStep}

    hot_sigma: float

    def check_parameters(self) -> None:
        """Refuse a limit that is not positive."""
        super().check_parameters()
        if not self.hot_sigma > 0:
            raise ParameterError(f"preprocess_dark: hot_sigma = {self.hot_sigma:g}; expected a number above 0")

    def stages(self) -> dict[str, Callable[[Any], Any]]:
        """Return the steps, and the flagging of hot pixels after them."""
        return {**super().stages(), "flag_hot": self._flag_hot}

    def _flag_hot(self, dark: ImageModel) -> ImageModel:
        return dark.with_arrays(dq=flag_hot_pixels(Image(**dark.arrays), self.hot_sigma))


class PreprocessFlatfieldPipeline(PreprocessPipeline):
    """Combine exposures of a lamp or the twilight to the flat field of a filter.

    Examples
    --------
    >>> from cal_pipeline import PreprocessFlatfieldPipeline
    >>> settings = {"references": "visit.references", "output_file": "my_flat.asdf"}
    >>> product = PreprocessFlatfieldPipeline.call("rate.zarr", **settings)
    >>> product.open().meta["filter"]
    'H'
    """

    class_alias = "preprocess_flatfield"
    stage = "preprocess_flatfield"
    reftype = "flat"
    with_filter = True
    _units = ""

    spec = f"""
    min_flat  = float(default=0.1)           # Response below which a pixel has no flat field
    {specify_run(REFERENCE)}
    """

    step_defs = {"dark": DarkStep, "normalize": NormalizeStep, "combine_frames": CombineFramesStep}

    min_flat: float

    def check_parameters(self) -> None:
        """Refuse a smallest response below zero."""
        super().check_parameters()
        if not self.min_flat >= 0:
            raise ParameterError(f"preprocess_flatfield: min_flat = {self.min_flat:g}; expected a number from 0 on")

    def stages(self) -> dict[str, Callable[[Any], Any]]:
        """Return the steps, and the normalization of what was combined after them."""
        return {**super().stages(), "flag_unusable": self._finish}

    def _finish(self, flat: ImageModel) -> ImageModel:
        plain = Image(**flat.arrays)
        if not self.normalize.skip:
            plain = normalize(plain, self.normalize.method)
        return flat.with_arrays(**plain._asdict()).with_arrays(dq=flag_unusable_flat(plain, self.min_flat))
