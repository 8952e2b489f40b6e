"""Resumed runs of the imager: what would come out alike is kept, the rest is done again, with reasons."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil

import asdf
import numpy as np
import pytest
import zarr

from cal_pipeline import Detector1Pipeline, Image2Pipeline, Image3Pipeline
from cal_pipeline.core.store.records import flatten_parameters
from cal_pipeline.errors import RunInterruptedError
from cal_pipeline.imager.compare import compare_image_stores
from cal_pipeline.steps.imager import RampFitStep

pytestmark = pytest.mark.imager

GROUP = "exp_000003"


@pytest.fixture
def resume(own_visit, tmp_path, caplog):
    """Resume a run; returns the line about what was kept."""
    caplog.set_level(logging.INFO, "cal_pipeline")

    def run(pipeline, source, output, **settings):
        caplog.clear()
        references = str(own_visit.references)
        given = {"output_file": str(output), "references": references, "resume": True, "configure_log": False}
        pipeline.call(str(source), **given | settings)
        (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("resume: ")]
        return line

    return run


def assert_like_fresh(pipeline, source, output, references, tmp_path, **settings):
    """Compare with a run that did not resume: arrays bit by bit, attributes but for times and names of stores."""
    fresh = tmp_path / "fresh.zarr"
    given = {"output_file": str(fresh), "references": str(references), "overwrite": True, "configure_log": False}
    product = pipeline.call(str(source), **given | settings)
    assert compare_image_stores(output, fresh, origins=False).status() == 0
    assert pipeline.product_class(output).numbers == product.numbers
    for number in product.numbers:
        one, two = (json.loads(json.dumps(p.attributes(number))) for p in (product, pipeline.product_class(output)))
        for attributes in (one, two):
            provenance = attributes["provenance"]
            for name in ("time", "parameter_origins", "input_provenance", "input_fingerprint"):
                provenance.pop(name, None)
            provenance["parameters"] = dict(flatten_parameters(provenance["parameters"]))
            provenance["parameters"].pop("exposures")
        assert one == two


def add_to(array, value):
    zarr_array = zarr.open_array(array)
    zarr_array[...] = zarr_array[...] + np.asarray(value, zarr_array.dtype)


def edit_reference(path, edit, target=None):
    with asdf.open(path, lazy_load=False, memmap=False) as file:
        tree = {key: file.tree[key] for key in file.tree if key not in ("asdf_library", "history")}
    edit(tree)
    asdf.AsdfFile(tree).write_to(target or path)


def brighten(tree):
    tree["data"] = np.array(tree["data"]) + np.float32(3.0)


@pytest.fixture
def made(own_visit, tmp_path):
    """Rates of the test's own visit."""
    output = tmp_path / "rate.zarr"
    given = {"output_file": str(output), "references": str(own_visit.references), "configure_log": False}
    Detector1Pipeline.call(str(own_visit.visit), **given)
    return output


class TestDetector1:
    def check(self, own_visit, made, tmp_path, **settings):
        assert_like_fresh(Detector1Pipeline, own_visit.visit, made, own_visit.references, tmp_path, **settings)

    def test_an_unchanged_visit_keeps_all(self, own_visit, made, resume, tmp_path):
        before = {path: path.stat().st_mtime_ns for path in made.glob("exp_*/data/*")}
        assert resume(Detector1Pipeline, own_visit.visit, made) == "resume: 6 exposures kept"
        assert {path: path.stat().st_mtime_ns for path in made.glob("exp_*/data/*")} == before
        # A copy of the visit has other times and the same content.
        copied = shutil.copytree(own_visit.visit, tmp_path / "copied.zarr", copy_function=shutil.copyfile)
        shutil.rmtree(own_visit.visit)
        copied.rename(own_visit.visit)
        assert resume(Detector1Pipeline, own_visit.visit, made) == "resume: 6 exposures kept"
        self.check(own_visit, made, tmp_path)

    def test_a_changed_exposure_alone_is_redone(self, own_visit, made, resume, tmp_path):
        add_to(own_visit.visit / GROUP / "data", 5)
        assert resume(Detector1Pipeline, own_visit.visit, made) == (
            "resume: 5 exposures kept, 1 redone (1 input changed)"
        )
        self.check(own_visit, made, tmp_path)

    def test_changed_attributes_are_a_changed_exposure(self, own_visit, made, resume, tmp_path):
        zarr.open_group(own_visit.visit)["exp_000006"].attrs["read_noise"] = 20.0
        assert "1 redone (1 input changed)" in resume(Detector1Pipeline, own_visit.visit, made)

    def test_a_type_with_a_file_for_each_step(self, own_visit, tmp_path, resume):
        own, common = tmp_path / "own_gain.asdf", own_visit.references / "gain.asdf"
        edit_reference(common, brighten, own)
        settings = {"exposures": [3], "steps": {"jump": {"override_gain": str(own)}}}
        output = tmp_path / "two_gains.zarr"
        given = {"output_file": str(output), "references": str(own_visit.references), "configure_log": False}
        product = Detector1Pipeline.call(str(own_visit.visit), **given | settings)
        recorded = {entry["type"]: entry for entry in product.attributes(3)["provenance"]["reference_files"]}
        for name, path in (("gain", own), ("gain for ramp_fit", common)):
            assert recorded[name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
            assert recorded[name]["file"] == str(path)
        assert resume(Detector1Pipeline, own_visit.visit, output, **settings) == "resume: 1 exposure kept"
        edit_reference(own, brighten)
        assert "1 redone (1 reference files are others)" in resume(
            Detector1Pipeline, own_visit.visit, output, **settings
        )

    def test_a_changed_reference_file(self, own_visit, made, resume, tmp_path):
        edit_reference(own_visit.references / "superbias.asdf", brighten)
        line = resume(Detector1Pipeline, own_visit.visit, made)
        assert line.startswith("resume: 0 exposures kept, 6 redone")
        assert "reference files are others" in line
        self.check(own_visit, made, tmp_path)

    def test_a_later_reference_file_for_some_exposures(self, own_visit, made, resume, tmp_path):
        dates = {group: attrs["date_obs"] for group, attrs in _attributes_of(own_visit.visit).items()}

        def change(tree):
            brighten(tree)
            tree["meta"] = dict(tree["meta"]) | {"useafter": dates["exp_000005"]}

        edit_reference(own_visit.references / "superbias.asdf", change, own_visit.references / "superbias_2.asdf")
        line = resume(Detector1Pipeline, own_visit.visit, made)
        assert line == "resume: 4 exposures kept, 2 redone (2 reference files are others)"
        self.check(own_visit, made, tmp_path)

    def test_a_mask_that_was_absent(self, own_visit, resume, tmp_path):
        mask = own_visit.references / "mask.asdf"
        mask.rename(tmp_path / "mask.asdf")
        output = tmp_path / "rate.zarr"
        settings = {"output_file": str(output), "references": str(own_visit.references), "exposures": [3, 4]}
        Detector1Pipeline.call(str(own_visit.visit), **settings, configure_log=False)
        assert resume(Detector1Pipeline, own_visit.visit, output, exposures=[3, 4]) == "resume: 2 exposures kept"
        (tmp_path / "mask.asdf").rename(mask)
        assert "2 redone" in resume(Detector1Pipeline, own_visit.visit, output, exposures=[3, 4])
        self.check(own_visit, output, tmp_path, exposures=[3, 4])

    def test_a_changed_parameter(self, own_visit, made, resume, tmp_path):
        steps = {"jump": {"threshold": 6.0}}
        line = resume(Detector1Pipeline, own_visit.visit, made, steps=steps)
        assert "6 redone" in line
        assert "parameters differ: steps.jump.threshold" in line
        self.check(own_visit, made, tmp_path, steps=steps)

    def test_more_exposures(self, own_visit, resume, tmp_path):
        output = tmp_path / "rate.zarr"
        settings = {"output_file": str(output), "references": str(own_visit.references), "exposures": [1, 3]}
        Detector1Pipeline.call(str(own_visit.visit), **settings, configure_log=False)
        assert "2 exposures kept" in resume(Detector1Pipeline, own_visit.visit, output)
        self.check(own_visit, output, tmp_path)

    @pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
    def test_a_run_that_was_stopped(self, own_visit, resume, tmp_path, monkeypatch, workers):
        output = tmp_path / "rate.zarr"
        fit, done = RampFitStep.process_observation, []

        def stop_at_the_third(self, ramp):
            if len(done) == 2:
                raise KeyboardInterrupt
            done.append(ramp.number)
            return fit(self, ramp)

        settings = {"output_file": str(output), "references": str(own_visit.references), "configure_log": False}
        with monkeypatch.context() as patch:
            patch.setattr(RampFitStep, "process_observation", stop_at_the_third)
            with pytest.raises(RunInterruptedError):
                Detector1Pipeline.call(str(own_visit.visit), **settings)
        assert len(Detector1Pipeline.product_class(output).numbers) == 2
        line = resume(Detector1Pipeline, own_visit.visit, output, workers=workers)
        assert line.startswith("resume: 2 exposures kept")
        self.check(own_visit, output, tmp_path)


def _attributes_of(store):
    return {path.name: dict(zarr.open_group(path, mode="r").attrs) for path in sorted(store.glob("exp_*"))}


class TestLaterStages:
    @pytest.fixture
    def rates(self, rate_store, own_copy):
        return own_copy(rate_store)

    @pytest.fixture
    def cals(self, rates, own_visit, tmp_path):
        output = tmp_path / "cal.zarr"
        given = {"output_file": str(output), "references": str(own_visit.references), "configure_log": False}
        Image2Pipeline.call(str(rates), **given)
        return output

    def test_images_are_redone_with_their_sky(self, rates, cals, own_visit, resume, tmp_path):
        assert resume(Image2Pipeline, rates, cals) == "resume: 3 exposures kept"
        add_to(rates / "exp_000001" / "data", 1.0)
        assert resume(Image2Pipeline, rates, cals) == "resume: 3 exposures kept"
        add_to(rates / "exp_000006" / "data", 1.0)
        assert "0 exposures kept, 3 redone" in resume(Image2Pipeline, rates, cals)
        add_to(rates / "exp_000004" / "data", 1.0)
        assert "1 redone (1 input changed)" in resume(Image2Pipeline, rates, cals)
        assert_like_fresh(Image2Pipeline, rates, cals, own_visit.references, tmp_path)

    def test_images_are_redone_with_another_flat(self, rates, cals, own_visit, resume, tmp_path):
        edit_reference(own_visit.references / "flat_H.asdf", brighten)
        assert "3 redone" in resume(Image2Pipeline, rates, cals)
        assert_like_fresh(Image2Pipeline, rates, cals, own_visit.references, tmp_path)

    def test_a_mosaic_is_redone_with_a_member(self, cals, own_visit, resume, tmp_path):
        output = tmp_path / "mosaic.zarr"
        given = {"output_file": str(output), "references": str(own_visit.references), "configure_log": False}
        Image3Pipeline.call(str(cals), **given)
        assert resume(Image3Pipeline, cals, output).startswith("resume: 1 mosaic kept")
        add_to(cals / "exp_000004" / "data", 1.0)
        assert "1 redone" in resume(Image3Pipeline, cals, output)
        assert_like_fresh(Image3Pipeline, cals, output, own_visit.references, tmp_path)
