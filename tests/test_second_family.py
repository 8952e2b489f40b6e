"""The core serves a family that it has never seen: see `photometer`."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import photometer
import pytest
import zarr
from photometer import DarkStep, PhotometerPipeline, Photometry

from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.replay import replay_and_compare
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.errors import OutputExistsError, StoreError

COUNTS = np.arange(24.0).reshape(6, 4) + 100.0
HERE = Path(__file__).parent


@pytest.fixture
def night(tmp_path):
    """Four exposures of 2 s, of which the third is red."""
    path = tmp_path / "night.zarr"
    root = zarr.create_group(path)
    for number in (1, 2, 3, 4):
        attributes = {"filter": "red" if number == 3 else "blue", "seconds": 2.0}
        group = root.create_group(f"exposure_{number:06d}", attributes=attributes)
        group.create_array("counts", data=COUNTS + number)
    return path


@pytest.fixture
def reduce(night, tmp_path):
    def run(output="rates.zarr", **settings):
        output = str(tmp_path / output)
        return PhotometerPipeline.call(str(night), output_file=output, configure_log=False, **settings)

    return run


def read_rate(product, number):
    return zarr.open_array(product.path / f"exposure_{number:06d}/rate", mode="r")[...]


def test_it_is_small():
    assert len(Path(photometer.__file__).read_text().splitlines()) < 150


def test_observations_are_reduced_and_logged(reduce, caplog):
    with caplog.at_level(logging.INFO, "cal_pipeline"):
        product = reduce(exposures=[1, 2], steps={"dark": {"level": 10.0}})
    assert isinstance(product, Photometry)
    assert (product.numbers, product.failures) == ([1, 2], [])
    for number in (1, 2):
        np.testing.assert_array_equal(read_rate(product, number), (COUNTS + number - 10.0) / 2.0)
    lines = [record.getMessage() for record in caplog.records]
    assert "exposure 1, 51.2 ct/s" in lines
    assert any(line.startswith("2 exposures calibrated (2 pass) in ") for line in lines)


@pytest.mark.slow
def test_parameters_come_from_default_file_for_the_data_user_and_argument(reduce, tmp_path):
    chosen = reduce("chosen.zarr")
    mine = tmp_path / "mine.cfg"
    mine.write_text((HERE / "photometer_red.cfg").read_text().replace("7.0", "8.0"))
    own = reduce("own.zarr", config_file=str(mine))
    given = reduce("given.zarr", config_file=str(mine), steps={"dark": {"level": 9.0}})

    def level(product, number):
        provenance = product.attributes(number)["provenance"]
        origin = provenance["parameter_origins"].get("steps.dark.level", "default")
        return provenance["parameters"]["steps"]["dark"]["level"], origin

    assert level(chosen, 1) == (0.0, "default")
    assert level(chosen, 3) == (7.0, "cfg/photometer_red.cfg")
    assert level(own, 3) == (8.0, f"file {mine}")
    assert level(given, 3) == (9.0, "argument")
    np.testing.assert_array_equal(read_rate(chosen, 3), (COUNTS + 3 - 7.0) / 2.0)


def test_a_mistake_is_named(reduce):
    with pytest.raises(ParameterError, match="did you mean 'level'"):
        reduce(steps={"dark": {"levl": 1.0}})


def test_a_bad_observation_does_not_stop_the_others(reduce, night, tmp_path):
    zarr.open_group(night).create_array("exposure_000002/counts", data=np.arange(3.0), overwrite=True)
    with pytest.raises(RunFailedError, match="1 of 4 exposures could not be calibrated") as caught:
        reduce()
    product = caught.value.product
    assert (caught.value.exit_status, product.numbers) == (2, [1, 3, 4])
    (failure,) = product.failures
    assert (failure["exposure_number"], failure["step"], failure["error_class"]) == (2, "load", "LayoutError")
    assert not (tmp_path / "rates.zarr.staging").exists()


@pytest.mark.slow
def test_workers_make_the_same(reduce):
    one, two = reduce("one.zarr"), reduce("two.zarr", workers=2)
    assert two.numbers == one.numbers
    for number in one.numbers:
        np.testing.assert_array_equal(read_rate(one, number), read_rate(two, number))


class Keeps(PhotometerPipeline):
    """Knows its inputs once the dark level is subtracted; one exposure has changed."""

    inputs_chosen_by = "dark"

    def find_changes(self, exposure, records):
        return ["exposure changed"] if exposure.number == 3 else []


@pytest.mark.parametrize(
    ("pipeline", "line"),
    [
        (Keeps, "resume: 3 exposures kept, 1 redone (1 exposure changed)"),
        (PhotometerPipeline, "resume: 0 exposures kept, 4 redone (4 the pipeline keeps none)"),
    ],
)
def test_a_run_is_resumed_by_what_the_family_knows(reduce, night, tmp_path, caplog, pipeline, line):
    reduce()
    with caplog.at_level("INFO"):
        pipeline.call(str(night), output_file=str(tmp_path / "rates.zarr"), resume=True, configure_log=False)
    assert line in caplog.text


def test_a_product_is_not_replaced_without_being_asked(reduce, tmp_path):
    reduce()
    with pytest.raises(OutputExistsError, match="give overwrite=True"):
        reduce()
    assert reduce(exposures=[4], overwrite=True).numbers == [4]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="exists and is no photometry"):
        reduce("notes", overwrite=True)


@pytest.mark.slow
def test_an_observation_is_repeated_from_its_record(reduce, tmp_path):
    product = reduce(steps={"dark": {"level": 10.0}})
    comparison = replay_and_compare(PhotometerPipeline, product.path, 3, tmp_path / "again.zarr")
    assert [item.identical for item in comparison.arrays] == [True]
    assert comparison.records.facts == ()


def test_a_step_runs_alone(night):
    exposure = DarkStep.call(str(night), level=5.0, configure_log=False)
    np.testing.assert_array_equal(exposure.rate, (COUNTS + 1 - 5.0) / 2.0)
    assert exposure.meta.cal_step.dark == "COMPLETE"


@pytest.mark.slow
def test_strun_runs_it(night, tmp_path):
    strun = Path(sys.executable).parent / "strun"
    command = [strun, "photometer.PhotometerPipeline", night, "--output_file=l1.zarr", "--steps.dark.level=1.0"]
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": f"{HERE}:{HERE.parent}"}, check=True, capture_output=True)
    np.testing.assert_array_equal(read_rate(Photometry(tmp_path / "l1.zarr"), 2), (COUNTS + 2 - 1.0) / 2.0)
