"""All ways through detector1 lead to the same bits, and none changes what it was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_closure import run_detector1, simulate
from stpipe import Step

from cal_pipeline import Detector1Pipeline
from cal_pipeline.imager.models import ImageModel, RampModel
from cal_pipeline.imager.product import RateProduct
from cal_pipeline.imager.simulate import Detector, ExposurePlan, Subarray
from cal_pipeline.steps.imager import (
    DqInitStep,
    JumpStep,
    LinearityStep,
    RampFitStep,
    RefpixStep,
    SaturationStep,
    SuperbiasStep,
)

pytestmark = pytest.mark.imager

STEPS = (DqInitStep, SaturationStep, SuperbiasStep, RefpixStep, LinearityStep, JumpStep, RampFitStep)
CFG = Path(__file__).parents[2] / "cfg"
ARRAYS = ("data", "err", "var_poisson", "var_rnoise", "dq")


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """Exposures of several patterns, one of them a subarray, one a time series."""
    plans = [
        ExposurePlan(rate=100.0, hits=1e-4),
        ExposurePlan(rate=700.0, n_integrations=3, nframes=2, n_groups=6, hits=1e-4, tso=True),
        ExposurePlan("DARK", n_groups=4),
        ExposurePlan(rate=5.0, n_groups=5, subarray=Subarray("SUB32", 9, 17, 32, 24)),
    ]
    return simulate(tmp_path_factory.mktemp("visit"), plans, Detector(size=48), seed=7)


@pytest.fixture(scope="module")
def product(visit):
    """Rates by the class."""
    return run_detector1(visit)


def assert_same_image(found, expected):
    for name in ARRAYS:
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes(), name
    assert (found.ints is None) == (expected.ints is None)
    if found.ints is not None:
        assert_same_image(found.ints, expected.ints)


def chunks_of(store):
    """Bytes of all chunks of a product, by name."""
    root = Path(store.path)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".json" and not path.name.startswith(".")
    }


def assert_same_product(found, expected):
    assert found.numbers == expected.numbers
    assert chunks_of(found) == chunks_of(expected)
    for number in expected.numbers:
        one, other = found.open_image(number), expected.open_image(number)
        assert_same_image(one, other)
        varying = {"provenance"}
        assert {k: v for k, v in one.meta.items() if k not in varying} == {
            k: v for k, v in other.meta.items() if k not in varying
        }


@pytest.mark.parametrize("parameters", [{"threads": 1}, {"threads": 2}], ids=str)
def test_threads_change_no_bit(visit, product, parameters):
    assert_same_product(run_detector1(visit, "again.zarr", **parameters), product)


@pytest.mark.slow
def test_workers_change_no_bit(visit, product):
    assert_same_product(run_detector1(visit, "workers.zarr", workers=2, threads=1), product)


@pytest.mark.parametrize(
    "named", ["cal_pipeline.Detector1Pipeline", "detector1", str(CFG / "detector1.asdf"), str(CFG / "detector1.cfg")]
)
def test_every_name_on_the_command_line(visit, product, tmp_path, named):
    output = tmp_path / "rate.zarr"
    arguments = [named, str(visit.visit), f"--output_file={output}", f"--references={visit.references}"]
    Step.from_cmdline(arguments)
    assert_same_product(RateProduct(output), product)


def test_an_instance(visit, product, tmp_path):
    pipeline = Detector1Pipeline(references=str(visit.references), output_file=str(tmp_path / "rate.zarr"))
    pipeline.run(str(visit.visit))
    assert_same_product(RateProduct(tmp_path / "rate.zarr"), product)


def test_a_file_of_the_users(visit, tmp_path):
    own = tmp_path / "own.asdf"
    pipeline = Detector1Pipeline(references=str(visit.references))
    pipeline.jump.threshold = 5.5
    pipeline.refpix.skip = True
    pipeline.export_config(own)
    Step.from_cmdline([str(own), str(visit.visit), f"--output_file={tmp_path / 'file.zarr'}"])
    steps = {"jump": {"threshold": 5.5}, "refpix": {"skip": True}}
    expected = run_detector1(visit, "changed.zarr", steps=steps)
    found = RateProduct(tmp_path / "file.zarr")
    assert_same_product(found, expected)
    assert found.open_image(1).meta.cal_step.refpix == "SKIPPED"
    assert found.open_image(1).data.tobytes() != run_detector1(visit, "usual.zarr").open_image(1).data.tobytes()


@pytest.mark.parametrize("number", [1, 2, 4])
def test_step_by_step(visit, product, number):
    model = RampModel.open(visit.visit / f"exp_{number:06d}")
    for step in STEPS:
        model = step.call(model, references=str(visit.references))
    assert_same_image(model, product.open_image(number))
    assert model.meta.cal_step == product.open_image(number).meta.cal_step


def test_step_by_step_through_files(visit, product, tmp_path):
    given = str(visit.visit / "exp_000002")
    for step in STEPS:
        result = step.call(given, references=str(visit.references))
        given = result.save(str(tmp_path / f"{step.class_alias}.asdf"))
    assert_same_image(ImageModel.open(given), product.open_image(2))


def test_saved_results_continue_to_the_same_bits(visit, product, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    steps = {"linearity": {"save_results": True, "output_dir": str(tmp_path)}}
    run_detector1(visit, "saving.zarr", steps=steps, exposures=[1])
    (saved,) = tmp_path.glob("*linearity*.asdf")
    model = JumpStep.call(str(saved), references=str(visit.references))
    assert_same_image(RampFitStep.call(model, references=str(visit.references)), product.open_image(1))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"])
def test_every_type_of_counts(visit, product, dtype):
    stored = RampModel.open(visit.visit / "exp_000001")
    counts = np.asarray(stored.data)
    if dtype == "uint8":
        counts = np.clip(counts // 256, 1, 255)
    given = counts.astype(dtype)
    before = given.copy()
    result = RampModel(data=given, meta=stored.meta)
    for step in STEPS:
        result = step.call(result, references=str(visit.references))
    np.testing.assert_array_equal(given, before)
    assert result.data.dtype == np.float32
    if dtype == "uint8":
        assert np.isfinite(result.data).any()
        return
    expected = product.open_image(1)
    np.testing.assert_array_equal(np.isfinite(result.data), np.isfinite(expected.data))
    if np.dtype(dtype).itemsize <= 2 or dtype == "float32":
        assert_same_image(result, expected)
    else:
        # Float64 counts; a hit at the threshold may be decided otherwise.
        close = np.abs(result.data - expected.data) <= 5e-3 * expected.err
        assert close[np.isfinite(expected.data)].mean() > 0.998


@pytest.mark.parametrize("step", STEPS)
def test_steps_change_nothing_they_are_given(visit, step):
    model = RampModel.open(visit.visit / "exp_000002")
    for earlier in STEPS[: STEPS.index(step)]:
        model = earlier.call(model, references=str(visit.references))
    arrays = {name: np.array(getattr(model, name)) for name in ("data", "groupdq", "pixeldq")}
    meta, given = dict(model.meta), RampModel(**arrays, meta=model.meta)
    copies = {name: values.copy() for name, values in arrays.items()}
    for values in arrays.values():
        values.flags.writeable = False
    result = step.call(given, references=str(visit.references))
    for name, values in copies.items():
        np.testing.assert_array_equal(arrays[name], values)
        np.testing.assert_array_equal(getattr(given, name), values)
    assert dict(given.meta) == meta
    assert result is not given


def test_the_visit_stays_as_it_is(visit, product):
    before = {path: path.read_bytes() for path in sorted(visit.visit.rglob("*")) if path.is_file()}
    run_detector1(visit, "once_more.zarr")
    assert {path: path.read_bytes() for path in sorted(visit.visit.rglob("*")) if path.is_file()} == before


def test_exposures_are_independent(visit, product):
    alone = run_detector1(visit, "alone.zarr", exposures=[2])
    assert alone.numbers == [2]
    assert_same_image(alone.open_image(2), product.open_image(2))
    assert product.open_image(1).ints is None
    assert product.open_image(2).ints.shape == (3, 48, 48)
