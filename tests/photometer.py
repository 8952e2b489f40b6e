"""A photometer that nobody has built: the smallest family on the core, one step and a Zarr input.

Exposures are groups ``exposure_NNNNNN`` with ``counts`` [time, pixel] and the attributes ``filter`` and ``seconds``.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.observation import WrittenObservation
from cal_pipeline.core.pipeline import ObservationPipeline, specify_run
from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.step import BaseStep, ObservationStep
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.metadata import read_group_attributes, write_group
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.product import Product, ProductKind
from cal_pipeline.core.store.schema import ProductArray, ProductSchema

KIND = ProductKind("exposure", "photometry", "1.0", "exposure")
SCHEMA = ProductSchema({"rate": ProductArray((("time", "pixel"),), "float64", "ct/s", "count rate above the dark")})


class Exposure:
    """An exposure: its counts, and the rate that the step ``dark`` makes."""

    rate: np.ndarray | None = None

    def __init__(self, number: int, counts: np.ndarray, attributes: dict[str, Any]) -> None:
        self.number, self.counts, self.attributes = number, counts, attributes
        self.meta = SimpleNamespace(filename=f"{KIND.group_name(number)}.asdf", cal_step=SimpleNamespace(), made_by={})
        self.clock = StageClock()

    @property
    def n_samples(self) -> int:
        return self.counts.size

    def get_crds_parameters(self) -> dict[str, Any]:
        return {"filter": self.attributes["filter"]}


class Night:
    """A store of exposures."""

    def __init__(self, path: str) -> None:
        self.root = open_store(path)
        self.path = self.root.name
        found = (KIND.key_of(name) for name in self.root.members())
        self.numbers = sorted(number for number in found if number is not None)

    def describe(self, number: int) -> dict[str, Any]:
        return {"filter": read_group_attributes(self.root, KIND.group_name(number))["filter"]}

    def in_order_of_time(self, numbers: list[int]) -> list[int]:
        return sorted(numbers)

    def open_exposure(self, number: int) -> Exposure:
        group = KIND.group_name(number)
        counts = open_reader(self.root, f"{group}/counts").read()
        if counts.ndim != 2:
            raise LayoutError(f"{self.path}/{group}/counts has shape {counts.shape}, expected (time, pixel)")
        return Exposure(number, counts, read_group_attributes(self.root, group))


class Photometry(Product):
    """The product: count rates."""

    kind = KIND


class PhotometerBase(BaseStep):
    """Base of step and pipeline: opens exposures, and chooses parameter files by the filter."""

    product_kind = KIND
    observation_type = Exposure

    @classmethod
    def open_source(cls, source: Any, input_dir: str = "") -> Exposure:
        if isinstance(source, Exposure):
            return source
        night = Night(str(source))
        return night.open_exposure(night.numbers[0])

    @classmethod
    def choose_parameter_file(cls, described: dict[str, Any]) -> Path | None:
        path = Path(__file__).with_name("photometer_red.cfg")
        return path if described["filter"] == "red" else None


class DarkStep(PhotometerBase, ObservationStep):
    """Subtract the dark level and divide by the exposure time."""

    class_alias = "dark"

    spec = """
    level = float(default=0.0)   # Dark level [ct]
    """

    def process_observation(self, exposure: Exposure) -> None:
        exposure.rate = (exposure.counts - self.level) / exposure.attributes["seconds"]


class PhotometerPipeline(PhotometerBase, ObservationPipeline):
    """Reduce the exposures of a night to count rates."""

    class_alias = "photometer"
    spec = f"""
    exposures = int_list(default=None)   # Exposures to reduce
    {specify_run(KIND, follows=True)}
    """
    step_defs = {"dark": DarkStep}

    def open_input(self, location: str) -> Night:
        return Night(location)

    def select(self, dataset: Night) -> list[int]:
        return [number for number in dataset.numbers if not self.exposures or number in self.exposures]

    def open_observation(self, dataset: Night, number: int) -> Exposure:
        return dataset.open_exposure(number)

    def write_observation(self, exposure: Exposure, root: Any, provenance: dict[str, Any]) -> WrittenObservation:
        SCHEMA.write_array(root, "rate", exposure.rate, 1, {"rate"})
        status = vars(exposure.meta.cal_step)
        write_group(root, "", {"exposure_number": exposure.number, "cal_step": status, "provenance": provenance})
        return WrittenObservation(f"exposure {exposure.number}, {np.median(exposure.rate):.3g} ct/s", "pass")

    def open_product(self, location: str) -> Photometry:
        return Photometry(location)
