"""Observations with names and no numbers: a photometer's exposures combined by filter."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pytest
import zarr
from photometer import DarkStep, Exposure, Night, PhotometerPipeline, Photometry

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.replay import replay_and_compare
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.core.store.product import ProductKind
from cal_pipeline.errors import StoreError

KIND = ProductKind("colour", "colours", "1.0", "exposure", product="colours", named=True, selected_by="exposures")


class Colours(Photometry):
    kind = KIND


class ByFilter(Night):
    """Exposures by filter."""

    def __init__(self, path: str, numbers: list[int] | None) -> None:
        super().__init__(path)
        self.members: dict[str, list[int]] = {}
        for number in self.numbers:
            if not numbers or number in numbers:
                self.members.setdefault(super().describe(number)["filter"], []).append(number)

    def describe(self, name):
        return {"filter": name}


class ColourPipeline(PhotometerPipeline):
    """Combine exposures of a filter."""

    class_alias = "colours"
    product_kind = KIND
    step_defs: ClassVar = {"dark": DarkStep}
    inputs_chosen_by = "load"
    changed: ClassVar[tuple[str, ...]] = ()

    def open_input(self, location):
        return ByFilter(location, self.exposures)

    def select(self, dataset):
        return sorted(dataset.members)

    def select_again(self, name, attributes):
        self.exposures = attributes["members"]

    def open_observation(self, dataset, name):
        opened = [dataset.open_exposure(number) for number in dataset.members[name]]
        combined = Exposure(1, np.mean([one.counts for one in opened], axis=0), dict(opened[0].attributes))
        combined.number, combined.attributes["members"] = name, dataset.members[name]
        return combined

    def write_observation(self, exposure, root, provenance):
        provenance["members"] = exposure.attributes["members"]
        written = super().write_observation(exposure, root, provenance)
        metadata = json.loads(root.get("zarr.json"))
        metadata["attributes"]["members"] = exposure.attributes["members"]
        root.put("zarr.json", json.dumps(metadata).encode())
        return written

    def find_changes(self, exposure, records):
        return ["members are others"] if exposure.number in self.changed else []

    def open_product(self, location):
        return Colours(location)


@pytest.fixture
def night(tmp_path):
    root = zarr.create_group(tmp_path / "night.zarr")
    for number, colour in enumerate(["blue", "red", "blue", "green"], 1):
        group = root.create_group(f"exposure_{number:06d}", attributes={"filter": colour, "seconds": 2.0})
        group.create_array("counts", data=np.full((2, 3), 10.0 * number))
    return tmp_path / "night.zarr"


@pytest.fixture
def combine(night, tmp_path):
    def run(pipeline=ColourPipeline, **settings):
        return pipeline.call(str(night), output_file=str(tmp_path / "colours.zarr"), configure_log=False, **settings)

    return run


def test_groups_have_the_names_and_the_root_says_what_it_is(combine, tmp_path):
    product = combine()
    assert product.numbers == ["blue", "green", "red"]
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "colours.zarr/blue/rate")[...], 10.0)
    assert json.loads((tmp_path / "colours.zarr/zarr.json").read_text())["attributes"]["product"] == "colours"
    assert json.loads((tmp_path / "colours.zarr/run.json").read_text())["colours"]["done"] == 3
    with pytest.raises(StoreError, match="is no photometry: its attribute product is 'colours'"):
        Photometry(tmp_path / "colours.zarr")
    with pytest.raises(StoreError, match=r"has no colour violet; it has colours \[blue, green, red\]"):
        product.groups("violet")


def test_one_that_fails_is_recorded_by_its_name(combine, night, tmp_path, caplog):
    zarr.open_group(night).create_array("exposure_000002/counts", data=np.arange(3.0), overwrite=True)
    with pytest.raises(RunFailedError, match="1 of 3 colours could not be calibrated") as caught:
        combine()
    (failure,) = caught.value.product.failures
    assert (failure["colour"], failure["error_class"]) == ("red", LayoutError.__name__)
    assert caught.value.product.numbers == ["blue", "green"]
    assert "colour red failed in step load" in caplog.text


@pytest.mark.slow
def test_workers_know_the_names(combine, tmp_path):
    assert combine(workers=2).numbers == ["blue", "green", "red"]


def test_a_product_with_other_names_is_replaced(combine):
    combine()
    assert combine(exposures=[1], overwrite=True).numbers == ["blue"]


class Changed(ColourPipeline):
    """The members of one are others than before."""

    changed: ClassVar = ("red",)


def test_a_run_is_resumed_as_soon_as_observations_are_open(combine, caplog):
    combine()
    with caplog.at_level("INFO"):
        assert combine(Changed, resume=True).numbers == ["blue", "green", "red"]
    assert "resume: 2 colours kept, 1 redone (1 members are others)" in caplog.text


def test_one_is_repeated_with_the_exposures_that_it_was_made_of(combine, tmp_path):
    product = combine()
    comparison = replay_and_compare(ColourPipeline, product.path, "blue", tmp_path / "again.zarr")
    assert [item.identical for item in comparison.arrays] == [True]
    assert Colours(tmp_path / "again.zarr").numbers == ["blue"]
